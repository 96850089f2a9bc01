//! The lease under every interleaving of a few threads (loom): a place is given back once, wherever the lease ends; no count passes
//! its limit or falls below zero; every outcome is learnt from once.
//!
//! It is `src/lease.rs` and `src/places.rs` themselves that run, between a backend, a set and a strategy of the least kind there is,
//! whose atomics are loom's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use loom::thread;

#[path = "../src/lease.rs"]
#[expect(dead_code, unreachable_pub, reason = "of the crate's file the model needs only what ends a lease")]
mod lease;
#[path = "../src/moment.rs"]
#[expect(dead_code, unreachable_pub, reason = "of the crate's file the model needs only the type")]
mod moment;
#[path = "../src/places.rs"]
mod places;

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
}

mod backend {
    use std::num::NonZeroU32;

    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use crate::moment::Moment;
    use crate::places::Places;

    #[derive(Debug)]
    pub(crate) struct Cell(AtomicU32);

    impl Cell {
        pub(crate) fn count(&self) -> &AtomicU32 {
            &self.0
        }
    }

    #[derive(Debug)]
    pub(crate) struct Backend {
        limit: Option<NonZeroU32>,
        places: Places,
        failed: AtomicU32,
        cell: Cell,
    }

    impl Backend {
        pub(crate) fn new(limit: u32) -> Self {
            let count = || AtomicU32::new(0);
            let limit = NonZeroU32::new(limit);
            Self { limit, places: Places::new(), failed: count(), cell: Cell(count()) }
        }

        pub(crate) fn reserve(&self, _now: Moment) -> bool {
            self.places.reserve(self.limit)
        }

        pub(crate) fn release(&self) {
            self.places.release();
        }

        pub(crate) fn count_failure(&self) {
            self.failed.fetch_add(1, Relaxed);
        }

        pub(crate) fn cell(&self) -> &Cell {
            &self.cell
        }

        /// In flight, the same as mirrored, and failed.
        pub(crate) fn counts(&self) -> (u32, u32, u32) {
            (self.places.taken(), self.cell.0.load(Relaxed), self.failed.load(Relaxed))
        }
    }
}

mod selection {
    use std::sync::Arc;

    use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use crate::backend::Backend;
    use crate::lease::Outcome;
    use crate::moment::Moment;

    #[derive(Debug)]
    pub(crate) struct Selection {
        pub(crate) set: Set,
        pub(crate) strategy: Learner,
        pub(crate) needs: Needs,
    }

    #[derive(Debug)]
    pub(crate) struct Set(pub(crate) Arc<Backend>);

    impl Set {
        pub(crate) fn get(&self, index: usize) -> Option<&Arc<Backend>> {
            (index == 0).then_some(&self.0)
        }

        pub(crate) fn position(&self, index: usize) -> Option<usize> {
            (index == 0).then_some(0)
        }
    }

    #[derive(Debug)]
    pub(crate) struct Needs {
        pub(crate) counts: bool,
        pub(crate) outcomes: bool,
    }

    #[derive(Debug)]
    pub(crate) struct Learner(AtomicU32);

    impl Learner {
        pub(crate) fn learn(&self, _set: &Set, _index: usize, _outcome: &Outcome, _now: Moment) {
            self.0.fetch_add(1, Relaxed);
        }

        pub(crate) fn learnt(&self) -> u32 {
            self.0.load(Relaxed)
        }
    }

    impl Selection {
        pub(crate) fn new(backend: Arc<Backend>) -> Arc<Self> {
            let needs = Needs { counts: true, outcomes: true };
            Arc::new(Self { set: Set(backend), strategy: Learner(AtomicU32::new(0)), needs })
        }
    }
}

use backend::Backend;
use lease::{Lease, Outcome};
use moment::Moment;
use selection::Selection;

/// Whether counts are within the limit; one that fell below zero would be huge.
fn is_sound(backend: &Backend, limit: u32) -> bool {
    let (taken, mirrored, _) = backend.counts();
    taken <= limit && mirrored <= limit
}

const ANSWERED: Outcome = Outcome { latency: Some(Duration::from_millis(1)), ok: true };

#[test]
fn two_threads_at_a_backend_of_one_place_leave_it_as_it_was() {
    loom::model(|| {
        let backend = Arc::new(Backend::new(1));
        let selection = Selection::new(Arc::clone(&backend));
        let now = Moment::from(Instant::now());
        let ask = move |selection: &Arc<Selection>| {
            let lease = Lease::take(selection, 0, now);
            if let Some(lease) = &lease {
                lease.record(ANSWERED);
            }
            u32::from(lease.is_some())
        };
        let other = {
            let selection = Arc::clone(&selection);
            thread::spawn(move || ask(&selection))
        };
        let ours = ask(&selection);
        assert!(is_sound(&backend, 1));
        let served = ours + other.join().unwrap();
        assert!(served >= 1);
        assert_eq!((backend.counts(), selection.strategy.learnt()), ((0, 0, 0), served));
        assert!(Lease::take(&selection, 0, now).is_some());
    });
}

#[test]
fn a_lease_that_ends_on_another_thread_is_given_back_there_and_once() {
    loom::model(|| {
        let backend = Arc::new(Backend::new(2));
        let selection = Selection::new(Arc::clone(&backend));
        let now = Moment::from(Instant::now());
        let lease = Lease::take(&selection, 0, now).unwrap();
        let other = thread::spawn(move || {
            lease.failed();
            drop(lease);
        });
        let second = Lease::take(&selection, 0, now);
        assert!(second.is_some(), "two places and one taken");
        assert!(is_sound(&backend, 2));
        drop(second);
        other.join().unwrap();
        assert_eq!((backend.counts(), selection.strategy.learnt()), ((0, 0, 1), 1));
    });
}

#[test]
fn a_lease_outlives_its_selection() {
    loom::model(|| {
        let backend = Arc::new(Backend::new(1));
        let (old, new) = (Selection::new(Arc::clone(&backend)), Selection::new(Arc::clone(&backend)));
        let now = Moment::from(Instant::now());
        let lease = Lease::take(&old, 0, now).unwrap();
        let other = thread::spawn(move || {
            lease.record(ANSWERED);
            drop(lease);
            old.strategy.learnt()
        });
        let taken = Lease::take(&new, 0, now);
        assert!(is_sound(&backend, 1));
        drop(taken);
        assert_eq!(other.join().unwrap(), 1);
        assert_eq!((backend.counts(), new.strategy.learnt()), ((0, 0, 0), 0));
    });
}
