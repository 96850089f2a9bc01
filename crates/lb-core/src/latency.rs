//! A backend's latency as strategies see it: an exponentially weighted mean that forgets by time, kept so that estimates of
//! many backends compare without an exponential each.
//!
//! With decay time τ an estimate v of time t is worth v·e^(−(now−t)/τ) now. All estimates share the factor e^(−now/τ), so it is
//! left out: what is kept is log₂ v + t/(τ ln 2), a number that only a new sample changes (forward decay: Cormode, Shkapenyuk,
//! Srivastava, Xu, ICDE 2009). An idle backend's estimate thus falls towards zero by itself, and it gets a trial request in the
//! end: nobody starves. So that this trial stays one request until it is answered, however low the estimate has fallen, an estimate
//! older than the decay time is forgotten as the trial begins.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::moment::{self, Moment};

/// Kept by a backend without a sample: above every real score.
pub(crate) const NO_SAMPLE: f64 = 1e30;

/// What a failure counts as at least, so that a backend that refuses at once does not look like the fastest of all.
const FAILURE: f64 = 1e9;
const FAILURE_LOG2: f64 = 29.897_352_853_986_26;

/// The most an estimate may be: an hour, in nanoseconds.
const CEILING: f64 = 3.6e12;

/// How samples make an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Averaging {
    /// The weighted mean.
    Mean,
    /// A sample above the estimate becomes the estimate; below it, the mean (Finagle's peak EWMA).
    Peak,
}

/// The part of the estimate that picks do not read.
#[derive(Debug)]
pub(crate) struct Estimator {
    /// When the last sample came.
    at: AtomicU64,
    /// log₂ units a nanosecond: 1 ÷ (τ ln 2), as bits of an f64.
    rate: AtomicU64,
}

impl Estimator {
    pub(crate) fn new(decay: Duration) -> Self {
        Self { at: AtomicU64::new(moment::NEVER), rate: AtomicU64::new(rate(decay).to_bits()) }
    }

    /// Sets the decay time. A kept number means nothing under another one, so a change forgets it.
    pub(crate) fn set_decay(&self, decay: Duration, kept: &AtomicU64) {
        let rate = rate(decay).to_bits();
        if self.rate.swap(rate, Relaxed) != rate {
            kept.store(NO_SAMPLE.to_bits(), Relaxed);
        }
    }

    /// The estimate at `now` in nanoseconds.
    pub(crate) fn value(&self, kept: f64, now: u64) -> Option<f64> {
        (kept < NO_SAMPLE).then(|| (kept - now as f64 * self.rate()).exp2())
    }

    /// Takes in a sample. Lock-free: of two threads each has its own share of the time since the last sample, and neither's
    /// sample is lost.
    pub(crate) fn sample(&self, kept: &AtomicU64, latency: Duration, averaging: Averaging, now: u64) {
        let sample = (latency.as_nanos() as f64).clamp(1.0, CEILING);
        let idle = now.saturating_sub(self.at.fetch_max(now, Relaxed));
        let weight = -(-(idle as f64) * self.rate() * std::f64::consts::LN_2).exp_m1();
        self.update(kept, now, |estimate| match (estimate, averaging) {
            (None, _) => sample,
            (Some(estimate), Averaging::Peak) if sample > estimate => sample,
            // What is left of the estimate has been weighted by the time already.
            (Some(estimate), _) => estimate + sample * weight,
        });
    }

    /// Takes in a failure: twice the estimate, and no less than a second or what it took.
    pub(crate) fn failure(&self, kept: &AtomicU64, latency: Option<Duration>, now: u64) {
        let took = latency.map_or(0.0, |latency| latency.as_nanos() as f64);
        self.at.fetch_max(now, Relaxed);
        self.update(kept, now, |estimate| (2.0 * estimate.unwrap_or(0.0)).max(took).max(FAILURE));
    }

