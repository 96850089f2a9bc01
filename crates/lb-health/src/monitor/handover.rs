//! From one configuration to the next: what is known of a backend goes with it, and what is still under way with the old
//! configuration reports to the new one.

use std::cell::OnceCell;
use std::sync::atomic::Ordering::Release;
use std::sync::{Arc, Weak};
use std::time::Instant;

use ahash::HashMap;
use lb_core::Backend;

use super::{HealthMonitor, Patron};
use crate::vitals::{Memory, Vitals};

/// Where a monitor's backends went.
#[derive(Debug)]
pub(super) struct Retired {
    /// Weak, so that an exchange that lasts for days does not keep each monitor there was since.
    by: Weak<HealthMonitor>,
    positions: Box<[Option<usize>]>,
}

impl Retired {
    pub(super) fn successor(&self, position: usize) -> Option<(Arc<HealthMonitor>, usize)> {
        let position = self.positions.get(position).copied().flatten()?;
        Some((self.by.upgrade()?, position))
    }
}

impl HealthMonitor {
    /// Puts it in force: from now on its changes are settled by whom `patron` wakes, and its balancer's backends are as it says.
    pub(crate) fn enforce(&self, patron: Patron) {
        let _ = self.patron.set(patron);
        self.dirty.store(true, Release);
    }

    /// Goes on where `earlier` stands, for each backend that both have by name, and retires it.
    pub(crate) fn take_over(self: &Arc<Self>, earlier: &Self, now: Instant) {
        if std::ptr::eq(&**self, earlier) {
            return;
        }
        let own = self.balancer.backends();
        let positions = OnceCell::new();
        let position = |(place, backend): (usize, &Arc<Backend>)| {
            // Most stand where they stood.
            if own.get(place).is_some_and(|own| Arc::ptr_eq(own, backend)) {
                return Some(place);
            }
            positions.get_or_init(|| self.positions()).get(backend.name()).copied()
        };
        let mut memories = Vec::new();
        let mut untold = {
            let mut state = earlier.lock();
            if state.retired.is_some() {
                return;
            }
            let positions: Box<[Option<usize>]> =
                earlier.balancer.backends().iter().enumerate().map(position).collect();
            for ((position, vitals), streak) in positions.iter().zip(&state.vitals).zip(&earlier.streaks) {
                if let Some(position) = position {
                    let mut memory = vitals.memory();
                    if !streak.is_held() {
                        memory.streak = streak.count();
                    }
                    memory.new_since = memory.new_since.filter(|_| streak.is_new());
                    memories.push((*position, memory));
                }
                streak.hold();
            }
            state.retired = Some(Retired { by: Arc::downgrade(self), positions });
            std::mem::take(&mut state.untold)
        };
        let mut state = self.lock();
        state.untold.append(&mut untold);
        drop(state);
        for (position, memory) in memories {
            self.recall(position, memory, now);
        }
    }

    /// Goes on with one backend from what is remembered of it. That is no change, so nothing is told.
    pub(crate) fn recall(&self, position: usize, memory: Memory, now: Instant) {
        let mut state = self.lock();
        let (Some(vitals), Some(streak)) = (state.vitals.get_mut(position), self.streaks.get(position))
        else {
            return;
        };
        vitals.resume(memory, now);
        if !vitals.is_new() {
            streak.proven();
        }
        match vitals.standing().is_held() {
            true => streak.hold(),
            false => streak.release(vitals.streak()),
        }
        self.dirty.store(true, Release);
    }

    /// What is known of each backend, with its name.
    pub(crate) fn memories(&self) -> Vec<(&str, Memory)> {
        let state = self.lock();
        let names = self.balancer.backends().iter().map(|backend| backend.name());
        names.zip(state.vitals.iter().map(Vitals::memory)).collect()
    }

    /// Each backend's position by name; the first of equal ones.
    pub(crate) fn positions(&self) -> HashMap<&str, usize> {
        let names = self.balancer.backends().iter().map(|backend| backend.name()).enumerate();
        names.rev().map(|(position, name)| (name, position)).collect()
    }
}
