//! A backend's health as status pages show it.

use std::time::SystemTime;

use crate::clock::Clock;
use crate::machine::breaker::Circuit;
use crate::vitals::{Standing, Vitals};

/// A backend's health at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthView {
    /// Neither do its probes fail nor is it ejected.
    pub healthy: bool,
    /// The same in a word, and which of the two.
    pub state: HealthState,
    /// Its circuit breaker; closed where it has none.
    pub circuit: Circuit,
    /// When it comes back after its requests failed.
    pub ejected_until: Option<SystemTime>,
    /// When its open circuit lets trial calls pass.
    pub open_until: Option<SystemTime>,
    /// When its last probe ended.
    pub last_probe: Option<SystemTime>,
    /// Since when it is healthy, or not, and its circuit as it is.
    pub since: SystemTime,
    /// Why it is not healthy, or its circuit not closed.
    pub error: Option<String>,
}

/// Whether a backend works, and who says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// It does, as far as is known.
    #[default]
    Healthy,
    /// Its probes fail.
    Unhealthy,
    /// Its requests failed; it is kept out for a time.
    Ejected,
}

impl HealthView {
    pub(crate) fn brief(standing: Standing) -> (HealthState, Circuit) {
        let state = match (standing.probes_good, standing.ejected) {
            (false, _) => HealthState::Unhealthy,
            (true, true) => HealthState::Ejected,
            (true, false) => HealthState::Healthy,
        };
        (state, standing.circuit)
    }

    pub(crate) fn of(vitals: &Vitals, clock: &Clock) -> Self {
        let standing = vitals.standing();
        let (state, circuit) = Self::brief(standing);
        let wall = |instant| clock.wall_of(instant);
        Self {
            healthy: standing.is_healthy(),
            state,
            circuit,
            ejected_until: vitals.ejected_until().map(wall),
            open_until: vitals.open_until().map(wall),
            last_probe: vitals.last_probe().map(wall),
            since: wall(vitals.since()),
            error: vitals.error().map(str::to_owned),
        }
    }
}