    /// Forgets an estimate that no sample has confirmed for the decay time.
    pub(crate) fn forget_if_stale(&self, kept: &AtomicU64, now: u64) {
        let idle = now.saturating_sub(self.at.load(Relaxed));
        if idle as f64 * self.rate() > std::f64::consts::LOG2_E {
            kept.store(NO_SAMPLE.to_bits(), Relaxed);
        }
    }

    fn update(&self, kept: &AtomicU64, now: u64, next: impl Fn(Option<f64>) -> f64) {
        let time = now as f64 * self.rate();
        let next = |bits| {
            let estimate = self.value(f64::from_bits(bits), now);
            Some((next(estimate).clamp(1.0, CEILING).log2() + time).to_bits())
        };
        // Never refused: the closure always has a next value.
        let _ = kept.fetch_update(Relaxed, Relaxed, next);
    }

    fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Relaxed))
    }
}

/// How the estimates of one strategy's backends compare at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    rate: f64,
    now: Moment,
}

impl Scale {
    /// For estimates of this [`rate`].
    pub(crate) fn new(rate: f64, now: Moment) -> Self {
        Self { rate, now }
    }

    /// log₂ of latency × (in flight + 1), up to a constant that all backends share: comparable, not meaningful alone. A backend
    /// without a sample comes before all others while it has nothing in flight, which is its trial, and counts as one that
    /// takes a second while it has.
    #[inline]
    pub(crate) fn score(self, kept: f64, in_flight: u32) -> f64 {
        match LOG2_NEXT.get(in_flight as usize) {
            Some(logarithm) if is_sample(kept) => kept + logarithm,
            _ => self.rare(kept, in_flight),
        }
    }

    /// One call for all that is seldom: inlined it would cost a scan a jump for each backend.
    #[cold]
    #[inline(never)]
    fn rare(self, kept: f64, in_flight: u32) -> f64 {
        if kept < NO_SAMPLE {
            return kept + log2_next(in_flight);
        }
        if in_flight == 0 {
            return f64::NEG_INFINITY;
        }
        FAILURE_LOG2 + self.now.nanos() as f64 * self.rate + log2_next(in_flight)
    }
}

/// `kept < NO_SAMPLE`, but as whole numbers, which floats that are no NaN are ordered as too: a scan has it cheaper by an instruction.
#[inline(always)]
const fn is_sample(kept: f64) -> bool {
    kept.to_bits().cast_signed() < NO_SAMPLE.to_bits().cast_signed()
}

/// log₂(number + 1): from a table, and beyond it to within 0.01, rising all the way.
fn log2_next(number: u32) -> f64 {
    match LOG2_NEXT.get(number as usize) {
        Some(logarithm) => *logarithm,
        None => log2_large(number),
    }
}

#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which would stop")]
static LOG2_NEXT: [f64; 256] = {
    let mut table = [0.0; 256];
    let mut number = 0;
    while number < 256 {
        table[number] = log2_exact(number as f64 + 1.0);
        number += 1;
    }
    table
};

/// Bit by bit, by squaring: what a constant can be computed with.
const fn log2_exact(mut number: f64) -> f64 {
    let (mut logarithm, mut bit) = (0.0, 1.0);
    while number >= 2.0 {
        number /= 2.0;
        logarithm += 1.0;
    }
    while bit > 1e-15 {
        bit /= 2.0;
        number *= number;
        if number >= 2.0 {
            number /= 2.0;
            logarithm += bit;
        }
    }
    logarithm
}

/// Exponent and mantissa of the float, the mantissa bent a little.
fn log2_large(number: u32) -> f64 {
    const MANTISSA: u32 = (1 << 23) - 1;
    let bits = (number as f32 + 1.0).to_bits();
    let fraction = f32::from_bits(bits & MANTISSA | 1.0_f32.to_bits()) - 1.0;
    let exponent = (bits >> 23) as f32 - 127.0;
    f64::from(exponent + fraction * (1.344 - 0.344 * fraction))
}

