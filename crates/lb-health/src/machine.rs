//! The pure machines: what a row of good and bad news makes of a backend. The time comes in with each call, nothing here
//! reads a clock, waits or locks.

pub(crate) mod breaker;
pub(crate) mod ejection;
pub(crate) mod streak;
pub(crate) mod thresholds;

use std::time::{Duration, Instant};

/// `now + wait`, or as far away as makes no difference where the clock does not reach that far.
pub(crate) fn later(now: Instant, wait: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    now.checked_add(wait.min(FAR)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_beyond_the_clock_is_merely_long() {
        let now = Instant::now();
        assert!(later(now, Duration::MAX) > later(now, Duration::from_secs(3600)));
    }
}
