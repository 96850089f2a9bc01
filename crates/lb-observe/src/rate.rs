//! Requests per second over the last minute, from a counter that is looked at now and then.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(60);

/// Looks that lie closer together than this are one.
const STEP: Duration = Duration::from_secs(5);

/// What a counter read at a few moments of the last minute. Control side only.
#[derive(Debug)]
pub(crate) struct Rate {
    looks: Mutex<VecDeque<(Instant, u64)>>,
}

impl Rate {
    /// For a counter that starts at nothing.
    pub(crate) fn new(now: Instant) -> Self {
        Self { looks: Mutex::new(VecDeque::from([(now, 0)])) }
    }

    /// Remembers what the counter reads and tells the rate since a minute ago, or since the earliest look.
    pub(crate) fn look(&self, now: Instant, count: u64) -> f64 {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        // The look at or before the window's start stays, to measure from.
        while looks.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            looks.pop_front();
        }
        let (since, before) = looks.front().copied().unwrap_or((now, count));
        if looks.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= STEP) {
            looks.push_back((now, count));
        }
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a minute's requests stay far below 2^53")]
        let requests = count.saturating_sub(before) as f64;
        if seconds > 0.0 { requests / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_covers_the_last_minute_only() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let rate = Rate::new(start);
        // A hundred a second for two minutes, then nothing.
        for second in 1..=120 {
            let told = rate.look(at(second), 100 * second);
            assert!((told - 100.0).abs() < 1e-9, "{told} after {second} s");
        }
        assert!((rate.look(at(150), 12_000) - 50.0).abs() < 1e-9);
        assert!(rate.look(at(185), 12_000).abs() < 1e-9);
    }

    #[test]
    fn memory_is_bounded_however_often_one_looks() {
        let start = Instant::now();
        let rate = Rate::new(start);
        (0..100_000).for_each(|n| {
            rate.look(start + Duration::from_millis(n * 10), n);
        });
        assert!(rate.looks.lock().unwrap().len() <= 14);
    }

    #[test]
    fn no_time_gives_no_rate() {
        let start = Instant::now();
        assert!(Rate::new(start).look(start, 5).abs() < 1e-9);
    }
}