/// log₂ units by which an estimate of this decay time falls a nanosecond.
pub(crate) fn rate(decay: Duration) -> f64 {
    1.0 / (decay.as_nanos().max(1) as f64 * std::f64::consts::LN_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    struct Trial {
        estimator: Estimator,
        kept: AtomicU64,
    }

    impl Trial {
        fn new() -> Self {
            Self {
                estimator: Estimator::new(Duration::from_secs(10)),
                kept: AtomicU64::new(NO_SAMPLE.to_bits()),
            }
        }

        fn sample(&self, ms: u64, averaging: Averaging, now: u64) {
            self.estimator.sample(&self.kept, Duration::from_millis(ms), averaging, now);
        }

        fn ms(&self, now: u64) -> f64 {
            self.estimator.value(f64::from_bits(self.kept.load(Relaxed)), now).unwrap() / 1e6
        }
    }

    #[test]
    fn steady_samples_are_the_estimate_and_idleness_halves_it() {
        let trial = Trial::new();
        for n in 0..10_000 {
            trial.sample(20, Averaging::Mean, SECOND + n * SECOND / 100);
        }
        let last = SECOND + 9_999 * SECOND / 100;
        assert!((trial.ms(last) - 20.0).abs() < 0.1);
        // 10 s × ln 2.
        assert!((trial.ms(last + 6_931_471_806) - 10.0).abs() < 0.1);
    }

    #[test]
    fn a_mean_follows_slowly_and_a_peak_at_once() {
        for (averaging, low, high) in [(Averaging::Mean, 10.0, 20.0), (Averaging::Peak, 99.0, 101.0)] {
            let trial = Trial::new();
            for n in 0..1_000 {
                trial.sample(10, averaging, SECOND + n * SECOND / 10);
            }
            let now = 102 * SECOND;
            trial.sample(10, averaging, now);
            trial.sample(100, averaging, now + SECOND / 100);
            let estimate = trial.ms(now + SECOND / 100);
            assert!((low..high).contains(&estimate), "{averaging:?}: {estimate}");
        }
    }

    #[test]
    fn a_failure_never_looks_fast_and_repeated_ones_look_ever_worse() {
        let trial = Trial::new();
        trial.sample(5, Averaging::Mean, SECOND);
        let mut before = 999.0;
        for n in 0..20 {
            trial.estimator.failure(&trial.kept, Some(Duration::from_micros(80)), SECOND + n);
            let now = trial.ms(SECOND + n);
            assert!(now >= before && now <= 3_600_001.0, "{now}");
            before = now;
        }
    }

    #[test]
    fn a_clock_that_stands_or_jumps_leaves_a_defined_estimate() {
        let trial = Trial::new();
        for now in [5 * SECOND, 5 * SECOND, 1, 900 * SECOND, u64::MAX, 1, 7 * SECOND] {
            trial.sample(10, Averaging::Mean, now);
            assert!(!trial.ms(now).is_nan());
            assert!(!f64::from_bits(trial.kept.load(Relaxed)).is_nan());
        }
    }

    #[test]
    fn a_backend_without_samples_is_tried_once_at_a_time() {
        let trial = Trial::new();
        let now = Moment::from(std::time::Instant::now());
        trial.sample(100, Averaging::Mean, now.nanos());
        let scale = Scale::new(rate(Duration::from_secs(10)), now);
        let sampled = f64::from_bits(trial.kept.load(Relaxed));
        assert!(scale.score(NO_SAMPLE, 0) < scale.score(sampled, 0));
        assert!(scale.score(NO_SAMPLE, 1) > scale.score(sampled, 10));
        assert!(scale.score(NO_SAMPLE, 2) > scale.score(NO_SAMPLE, 1));
    }

    #[test]
    fn the_quick_logarithm_rises_and_is_near() {
        let mut before = -1.0;
        for number in (0..100_000).chain([1 << 30, u32::MAX - 1]) {
            let quick = log2_next(number);
            assert!(
                quick >= before && (quick - (f64::from(number) + 1.0).log2()).abs() < 0.01,
                "{number}: {quick}"
            );
            before = quick;
        }
    }
}
