//! The one counter that gives a rotation its order: shared by every thread and every rebuild of a balancer.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::context::PickContext;

/// Counts turns, exactly once each whatever thread takes them. One atomic add on a line of its own: about 5 ns alone, and
/// what moving one cache line between cores costs when they contend.
#[derive(Debug, Default)]
pub struct Turn {
    first: CachePadded<AtomicU64>,
    later: CachePadded<AtomicU64>,
}

impl Turn {
    /// The turn that a choice takes. Those after a request's first have an order of their own: were they to take the turns of the
    /// others, then of two backends the one that fails would get every first choice and the other every second one.
    pub fn of(&self, request: &PickContext<'_>) -> u64 {
        match request.attempt {
            0 => self.next(),
            _ => self.later.fetch_add(1, Relaxed),
        }
    }

    /// This turn's number, from 0.
    pub fn next(&self) -> u64 {
        self.first.fetch_add(1, Relaxed)
    }

    /// The turn of a choice for half the price, where turns only break ties: two threads at the same instant may get the same one,
    /// or a few turns come once more.
    pub(crate) fn of_loosely(&self, request: &PickContext<'_>) -> u64 {
        let turns = if request.attempt == 0 { &self.first } else { &self.later };
        let turn = turns.load(Relaxed);
        turns.store(turn.wrapping_add(1), Relaxed);
        turn
    }

    /// The number the next turn will have.
    pub fn peek(&self) -> u64 {
        self.first.load(Relaxed)
    }
}
