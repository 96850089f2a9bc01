//! What a backend's latency was of late, at each number of requests in flight.
//!
//! One latency a backend would be that of the queue it had: a backend that has worked its queue off would look slow, be passed
//! over and stand idle until the figure is forgotten, while others drown. The paper asks for the latency at the present number of
//! requests in flight, so samples are kept by it, in classes of a doubling each.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

use crate::lease::Outcome;

/// Classes of requests in flight: 1, 2 to 3, 4 to 7, and so on; the last has all above.
const CLASSES: usize = 16;

/// A sample moves the estimate, a logarithm, by a quarter of the way: the geometric mean of the last few, near the paper's median.
const GAIN: f64 = 0.25;

/// Of log₂ nanoseconds: 1/1024.
const UNIT: f64 = 1024.0;

/// An eighth of a doubling: less is chance, and of equals the least loaded is chosen.
const EIGHTH: u16 = 128;

/// Clock units to the age at which a class is forgotten; the clock has 16 bits and goes round in 256 ages.
const AGE: u16 = 256;

/// No sample: a latency of nothing.
const NONE: u32 = 0;

/// What a failure counts as at least, in log₂ nanoseconds: a second.
const FAILURE: f64 = 29.9;

/// Of every backend of a set. A class is one word of time and estimate; of two threads that write it at once one is lost, as if its
/// sample had come a little earlier.
#[derive(Debug)]
pub(super) struct Latencies {
    backends: Box<[CachePadded<[AtomicU32; CLASSES]>]>,
    /// Clock units a nanosecond.
    pace: f64,
}

impl Latencies {
    pub(super) fn new(count: usize, age: Duration) -> Self {
        let none = || CachePadded::new([const { AtomicU32::new(NONE) }; CLASSES]);
        Self {
            backends: (0..count).map(|_| none()).collect(),
            pace: f64::from(AGE) / age.as_nanos().max(1) as f64,
        }
    }

    /// The latency with so many requests in flight, as log₂ of nanoseconds in units of 1/8: of that class, or else of the nearest
    /// below, or else above, that has been heard of within the age at `time`. `None` where nothing has.
    #[inline]
    pub(super) fn at(&self, index: usize, in_flight: u32, time: u16) -> Option<u16> {
        let classes = self.backends.get(index)?;
        let class = class(in_flight);
        let known = |word: &AtomicU32| known(word.load(Relaxed), time);
        classes.get(class).and_then(known).or_else(|| nearest(classes, class, known)).map(|it| it / EIGHTH)
    }

    /// Takes in how a request ended, with so many in flight, itself among them.
    pub(super) fn learn(&self, index: usize, in_flight: u32, outcome: &Outcome, now: u64) {
        let latency = outcome.latency.map(|latency| (latency.as_nanos().max(1) as f64).log2());
        let sample = match (outcome.ok, latency) {
            (true, None) => return,
            (true, Some(latency)) => latency,
            (false, latency) => latency.unwrap_or(FAILURE).max(FAILURE),
        };
        let class = self.backends.get(index).and_then(|classes| classes.get(class(in_flight)));
        if let Some(word) = class {
            let time = self.time(now);
            let old = known(word.load(Relaxed), time).map(|old| f64::from(old) / UNIT);
            let mean = old.map_or(sample, |old| old + (sample - old) * GAIN);
            word.store(u32::from(time) << 16 | fixed(mean), Relaxed);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the clock goes round")]
    pub(super) fn time(&self, now: u64) -> u16 {
        (now as f64 * self.pace) as u64 as u16
    }
}

/// log₂, by the count's bits.
fn class(in_flight: u32) -> usize {
    (in_flight.max(1).ilog2() as usize).min(CLASSES - 1)
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word are 16 bits")]
fn known(word: u32, time: u16) -> Option<u16> {
    let young = time.wrapping_sub((word >> 16) as u16) <= AGE;
    (young && word & 0xffff != NONE).then_some(word as u16)
}

#[cold]
fn nearest(
    classes: &[AtomicU32; CLASSES],
    class: usize,
    known: impl Fn(&AtomicU32) -> Option<u16>,
) -> Option<u16> {
    let (below, above) = classes.split_at_checked(class)?;
    below.iter().rev().find_map(&known).or_else(|| above.iter().find_map(&known))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn fixed(log2: f64) -> u32 {
    (log2 * UNIT + 0.5).clamp(1.0, 65_535.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn ms(latencies: &Latencies, in_flight: u32, now: u64) -> Option<f64> {
        // The middle of its eighth.
        let eighths = latencies.at(0, in_flight, latencies.time(now))?;
        Some(((f64::from(eighths) + 0.5) / 8.0).exp2() / 1e6)
    }

    fn ok(ms: u64) -> Outcome {
        Outcome { latency: Some(Duration::from_millis(ms)), ok: true }
    }

    #[test]
    fn a_backend_that_worked_its_queue_off_is_as_fast_as_it_was_before() {
        let latencies = Latencies::new(1, Duration::from_secs(1));
        assert_eq!(ms(&latencies, 0, 0), None);
        latencies.learn(0, 1, &ok(10), MS);
        latencies.learn(0, 40, &ok(400), MS);
        for (in_flight, expected) in
            [(0, 10.0), (1, 10.0), (3, 10.0), (31, 10.0), (50, 400.0), (5_000, 400.0)]
        {
            let found = ms(&latencies, in_flight, MS).unwrap();
            assert!((found / expected - 1.0).abs() < 0.06, "{found} with {in_flight}");
        }
        assert!(ms(&latencies, 1, 900 * MS).is_some() && ms(&latencies, 1, 1_100 * MS).is_none());
    }

    #[test]
    fn failures_are_slow_answers() {
        let latencies = Latencies::new(1, Duration::from_secs(1));
        latencies.learn(0, 1, &Outcome { latency: Some(Duration::from_micros(50)), ok: false }, MS);
        assert!(ms(&latencies, 1, MS).unwrap() > 900.0);
        latencies.learn(9, 1, &ok(1), MS);
        assert_eq!(latencies.at(9, 1, 0), None);
    }
}
