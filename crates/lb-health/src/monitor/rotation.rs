//! From how backends stand to whom the balancer chooses among.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{AcqRel, Release};
use std::time::Instant;

use lb_core::Backend;

use super::{HealthMonitor, State};
use crate::vitals::Vitals;

impl HealthMonitor {
    /// Brings the balancer up to date and tells what has changed; true where anything has.
    ///
    /// Costs a pass over the backends and a rebuild, so whoever has many changes at once settles them together.
    pub fn settle(&self, now: Instant) -> bool {
        if !self.dirty.swap(false, AcqRel) {
            return false;
        }
        let untold = {
            let mut state = self.lock();
            if state.retired.is_some() {
                return false;
            }
            self.apply(&state);
            std::mem::take(&mut state.untold)
        };
        let again = self.balancer.rebuild_at(now);
        self.lock().rebuild_at = again;
        for event in untold {
            event.log();
            if let Some(sink) = self.patron.get().and_then(|patron| patron.sink.as_ref()) {
                sink.changed(&event);
            }
        }
        true
    }

    /// Whether another backend than this one gets requests.
    pub(super) fn has_spare(&self, state: &State, position: usize) -> bool {
        let mut others = self.members(state).enumerate().filter(|(at, _)| *at != position);
        others.any(|(_, (backend, vitals))| takes_requests(backend) && vitals.standing().is_dependable())
    }

    /// Has the balancer brought up to date after a change that is not the monitor's own: a weight, draining, a priority.
    pub fn refresh(&self) {
        self.dirty.store(true, Release);
        self.call();
    }

    fn apply(&self, state: &State) {
        let panics = self.panics(state);
        let deserted = self.is_deserted(state);
        for (backend, vitals) in self.members(state) {
            let standing = vitals.standing();
            // One that was ejected while there was a spare is better than nobody, and no worse than one that only stays because
            // it is the last, once that fails too.
            let needed = deserted && standing.is_merely_ejected() && !vitals.has_breaker();
            backend.set_healthy(standing.in_rotation() || needed || panics && standing.is_conducting());
        }
    }

    /// Whether no backend is left that can be relied upon.
    pub(super) fn is_deserted(&self, state: &State) -> bool {
        let mut serving = self.members(state).filter(|(backend, _)| takes_requests(backend));
        !serving.any(|(_, vitals)| vitals.standing().is_dependable())
    }

    /// Whether so few backends work that all are used. Each priority group is looked at by itself: primaries that are all down
    /// are no reason to panic while their backups work.
    fn panics(&self, state: &State) -> bool {
        let Some(threshold) = self.options.panic_threshold else { return false };
        let mut groups: BTreeMap<u8, (u32, u32)> = BTreeMap::new();
        for (backend, vitals) in self.members(state).filter(|(backend, _)| takes_requests(backend)) {
            let (all, working) = groups.entry(backend.priority()).or_default();
            *all += 1;
            *working += u32::from(vitals.standing().in_rotation());
        }
        groups.values().all(|(all, working)| f64::from(*working) < threshold * f64::from(*all))
    }

    fn members<'a>(&'a self, state: &'a State) -> impl Iterator<Item = (&'a Backend, &'a Vitals)> {
        self.balancer.backends().iter().map(|backend| &**backend).zip(&state.vitals)
    }
}

/// Whether it would, were it healthy.
fn takes_requests(backend: &Backend) -> bool {
    backend.takes_new()
}
