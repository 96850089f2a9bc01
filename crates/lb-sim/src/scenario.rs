//! What is simulated: the servers, how requests come, which strategy chooses, and how long it is looked at.

use std::time::Duration;

use lb_core::{StrategyConfig, StrategyInfo, Weight};

use crate::time::Time;

/// Everything a run depends on beside its seed.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The strategy under test, with its options.
    pub strategy: StrategyConfig,
    /// A row that is not in `lb_core::strategy::ALL`, instead of the one `strategy` names.
    pub row: Option<&'static StrategyInfo>,
    /// The backends.
    pub servers: Vec<Server>,
    /// How requests come.
    pub load: Load,
    /// Whose requests they are: each request is of one of so many clients, and keyed strategies go by it.
    pub clients: u64,
    /// Requests that each server holds at the start, where not none; they are not measured.
    pub standing: Vec<u32>,
    /// Requests sent before those that are measured.
    pub warm_up: u64,
    /// Requests measured. After them the load goes on for as many as came before; then no more come, and the run ends when the
    /// last that was measured is answered. A server that gets more than it can serve thus ends too.
    pub requests: u64,
}

impl Scenario {
    /// A hundred thousand requests of ten thousand clients, after a tenth as many to warm up.
    pub fn new(strategy: StrategyConfig, servers: Vec<Server>, load: Load) -> Self {
        Self {
            strategy,
            row: None,
            servers,
            load,
            clients: 10_000,
            standing: Vec::new(),
            warm_up: 10_000,
            requests: 100_000,
        }
    }
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Whenever they come (Poisson), whatever the answers do.
    Open {
        /// On average.
        per_second: f64,
    },
    /// Always so many in flight: each is followed by the next as soon as it is answered.
    Closed {
        /// In flight.
        in_flight: usize,
    },
}

/// A backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// As configured.
    pub weight: Weight,
    /// How it serves.
    pub service: Service,
}

/// How a server serves what it has been given.
#[derive(Debug, Clone, PartialEq)]
pub enum Service {
    /// One after the other, in the order they came.
    Queue(Time),
    /// Each takes its time, however many there are.
    Delay(Time),
    /// All at once, on cores they share evenly, none with more than one core (processor sharing).
    Shared {
        /// The work of a request, on one core.
        work: Time,
        /// Cores it always has.
        cores: f64,
        /// What it has beyond them.
        spare: Spare,
    },
}

/// Cores that neighbours on the machine leave over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spare {
    /// Up to this many, each number with the same chance.
    pub most: f64,
    /// The chance that there are none at all.
    pub none: f64,
    /// How long they stay, on average (exponential).
    pub lasts: Duration,
}

impl Spare {
    /// Nobody leaves anything.
    pub const NONE: Self = Self { most: 0.0, none: 1.0, lasts: Duration::ZERO };
}

impl Server {
    /// Weight 1, one request after the other.
    pub fn queue(time: Time) -> Self {
        Self { weight: Weight::ONE, service: Service::Queue(time) }
    }

    /// Weight 1, each request takes its time.
    pub fn delay(time: Time) -> Self {
        Self { weight: Weight::ONE, service: Service::Delay(time) }
    }

    /// Weight 1, requests share so many cores.
    pub fn shared(work: Time, cores: f64) -> Self {
        Self { weight: Weight::ONE, service: Service::Shared { work, cores, spare: Spare::NONE } }
    }
}
