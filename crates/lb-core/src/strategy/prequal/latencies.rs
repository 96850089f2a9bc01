//! What a backend's latency was of late, at each number of requests in flight.
//!
//! One latency a backend would be that of the queue it had: a backend that has worked its queue off would look slow, be passed
//! over and stand idle until the figure is forgotten, while others drown. The paper asks for the latency at the present number of
//! requests in flight, so samples are kept by it, in classes of a doubling each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crate::lease::Outcome;

/// Classes of requests in flight: 1, 2 to 3, 4 to 7, and so on; the last has all from 2048. As many as fit a cache line with what
/// else a probe reads.
const CLASSES: usize = 12;

/// A sample moves the estimate, a logarithm, by a quarter of the way: the geometric mean of the last few, near the paper's median.
const GAIN: f64 = 0.25;

/// Of log₂ nanoseconds: 1/1024.
const UNIT: f64 = 1024.0;

/// An eighth of a doubling: less is chance, and of equals the least loaded is chosen.
const EIGHTH: u16 = 128;

/// Clock units to the age at which a class is forgotten; of its time 16 bits are kept, so it goes round in 256 ages.
const AGE: u16 = 256;

/// No sample: a latency of nothing.
const NONE: u32 = 0;

/// What a backend without a sample is taken for while it has nothing in flight: the fastest of all, so that it is tried.
pub(super) const UNTRIED: u16 = 0;
/// And while it has: a second.
pub(super) const UNKNOWN: u16 = 239;

/// What a failure counts as at least, in log₂ nanoseconds: a second.
const FAILURE: f64 = 29.9;

/// Time in units of 1/256 of the age at which what was heard is forgotten.
#[derive(Debug)]
pub(super) struct Clock {
    /// Units in 2⁶⁴ nanoseconds.
    pace: u64,
}

impl Clock {
    /// For ages from a microsecond up.
    pub(super) fn new(age: Duration) -> Self {
        let units = u128::from(AGE) << u64::BITS;
        Self { pace: u64::try_from(units / age.as_nanos().max(1)).unwrap_or(u64::MAX) }
    }

    #[inline]
    pub(super) const fn time(&self, now: u64) -> u64 {
        ((now as u128 * self.pace as u128) >> u64::BITS) as u64
    }
}

/// Of one backend. A class is one word of time and estimate; of two threads that write it at once one is lost, as if its sample
/// had come a little earlier.
#[derive(Debug)]
pub(super) struct Latencies([AtomicU32; CLASSES]);

impl Default for Latencies {
    fn default() -> Self {
        Self([const { AtomicU32::new(NONE) }; CLASSES])
    }
}

impl Latencies {
    /// The latency with so many requests in flight, as log₂ of nanoseconds in units of 1/8: of that class, or else of the nearest
    /// below, or else above, that has been heard of within the age at `time`. Where nothing has, [`UNTRIED`] or [`UNKNOWN`].
    #[inline(always)]
    pub(super) fn at(&self, in_flight: u32, time: u64) -> u16 {
        match self.0.get(class(in_flight)).and_then(|word| known(word.load(Relaxed), time)) {
            Some(latency) => latency / EIGHTH,
            None => self.nearest(in_flight, time),
        }
    }

    /// Takes in how a request ended at `time`, with so many in flight, itself among them.
    pub(super) fn learn(&self, in_flight: u32, outcome: &Outcome, time: u64) {
        let latency = outcome.latency.map(|latency| (latency.as_nanos().max(1) as f64).log2());
        let sample = match (outcome.ok, latency) {
            (true, None) => return,
            (true, Some(latency)) => latency,
            (false, latency) => latency.unwrap_or(FAILURE).max(FAILURE),
        };
        if let Some(word) = self.0.get(class(in_flight)) {
            let old = known(word.load(Relaxed), time).map(|old| f64::from(old) / UNIT);
            let mean = old.map_or(sample, |old| old + (sample - old) * GAIN);
            word.store(u32::from(stamp(time)) << 16 | fixed(mean), Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn nearest(&self, in_flight: u32, time: u64) -> u16 {
        let known = |word: &AtomicU32| known(word.load(Relaxed), time);
        let (below, above) = self.0.split_at_checked(class(in_flight)).unwrap_or_default();
        let nearest = below.iter().rev().find_map(known).or_else(|| above.iter().find_map(known));
        nearest.map_or(if in_flight == 0 { UNTRIED } else { UNKNOWN }, |it| it / EIGHTH)
    }
}

/// What is kept of the time.
#[expect(clippy::cast_possible_truncation, reason = "it goes round")]
const fn stamp(time: u64) -> u16 {
    time as u16
}

/// log₂, by the count's bits.
fn class(in_flight: u32) -> usize {
    ((in_flight | 1).ilog2() as usize).min(CLASSES - 1)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word are 16 bits")]
fn known(word: u32, time: u64) -> Option<u16> {
    let young = stamp(time).wrapping_sub((word >> 16) as u16) <= AGE;
    (young && word & 0xffff != NONE).then_some(word as u16)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn fixed(log2: f64) -> u32 {
    (log2 * UNIT + 0.5).clamp(1.0, 65_535.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    struct Trial {
        clock: Clock,
        latencies: Latencies,
    }

    impl Trial {
        fn new() -> Self {
            Self { clock: Clock::new(Duration::from_secs(1)), latencies: Latencies::default() }
        }

        fn learn(&self, in_flight: u32, outcome: &Outcome, now: u64) {
            self.latencies.learn(in_flight, outcome, self.clock.time(now));
        }

        fn ms(&self, in_flight: u32, now: u64) -> Option<f64> {
            // The middle of its eighth.
            let eighths = self.latencies.at(in_flight, self.clock.time(now));
            (eighths != UNTRIED && eighths != UNKNOWN)
                .then(|| ((f64::from(eighths) + 0.5) / 8.0).exp2() / 1e6)
        }
    }

    fn ok(ms: u64) -> Outcome {
        Outcome { latency: Some(Duration::from_millis(ms)), ok: true }
    }

    #[test]
    fn a_backend_that_worked_its_queue_off_is_as_fast_as_it_was_before() {
        let trial = Trial::new();
        assert_eq!(trial.ms(0, 0), None);
        trial.learn(1, &ok(10), MS);
        trial.learn(40, &ok(400), MS);
        for (in_flight, expected) in
            [(0, 10.0), (1, 10.0), (3, 10.0), (31, 10.0), (50, 400.0), (5_000, 400.0)]
        {
            let found = trial.ms(in_flight, MS).unwrap();
            assert!((found / expected - 1.0).abs() < 0.06, "{found} with {in_flight}");
        }
        assert!(trial.ms(1, 900 * MS).is_some() && trial.ms(1, 1_100 * MS).is_none());
    }

    #[test]
    fn failures_are_slow_answers() {
        let trial = Trial::new();
        trial.learn(1, &Outcome { latency: Some(Duration::from_micros(50)), ok: false }, MS);
        assert!(trial.latencies.at(1, trial.clock.time(MS)) >= UNKNOWN);
    }
}
