//! Failures in a row of one backend, counted by every worker at once; and whether its state needs more than counting.
//!
//! Cost: one relaxed load for a success of a backend without trouble, one atomic add for a failure. The highest bit, "held",
//! sends everything else to the monitor's lock; only the monitor sets and clears it, with that lock held. The next one, "new", stands until
//! the first success.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const HELD: u64 = 1 << 63;
const NEW: u64 = 1 << 62;

/// The count and the bits. `Relaxed` throughout: the word orders nothing else, whatever is read beside it is under the lock.
#[derive(Debug)]
pub(crate) struct Streak(AtomicU64);

impl Default for Streak {
    fn default() -> Self {
        Self(AtomicU64::new(NEW))
    }
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// This many failures in a row; 0 after a success.
    Streak(u64),
    /// Not counted: the monitor has to look at it.
    Held,
}

impl Streak {
    /// A request was served.
    pub(crate) fn succeeded(&self) -> Counted {
        let mut word = self.0.load(Relaxed);
        if word != 0 && word & HELD == 0 {
            // And, not store: the bit may be set in between.
            word = self.0.fetch_and(HELD, Relaxed);
        } else if word & NEW != 0 {
            self.proven();
        }
        if word & HELD == 0 { Counted::Streak(0) } else { Counted::Held }
    }

    /// A request failed. Each of several at once gets a number of its own, so each number is acted upon once.
    pub(crate) fn failed(&self) -> Counted {
        let word = self.0.fetch_add(1, Relaxed);
        if word & HELD == 0 { Counted::Streak((word & !NEW) + 1) } else { Counted::Held }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.0.load(Relaxed) & HELD != 0
    }

    /// Failures in a row; 0 while held.
    pub(crate) fn count(&self) -> u64 {
        let word = self.0.load(Relaxed);
        if word & HELD == 0 { word & !NEW } else { 0 }
    }

    /// Whether it has served nothing yet.
    pub(crate) fn is_new(&self) -> bool {
        self.0.load(Relaxed) & NEW != 0
    }

    /// It has served.
    pub(crate) fn proven(&self) {
        self.0.fetch_and(!NEW, Relaxed);
    }

    /// Sends everything to the lock from now on.
    pub(crate) fn hold(&self) {
        self.0.store(HELD | self.0.load(Relaxed) & NEW, Relaxed);
    }

    /// Ends that, with this many failures in a row to go on from.
    pub(crate) fn release(&self, streak: u64) {
        self.0.store(streak & !(HELD | NEW) | self.0.load(Relaxed) & NEW, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_add_up_and_a_success_ends_the_row() {
        let streak = Streak::default();
        assert_eq!([streak.failed(), streak.failed()], [Counted::Streak(1), Counted::Streak(2)]);
        assert_eq!(streak.succeeded(), Counted::Streak(0));
        assert_eq!(streak.failed(), Counted::Streak(1));
    }

    #[test]
    fn while_held_nothing_is_counted_and_afterwards_it_goes_on_as_told() {
        let streak = Streak::default();
        streak.failed();
        streak.hold();
        assert_eq!([streak.failed(), streak.succeeded()], [Counted::Held, Counted::Held]);
        assert!(streak.is_held());
        streak.release(4);
        assert_eq!(streak.failed(), Counted::Streak(5));
        assert!(!streak.is_held());
    }

    #[test]
    fn it_is_new_until_it_serves_held_or_not() {
        for is_held in [false, true] {
            let streak = Streak::default();
            assert_eq!(streak.failed(), Counted::Streak(1));
            if is_held {
                streak.hold();
            }
            streak.failed();
            assert!(streak.is_new());
            streak.succeeded();
            streak.release(2);
            assert_eq!((streak.is_new(), streak.count()), (false, 2));
        }
        let streak = Streak::default();
        streak.hold();
        streak.release(4);
        assert_eq!((streak.is_new(), streak.failed()), (true, Counted::Streak(5)));
    }

    #[test]
    fn no_success_or_failure_at_the_same_moment_undoes_the_holding() {
        for _ in 0..2000 {
            let (streak, barrier) = (Streak::default(), std::sync::Barrier::new(2));
            streak.failed();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..20).for_each(|_| {
                        streak.succeeded();
                        streak.failed();
                    });
                });
                barrier.wait();
                streak.hold();
            });
            assert!(streak.is_held());
        }
    }

    #[test]
    fn of_failures_at_once_each_has_its_own_number() {
        let streak = Streak::default();
        let mut numbers: Vec<Counted> = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| [(); 1000].map(|()| streak.failed())));
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        numbers.sort_by_key(|counted| match counted {
            Counted::Streak(number) => *number,
            Counted::Held => panic!("nobody held it"),
        });
        assert!(numbers.iter().zip(1..).all(|(counted, number)| *counted == Counted::Streak(number)));
    }
}
