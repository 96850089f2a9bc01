//! The swap of the set during picks, under every interleaving of a few threads (loom): a pick sees one set whole, and of two
//! rebuilds at once none undoes what the other saw.
//!
//! It is `src/swap.rs` itself that runs, with loom's lock and, for the current value, a pointer behind loom's lock: what is tried is
//! our order of reading states, building and publishing. That `arc-swap` publishes soundly is its own authors' claim and tests.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that goes wrong fails")]

use std::sync::Arc as Shared;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use loom::thread;

#[path = "../src/swap.rs"]
mod swap;

mod sync {
    use std::sync::Arc;

    pub(crate) use loom::sync::{Mutex, MutexGuard};

    #[derive(Debug)]
    pub(crate) struct Current<T>(Mutex<Arc<T>>);

    impl<T> Current<T> {
        pub(crate) fn from_pointee(first: T) -> Self {
            Self(Mutex::new(Arc::new(first)))
        }

        pub(crate) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap())
        }

        pub(crate) fn store(&self, next: Arc<T>) {
            *self.0.lock().unwrap() = next;
        }
    }

    pub(crate) fn lock<S>(state: &Mutex<S>) -> MutexGuard<'_, S> {
        state.lock().unwrap()
    }
}

use swap::Swap;

/// Positions of the healthy ones, and the owner of each of four slots: made together, and right only together.
struct Set {
    members: Vec<usize>,
    owners: [usize; 4],
}

struct World {
    healthy: [AtomicBool; 2],
    /// Counts rebuilds.
    swap: Swap<Set, u32>,
}

impl World {
    fn new() -> Self {
        Self { healthy: [AtomicBool::new(true), AtomicBool::new(true)], swap: Swap::new(set(vec![0, 1]), 0) }
    }

    /// As a balancer does: the state is changed without a lock, and then made to count.
    fn fails(&self, backend: usize) {
        self.healthy[backend].store(false, Relaxed);
        self.swap.change(|rebuilds, _| {
            *rebuilds += 1;
            (Some(set((0..2).filter(|n| self.healthy[*n].load(Relaxed)).collect())), ())
        });
    }

    fn pick(&self, key: usize) -> Option<usize> {
        let set: Shared<Set> = self.swap.current().load();
        let index = *set.owners.get(key % set.members.len().max(1))?;
        set.members.get(index).copied()
    }
}

fn set(members: Vec<usize>) -> Set {
    let owners = std::array::from_fn(|slot| slot % members.len().max(1));
    Set { members, owners }
}

#[test]
fn of_two_rebuilds_at_once_the_last_published_has_seen_both_changes() {
    loom::model(|| {
        let world = Arc::new(World::new());
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fails(0))
        };
        world.fails(1);
        other.join().unwrap();
        assert!(world.swap.current().load().members.is_empty());
        assert_eq!(*world.swap.state(), 2);
    });
}

#[test]
fn a_pick_during_a_rebuild_is_of_the_old_set_or_the_new_one_and_after_it_of_the_new() {
    loom::model(|| {
        let world = Arc::new(World::new());
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fails(0))
        };
        let first = world.pick(0);
        assert!(first.is_some_and(|position| position < 2));
        if first == Some(1) {
            // The new one was seen, and is not unseen again.
            assert_eq!(world.pick(0), Some(1));
        }
        other.join().unwrap();
        assert!((0..4).all(|key| world.pick(key) == Some(1)));
    });
}

#[test]
fn a_set_that_is_held_stays_as_it_was() {
    loom::model(|| {
        let world = Arc::new(World::new());
        let held = world.swap.current().load();
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || world.fails(0))
        };
        assert_eq!((held.members.len(), held.owners), (2, [0, 1, 0, 1]));
        other.join().unwrap();
        assert_eq!(held.members.len(), 2);
        assert_eq!(world.pick(3), Some(1));
    });
}
