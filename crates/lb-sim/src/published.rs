//! Situations whose results others have published, and ramps of load, for any strategy.

use std::time::Duration;

use lb_core::StrategyConfig;

use crate::scenario::{Load, Scenario, Server, Service, Spare};
use crate::time::Time;

/// A situation that every strategy is put into.
#[derive(Debug)]
pub struct Situation {
    /// In lower case with `-`.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// Positions of the servers that are slow.
    pub slow: &'static [usize],
    /// The scenario with this strategy.
    pub scenario: fn(StrategyConfig) -> Scenario,
}

/// A situation at rising load.
#[derive(Debug)]
pub struct Ramp {
    /// In lower case with `-`.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// The loads, as a multiple of what the servers have for certain.
    pub loads: &'static [f64],
    /// The scenario with this strategy at this load.
    pub scenario: fn(StrategyConfig, f64) -> Scenario,
}

/// Every situation.
pub static SITUATIONS: &[Situation] = &[
    Situation {
        name: "ten-mixed",
        summary: "ten endpoints of up to 1, 4 × 10, 4 × 100 and 1000 ms, 50 requests in flight (tower-balance's demonstration)",
        slow: &[9],
        scenario: ten_mixed,
    },
    Situation {
        name: "four-well",
        summary: "four like backends at 4000 requests a second",
        slow: &[],
        scenario: |strategy| four(strategy, 0),
    },
    Situation {
        name: "one-of-four",
        summary: "the same, one of them 5 ms slower",
        slow: &[3],
        scenario: |strategy| four(strategy, 1),
    },
    Situation {
        name: "two-of-four",
        summary: "the same, two of them 5 ms slower",
        slow: &[2, 3],
        scenario: |strategy| four(strategy, 2),
    },
    Situation {
        name: "ten-well",
        summary: "ten like backends of sixteen cores at 12 000 requests a second of 1 ms",
        slow: &[],
        scenario: |strategy| ten(strategy, 1),
    },
    Situation {
        name: "one-of-ten",
        summary: "the same, one of them ten times slower",
        slow: &[9],
        scenario: |strategy| ten(strategy, 10),
    },
];

/// Every ramp.
pub static RAMPS: &[Ramp] = &[
    Ramp {
        name: "alike",
        summary: "twenty like backends of four cores",
        loads: &[0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95],
        scenario: |strategy, load| twenty(strategy, load, 4.0),
    },
    Ramp {
        name: "unlike",
        summary: "twenty backends, every other one of two cores rather than four, and nobody told the balancer",
        loads: &[0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95],
        scenario: |strategy, load| twenty(strategy, load, 2.0),
    },
    Ramp {
        name: "neighbours",
        summary: "a hundred backends on machines they share: four cores for certain, and up to eight more while neighbours leave them \
                  (NSDI 2024, figure 6)",
        // The paper's: each step ten ninths of the one before.
        loads: &[0.75, 0.83, 0.93, 1.03, 1.14, 1.27, 1.41, 1.57, 1.74],
        scenario: neighbours,
    },
];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// tower-balance's demonstration: each endpoint's latency is anything up to its greatest, whatever else it has.
fn ten_mixed(strategy: StrategyConfig) -> Scenario {
    let servers =
        [1, 10, 10, 10, 10, 100, 100, 100, 100, 1000].map(|most| Server::delay(Time::up_to(ms(most))));
    Scenario::new(strategy, servers.into(), Load::Closed { in_flight: 50 })
}

/// A short answer of 145 µs on average; a slow backend sleeps 5 ms before, and wakes up to 1.4 ms late, as timers do.
fn four(strategy: StrategyConfig, slow: usize) -> Scenario {
    let quick = Time { exactly: Duration::from_micros(100), ..Time::exponential(Duration::from_micros(45)) };
    let late = Time { exactly: quick.exactly + ms(5), up_to: Duration::from_micros(1_400), ..quick };
    let servers = (0..4).map(|n| Server::delay(if n < 4 - slow { quick } else { late }));
    Scenario::new(strategy, servers.collect(), Load::Open { per_second: 4_000.0 })
}

/// So many cores that even the slow one can serve a tenth of the requests.
fn ten(strategy: StrategyConfig, times_slower: u32) -> Scenario {
    let server = |n| {
        let mean = if n == 9 { ms(1) * times_slower } else { ms(1) };
        Server::shared(Time::exponential(mean), 16.0)
    };
    Scenario::new(strategy, (0..10).map(server).collect(), Load::Open { per_second: 12_000.0 })
}

fn twenty(strategy: StrategyConfig, load: f64, cores_of_others: f64) -> Scenario {
    let work = Time::exponential(ms(2));
    let cores = |n: usize| if n.is_multiple_of(2) { 4.0 } else { cores_of_others };
    let servers = (0..20).map(|n| Server::shared(work, cores(n))).collect();
    let all: f64 = (0..20).map(cores).sum();
    let per_second = load * all / work.mean().as_secs_f64();
    Scenario { requests: 200_000, ..Scenario::new(strategy, servers, Load::Open { per_second }) }
}

fn neighbours(strategy: StrategyConfig, load: f64) -> Scenario {
    let work = Time::normal(ms(10));
    let spare = Spare { most: 8.0, none: 0.25, lasts: ms(1_000) };
    let server = Server { service: Service::Shared { work, cores: 4.0, spare }, ..Server::shared(work, 4.0) };
    let per_second = load * 400.0 / work.mean().as_secs_f64();
    Scenario {
        warm_up: 100_000,
        requests: 300_000,
        ..Scenario::new(strategy, vec![server; 100], Load::Open { per_second })
    }
}
