//! Pauses between tries that fail: each twice as long as the one before, up to a bound, and never the same for two gateways.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(250);
/// The longest.
const LONGEST: Duration = Duration::from_secs(5);

/// The pause that comes next.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST }
    }

    /// All went well: it begins anew.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next pause, give or take a quarter.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        pause.mul_f64(0.75 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..8).map(|_| backoff.pause()).collect();
        assert!(pauses[0] < FIRST * 2 && pauses[7] > LONGEST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST.mul_f64(1.25)));
        backoff.reset();
        assert!(backoff.pause() < FIRST * 2);
    }
}
