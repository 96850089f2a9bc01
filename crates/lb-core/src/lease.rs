//! A place taken at a backend, held while the request is in flight and given back exactly once, by `Drop`: no path through
//! the engine, no abort and no panic can leak one or return it twice. `tests/model_lease.rs` runs this very file through every
//! interleaving of a few threads.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::moment::Moment;
use crate::selection::Selection;

/// How a request at a backend ended, as far as the strategies care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// From the pick to the response's head; `None` where there was none.
    pub latency: Option<Duration>,
    /// Whether the backend did its part: false for a failed connect, a reset, a timeout or a 5xx of its own making.
    pub ok: bool,
}

/// A place taken at a backend. Hold it until the last byte of the response has gone, then drop it.
///
/// Cost: two reference counts and one decrement over its life; recording an outcome is a handful of relaxed atomics. For
/// strategies that watch all counts or learn from outcomes it is as much again.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its place back at once"]
pub struct Lease {
    backend: Arc<Backend>,
    position: usize,
    taken: Moment,
    mirrored: bool,
    /// The selection it was chosen by and its index there, where that one's strategy learns.
    learner: Option<(Arc<Selection>, usize)>,
}

impl Lease {
    /// Reserves a place at the backend of this index, or tells that none is free.
    pub(crate) fn take(selection: &Arc<Selection>, index: usize, now: Moment) -> Option<Self> {
        let (backend, position) = (selection.set.get(index)?, selection.set.position(index)?);
        if !backend.reserve(now) {
            return None;
        }
        if selection.needs.counts {
            backend.cell().count().fetch_add(1, Relaxed);
        }
        Some(Self {
            backend: Arc::clone(backend),
            position,
            taken: now,
            mirrored: selection.needs.counts,
            learner: selection.needs.outcomes.then(|| (Arc::clone(selection), index)),
        })
    }

    /// The backend's place in the balancer's configured order: stable over rebuilds, so it serves as index of a pool, and is
    /// what [`PickContext::tried`](crate::PickContext::tried) wants.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The backend.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// When the place was taken.
    pub fn taken(&self) -> Instant {
        self.taken.instant()
    }

    /// Counts the request as failed, with nothing to say of its latency.
    pub fn failed(&self) {
        self.record(Outcome { latency: None, ok: false });
    }

    /// Feeds the outcome back, without a lock. Once a lease, by the engine's care; twice counts twice.
    pub fn record(&self, outcome: Outcome) {
        if !outcome.ok {
            self.backend.count_failure();
        }
        if let Some((selection, index)) = &self.learner {
            // The crate reads no clock: a request is over as long after its pick as it took.
            let now = self.taken.after(outcome.latency.unwrap_or_default());
            selection.strategy.learn(&selection.set, *index, &outcome, now);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.mirrored {
            self.backend.cell().count().fetch_sub(1, Relaxed);
        }
        self.backend.release();
    }
}
