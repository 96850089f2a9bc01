//! One try of a request at a backend, between being let through and being told of.

use std::sync::Arc;
use std::time::Instant;

use crate::event::FailureKind;
use crate::machine::breaker::{Epoch, TrialEnd};
use crate::monitor::HealthMonitor;

/// A try that [`HealthMonitor::admit`] let through.
///
/// Tell how it ended by [`succeeded`](Self::succeeded) or [`failed`](Self::failed), or drop it where the end says nothing of
/// the backend: the client left, a policy stepped in. Most tries are nothing but permission, one word without a destructor's
/// work; a trial call of a half-open breaker carries its place, which it gives back exactly once.
#[derive(Debug)]
#[must_use = "an attempt that is dropped says that nothing was learnt"]
pub struct Attempt {
    trial: Option<Trial>,
}

#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) monitor: Arc<HealthMonitor>,
    pub(crate) position: usize,
    pub(crate) epoch: Epoch,
}

impl Attempt {
    pub(crate) fn plain() -> Self {
        Self { trial: None }
    }

    pub(crate) fn trial(trial: Trial) -> Self {
        Self { trial: Some(trial) }
    }

    /// Whether a half-open breaker's fate hangs on it. Such a try should be told of as soon as the response head is there,
    /// lest an endless body keep the circuit half-open.
    pub fn is_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// The backend did its part. `monitor` and `position` are those it was admitted with.
    pub fn succeeded(&mut self, monitor: &HealthMonitor, position: usize, now: Instant) {
        match self.trial.take() {
            Some(trial) => trial.end(TrialEnd::Good, None, now),
            None => monitor.succeeded(position, now),
        }
    }

    /// The backend did not.
    pub fn failed(&mut self, monitor: &HealthMonitor, position: usize, kind: FailureKind, now: Instant) {
        match self.trial.take() {
            Some(trial) => trial.end(TrialEnd::Bad(now), Some(kind), now),
            None => monitor.failed(position, kind, now),
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(trial) = self.trial.take() {
            // Of no use: a trial that says nothing changes nothing.
            trial.end(TrialEnd::Void, None, Instant::now());
        }
    }
}

impl Trial {
    fn end(self, end: TrialEnd, failure: Option<FailureKind>, now: Instant) {
        self.monitor.finish(self.position, self.epoch, end, failure, now);
    }
}
