//! What queueing theory says of so many choices, and whether the simulator agrees.
//!
//! Requests come to `n` servers at a rate of `load` for each, and each takes an exponential time of mean 1. With every request
//! going to the shortest of `d` queues drawn, the share of servers that hold at least `i` tends to load^((dⁱ−1)÷(d−1)) as n grows
//! (Vvedenskaya, Dobrushin, Karpelevich 1996; Mitzenmacher 1996), which for d = 1 is the M/M/1 queue's loadⁱ for every n.

use std::time::Duration;

use fastrand::Rng;
use lb_core::StrategyConfig;

use crate::interval::Interval;
use crate::replicate::replicate;
use crate::run::{SimulationError, run};
use crate::scenario::{Load, Scenario, Server};
use crate::time::Time;

/// One figure of the theory, and what it takes to see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Queues drawn.
    pub choices: u32,
    /// Requests for each server in the time one request takes.
    pub load: f64,
    /// Servers.
    pub servers: usize,
    /// Independent runs.
    pub runs: u64,
    /// Requests measured in each run.
    pub requests: u64,
}

/// A mean service: long enough that nanoseconds do not show.
const SERVICE: Duration = Duration::from_millis(1);

/// Where tails end: below this share no server is expected to stand.
const NOBODY: f64 = 1e-12;

/// The share of servers that hold at least `held`.
pub fn tail(choices: u32, load: f64, held: u32) -> f64 {
    let exponent = match choices {
        0 | 1 => f64::from(held),
        _ => (f64::from(choices).powf(f64::from(held)) - 1.0) / (f64::from(choices) - 1.0),
    };
    load.powf(exponent)
}

/// The mean time a request is in the system, waiting and served, in units of the mean service.
pub fn mean_time(choices: u32, load: f64) -> f64 {
    // Little 1961: what is in the system, by the rate at which it comes.
    (1..).map(|held| tail(choices, load, held)).take_while(|share| *share > NOBODY).sum::<f64>() / load
}

impl Check {
    /// The mean time in the system, simulated.
    ///
    /// Queues begin as long as the theory says they are, each drawn for itself: from empty ones, runs at high loads would be
    /// warm-up for the most part (a single queue at load 0.99 needs 40 000 services to forget where it began). A tenth more
    /// requests are sent before those that are measured. If the simulator or the strategy differed from the theory, queues would
    /// leave that state.
    ///
    /// # Errors
    /// Never with `choices` from 1 to 16, a load between 0 and 1 and more servers than eight.
    pub fn simulate(&self, seed: u64) -> Result<Interval, SimulationError> {
        let means = replicate(seed, self.runs, |seed| {
            let mut sum = 0.0;
            run(&self.scenario(seed), seed, |answer| sum += answer.latency.as_secs_f64())?;
            Ok::<f64, SimulationError>(sum / SERVICE.as_secs_f64() / self.requests as f64)
        })?;
        Ok(Interval::of(&means))
    }

    fn scenario(&self, seed: u64) -> Scenario {
        let config = StrategyConfig::named("p2c").with("choices", i64::from(self.choices));
        let servers = vec![Server::queue(Time::exponential(SERVICE)); self.servers];
        let per_second = self.load * self.servers as f64 / SERVICE.as_secs_f64();
        let mut rng = Rng::with_seed(seed ^ 0x5747_4e44);
        Scenario {
            standing: (0..self.servers).map(|_| self.draw_held(&mut rng)).collect(),
            warm_up: self.requests / 10,
            requests: self.requests,
            ..Scenario::new(config, servers, Load::Open { per_second })
        }
    }

    /// How many requests a server holds, as the theory's chances are.
    fn draw_held(&self, rng: &mut Rng) -> u32 {
        let lot = rng.f64();
        (0..).take_while(|held| tail(self.choices, self.load, held + 1) > lot).count().try_into().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_the_published_ones() {
        for (load, expected) in [(0.9, [10.0, 2.61, 2.03]), (0.99, [100.0, 5.43, 3.86])] {
            for (choices, expected) in (1..).zip(expected) {
                let mean = mean_time(choices, load);
                assert!((mean - expected).abs() < 0.006, "{choices} at {load}: {mean}");
            }
        }
    }
}
