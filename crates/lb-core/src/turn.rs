//! The one counter that gives a rotation its order: shared by every thread and every rebuild of a balancer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

/// Counts turns, exactly once each whatever thread takes them. One atomic add on a line of its own: about 5 ns alone, and
/// what moving one cache line between cores costs when they contend.
#[derive(Debug, Default)]
pub struct Turn(CachePadded<AtomicU64>);

impl Turn {
    /// This turn's number, from 0.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }

    /// The same for half the price, where a turn only breaks ties: two threads at the same instant may get the same one, or a few
    /// turns come once more.
    pub(crate) fn next_loosely(&self) -> u64 {
        let turn = self.peek();
        self.0.store(turn.wrapping_add(1), Relaxed);
        turn
    }

    /// The number the next turn will have.
    pub fn peek(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
