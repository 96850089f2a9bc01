//! The rings: for each worker the last exchanges that went well, and the last of which something went wrong.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::kept::Kept;
use super::{Decision, Trail};
use crate::{Exchange, Shards};

/// Records in a ring.
const KEPT: usize = 1024;
/// Exchanges of one id that are told.
const MAX_FOUND: usize = 16;

/// Keeps decision records: bounded, by worker.
#[derive(Debug)]
pub struct DecisionLog {
    workers: Shards<Mutex<Rings>>,
    missed: AtomicU64,
}

/// What went well and what did not, apart, so that the many do not push out the few.
#[derive(Debug, Default)]
struct Rings {
    well: VecDeque<Kept>,
    troubled: VecDeque<Kept>,
}

/// What is known of an id.
#[derive(Debug, Clone)]
pub struct Found {
    /// The exchanges that had it, newest first; clients may use an id more than once.
    pub decisions: Vec<Decision>,
    /// How far back others would have been found.
    pub reach: Reach,
}

/// How far back the records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Exchanges that there are records of.
    pub kept: usize,
    /// All that went well since then are there; `None` where none has had to make room.
    pub since: Option<SystemTime>,
    /// The same for those of which something went wrong.
    pub troubled_since: Option<SystemTime>,
    /// Exchanges left out since a reader was looking at that moment.
    pub missed: u64,
}

impl DecisionLog {
    /// For so many workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { workers: Shards::new(workers), missed: AtomicU64::new(0) }
    }

    /// Keeps an exchange that has ended. `upstream` is the name of the one it was for and of its strategy, `backend` the name of
    /// one at a place in it. What is left in `trail` is good for another exchange.
    pub fn keep<'n>(
        &self,
        exchange: &Exchange<'_>,
        trail: &mut Trail,
        upstream: Option<(&str, &str)>,
        backend: impl Fn(usize) -> &'n str,
    ) {
        let Ok(mut rings) = self.workers.shard(exchange.worker).try_lock() else {
            self.missed.fetch_add(1, Relaxed);
            return;
        };
        let Rings { well, troubled } = &mut *rings;
        let ring = if is_troubled(exchange) { troubled } else { well };
        let oldest = if ring.len() < KEPT { None } else { ring.pop_front() };
        let mut kept = oldest.unwrap_or_else(|| Kept::new(exchange));
        kept.write(exchange, trail, upstream, backend);
        ring.push_back(kept);
    }

    /// The exchanges of an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Found {
        let mut found = Vec::new();
        let mut reach =
            Reach { kept: 0, since: None, troubled_since: None, missed: self.missed.load(Relaxed) };
        for worker in self.workers.iter() {
            let rings = worker.lock().unwrap_or_else(PoisonError::into_inner);
            reach.kept += rings.well.len() + rings.troubled.len();
            reach.since = reach.since.max(since(&rings.well));
            reach.troubled_since = reach.troubled_since.max(since(&rings.troubled));
            let both = rings.well.iter().rev().chain(rings.troubled.iter().rev());
            found.extend(both.filter(|kept| kept.is_of(id)).take(MAX_FOUND).cloned());
        }
        found.sort_by_key(|kept: &Kept| std::cmp::Reverse(kept.ended_at));
        found.truncate(MAX_FOUND);
        Found { decisions: found.iter().map(Decision::of).collect(), reach }
    }
}

/// Whether an exchange is one that somebody will ask about.
fn is_troubled(exchange: &Exchange<'_>) -> bool {
    exchange.code.is_some() || exchange.status.is_server_error() || exchange.aborted || exchange.attempts > 1
}

/// Since when a ring has everything, where something has had to make room.
fn since(ring: &VecDeque<Kept>) -> Option<SystemTime> {
    ring.front().filter(|_| ring.len() >= KEPT).map(|oldest| oldest.ended_at)
}
