//! The changes of health and circuits that came last, for the dashboard.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use lb_health::{EventSink, HealthEvent};

/// Changes kept.
const KEPT: usize = 200;

/// Keeps the changes that came last; bounded.
#[derive(Debug, Default)]
pub struct RecentChanges {
    kept: Mutex<VecDeque<(SystemTime, HealthEvent)>>,
}

impl EventSink for RecentChanges {
    fn changed(&self, event: &HealthEvent) {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((SystemTime::now(), event.clone()));
    }
}

impl RecentChanges {
    /// The latest, newest first, at most so many.
    pub fn latest(&self, limit: usize) -> Vec<(SystemTime, HealthEvent)> {
        self.lock().iter().rev().take(limit).cloned().collect()
    }

    /// When a backend changed last, where that is remembered.
    pub(super) fn last_of(&self, upstream: &str, backend: &str) -> Option<SystemTime> {
        let kept = self.lock();
        let is_its = |(_, event): &&(SystemTime, HealthEvent)| {
            event.backend == backend && &*event.upstream == upstream
        };
        kept.iter().rev().find(is_its).map(|(time, _)| *time)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(SystemTime, HealthEvent)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
