//! A place taken at a backend, held while the request is in flight and given back exactly once, by `Drop`: no path through
//! the engine, no abort and no panic can leak one or return it twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::Backend;

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
/// Cost: two reference counts and one decrement over its life; recording an outcome is a handful of relaxed atomics.
#[derive(Debug)]
#[must_use = "a lease that is dropped gives its place back at once"]
pub struct Lease {
    backend: Arc<Backend>,
    position: usize,
    taken: Instant,
}

impl Lease {
    /// Reserves a place at `backend`, or tells that none is free.
    pub(crate) fn take(backend: &Arc<Backend>, position: usize, now: Instant) -> Option<Self> {
        backend.reserve(now).then(|| Self { backend: Arc::clone(backend), position, taken: now })
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
        self.taken
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
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.backend.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendOptions;

    #[test]
    fn a_place_is_given_back_once_however_the_request_ends() {
        let backend = Arc::new(Backend::new(BackendOptions::named("a")));
        let lease = Lease::take(&backend, 0, Instant::now()).unwrap();
        lease.failed();
        assert_eq!((backend.active(), backend.failed()), (1, 1));
        drop(lease);
        let panicked = std::panic::catch_unwind(|| {
            let _lease = Lease::take(&backend, 0, Instant::now());
            panic!("a handler went wrong");
        });
        assert!(panicked.is_err());
        assert_eq!((backend.active(), backend.total()), (0, 2));
    }
}
