//! The state that counters do not hold: what is configured and how it stands right now.

use std::time::{Duration, Instant, SystemTime};

use crate::BackendStats;

/// A gateway at one moment, borrowed from whoever knows.
#[derive(Debug, Clone)]
pub struct Live<'a> {
    /// The version of the program.
    pub version: &'a str,
    /// The moment, for rates.
    pub now: Instant,
    /// The moment, for people.
    pub time: SystemTime,
    /// Time since the start.
    pub uptime: Duration,
    /// Every configured upstream.
    pub upstreams: Vec<LiveUpstream<'a>>,
}

/// An upstream at one moment.
#[derive(Debug, Clone)]
pub struct LiveUpstream<'a> {
    /// Its name.
    pub name: &'a str,
    /// The name of its strategy.
    pub strategy: &'a str,
    /// Its members.
    pub backends: Vec<LiveBackend<'a>>,
}

/// A backend at one moment.
#[derive(Debug, Clone, Copy)]
pub struct LiveBackend<'a> {
    /// Its figures, with its name.
    pub stats: &'a BackendStats,
    /// Its weight in force.
    pub weight: f64,
    /// Whether it is held healthy.
    pub healthy: bool,
    /// Requests in flight.
    pub active: u64,
    /// Its circuit breaker.
    pub circuit: Circuit,
    /// When it was last probed.
    pub last_probe: Option<SystemTime>,
}

/// The state of a circuit breaker; one that is not configured is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Circuit {
    /// Requests pass.
    #[default]
    Closed,
    /// A few requests pass, to try.
    HalfOpen,
    /// None passes.
    Open,
}

impl Circuit {
    /// As status pages have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }

    /// As `gatewayd_backend_circuit_state` has it.
    pub(crate) fn level(self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::HalfOpen => 1,
            Self::Open => 2,
        }
    }
}
