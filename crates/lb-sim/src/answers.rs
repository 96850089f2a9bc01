//! What a run's latencies come to.

use std::time::Duration;

use crate::run::{SimulationError, run};
use crate::scenario::Scenario;

/// The latencies of a run in order, and how many requests each server had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    /// Rising.
    nanos: Vec<u64>,
    by_server: Vec<u64>,
}

impl Latencies {
    /// Plays the scenario and keeps every measured latency.
    ///
    /// # Errors
    /// The scenario cannot be played.
    pub fn of(scenario: &Scenario, seed: u64) -> Result<Self, SimulationError> {
        let mut nanos = Vec::with_capacity(usize::try_from(scenario.requests).unwrap_or(0));
        let mut by_server = vec![0; scenario.servers.len()];
        run(scenario, seed, |answer| {
            nanos.push(u64::try_from(answer.latency.as_nanos()).unwrap_or(u64::MAX));
            if let Some(count) = by_server.get_mut(answer.server) {
                *count += 1;
            }
        })?;
        nanos.sort_unstable();
        Ok(Self { nanos, by_server })
    }

    /// The latency that so many per cent do not exceed; zero where nothing was measured.
    pub fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.nanos.len() as f64).ceil().max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
        let index = (rank as usize).min(self.nanos.len()).wrapping_sub(1);
        Duration::from_nanos(self.nanos.get(index).copied().unwrap_or(0))
    }

    /// Their mean; zero where nothing was measured.
    pub fn mean(&self) -> Duration {
        let sum: u128 = self.nanos.iter().map(|nanos| u128::from(*nanos)).sum();
        let mean = sum / u128::from((self.nanos.len() as u64).max(1));
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The share of the requests that this server had.
    pub fn share(&self, server: usize) -> f64 {
        self.by_server.get(server).map_or(0.0, |count| *count as f64 / self.nanos.len().max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let latencies = Latencies { nanos: (1..=200).collect(), by_server: vec![50, 150] };
        for (percent, nanos) in [(0.0, 1), (50.0, 100), (99.0, 198), (99.9, 200), (100.0, 200)] {
            assert_eq!(latencies.percentile(percent), Duration::from_nanos(nanos), "{percent}");
        }
        assert_eq!((latencies.share(1), latencies.share(9)), (0.75, 0.0));
        let empty = Latencies { nanos: Vec::new(), by_server: Vec::new() };
        assert_eq!((empty.percentile(99.0), empty.mean()), (Duration::ZERO, Duration::ZERO));
    }
}
