//! Places at one backend: the count of requests in flight and the limit on it.
//!
//! Atomics come from `super::sync`, so that a model checker can put its own in their place: `tests/model.rs` runs this very file
//! through every interleaving of a few threads.

use std::num::NonZeroU32;

use super::sync::{AtomicU32, Ordering::Relaxed};

/// Counts places taken. `Relaxed` suffices: modifications of one atomic are totally ordered even so, and the count guards no
/// other memory.
#[derive(Debug)]
pub(crate) struct Places(AtomicU32);

impl Places {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(crate) fn taken(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Takes a place; false where none is free. Compare-and-swap rather than add-and-look, so that the count never passes the
    /// limit even for an instant, and nobody is refused for a place that another only tried for.
    pub(crate) fn reserve(&self, limit: Option<NonZeroU32>) -> bool {
        let Some(limit) = limit else {
            self.0.fetch_add(1, Relaxed);
            return true;
        };
        let room = |taken: u32| (taken < limit.get()).then(|| taken + 1);
        self.0.fetch_update(Relaxed, Relaxed, room).is_ok()
    }

    /// Gives a place back. Whoever reserved calls it, once, so the count cannot pass below zero.
    pub(crate) fn release(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
