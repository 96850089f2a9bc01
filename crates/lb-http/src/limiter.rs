//! How many requests of one rule are under way at once: a fixed number, or one that follows what the backends bear.
//!
//! The adaptive limit is a gradient on latency (after Netflix' concurrency-limits): as long as answers come in about
//! the time they take when nothing queues, it grows; where they take longer, something queues, and it shrinks in
//! proportion. Requests above it are refused at once, so that those that are let in are answered in time.
//!
//! Cost: to rules without a limit one comparison; to others one atomic a request each way, and two more for each
//! answer where the limit adapts. Ten times a second one answer computes the new limit.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::config::ConcurrencyConfig;

/// From one change of the limit to the next.
const WINDOW: Duration = Duration::from_millis(100);
/// Fewer answers than this say nothing.
const MIN_SAMPLES: u64 = 10;
/// Where an adaptive limit starts, and what it never falls below: with so few under way, nothing queues.
const INITIAL: u32 = 20;
const FLOOR: u32 = 4;
/// How much longer than usual answers may take before the limit shrinks.
const TOLERANCE: f64 = 1.5;
/// How much of a new limit is taken over at a time.
const SMOOTHING: f64 = 0.5;
/// How fast the usual time follows one that has become longer for good: a little while there is no overload, and fast
/// once the limit is at its floor, where it cannot be the load.
const DRIFT: f64 = 0.002;
const FLOOR_DRIFT: f64 = 0.1;

/// One rule's limit. `Relaxed` throughout: every figure stands for itself.
#[derive(Debug)]
pub(crate) struct Limiter {
    under_way: AtomicU32,
    limit: AtomicU32,
    most: u32,
    adaptive: Option<Adaptive>,
}

#[derive(Debug)]
struct Adaptive {
    origin: Instant,
    /// Since when the present window lasts, in nanoseconds from `origin`.
    began: AtomicU64,
    /// Answers of this window, and how long they took together, in microseconds.
    samples: AtomicU64,
    micros: AtomicU64,
    /// The most requests that were under way in it.
    peak: AtomicU32,
    /// How long an answer takes where nothing queues, in nanoseconds; 0 is not known.
    usual: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(config: ConcurrencyConfig, now: Instant) -> Self {
        let most = config.max.map_or(u32::MAX, std::num::NonZeroU32::get);
        let adaptive = config.is_adaptive.then(|| Adaptive {
            origin: now,
            began: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            peak: AtomicU32::new(0),
            usual: AtomicU64::new(0),
        });
        let limit = if adaptive.is_some() { INITIAL.min(most) } else { most };
        Self { under_way: AtomicU32::new(0), limit: AtomicU32::new(limit), most, adaptive }
    }

    /// Lets one more request in; false where there are enough. Who is let in calls [`leave`](Self::leave) once.
    pub(crate) fn enter(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        let room = |under_way: u32| (under_way < limit).then(|| under_way + 1);
        match (self.under_way.fetch_update(Relaxed, Relaxed, room), &self.adaptive) {
            (Ok(before), Some(adaptive)) => {
                if before >= adaptive.peak.load(Relaxed) {
                    adaptive.peak.store(before + 1, Relaxed);
                }
                true
            }
            (Ok(_), None) => true,
            (Err(_), _) => false,
        }
    }

    /// A request is over.
    pub(crate) fn leave(&self) {
        self.under_way.fetch_sub(1, Relaxed);
    }

    /// A backend has answered after so long.
    pub(crate) fn answered(&self, latency: Duration, now: Instant) {
        let Some(adaptive) = &self.adaptive else { return };
        let limit = self.limit.load(Relaxed);
        if let Some(limit) = adaptive.answered(latency, now, limit) {
            self.limit.store(limit.clamp(FLOOR.min(self.most), self.most), Relaxed);
        }
    }
}

impl Adaptive {
    /// Takes a sample in; a new limit where a window has ended with it.
    fn answered(&self, latency: Duration, now: Instant, limit: u32) -> Option<u32> {
        self.micros.fetch_add(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX >> 32).max(1), Relaxed);
        let samples = self.samples.fetch_add(1, Relaxed) + 1;
        let at = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        let began = self.began.load(Relaxed);
        let is_over = samples >= MIN_SAMPLES && Duration::from_nanos(at.saturating_sub(began)) >= WINDOW;
        if !is_over || self.began.compare_exchange(began, at, Relaxed, Relaxed).is_err() {
            return None;
        }
        let samples = self.samples.swap(0, Relaxed).max(1);
        let mean = as_float(self.micros.swap(0, Relaxed)) * 1000.0 / as_float(samples);
        let peak = self.peak.swap(0, Relaxed);
        let usual = next_usual(as_float(self.usual.load(Relaxed)), mean, limit);
        self.usual.store(rounded(usual), Relaxed);
        next_limit(limit, peak, usual, mean)
    }
}

fn next_usual(usual: f64, mean: f64, limit: u32) -> f64 {
    let drift = match (mean <= usual * TOLERANCE, limit <= FLOOR) {
        (true, _) => DRIFT,
        (false, true) => FLOOR_DRIFT,
        // Something queues; that is not how long it takes.
        (false, false) => 0.0,
    };
    if usual == 0.0 || mean < usual { mean } else { usual + (mean - usual) * drift }
}

/// `None` where the limit was not tried, so that nothing was learnt of it.
fn next_limit(limit: u32, peak: u32, usual: f64, mean: f64) -> Option<u32> {
    let gradient = (TOLERANCE * usual / mean).clamp(0.5, 1.0);
    if gradient >= 1.0 && peak < limit / 2 {
        return None;
    }
    let limit = f64::from(limit);
    let aim = limit * gradient + limit.sqrt();
    let next = limit + (aim - limit) * SMOOTHING;
    u32::try_from(rounded(next)).ok()
}

#[expect(clippy::cast_precision_loss, reason = "figures stay far below 2^53")]
fn as_float(figure: u64) -> f64 {
    figure as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures are positive and small")]
fn rounded(figure: f64) -> u64 {
    figure.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn a_fixed_limit_is_never_passed_and_a_place_left_is_free() {
        let config = ConcurrencyConfig { max: NonZeroU32::new(2), is_adaptive: false };
        let limiter = Limiter::new(config, Instant::now());
        assert!(limiter.enter() && limiter.enter() && !limiter.enter());
        limiter.leave();
        assert!(limiter.enter() && !limiter.enter());
    }

    /// Backends that work on `capacity` requests at once, each for 10 ms: whoever is above waits in line. Three times as many
    /// come as they bear. The limit and the mean latency it settles at.
    fn settled(capacity: f64) -> (f64, f64) {
        let start = Instant::now();
        let limiter = Limiter::new(ConcurrencyConfig { max: None, is_adaptive: true }, start);
        let (mut limit_sum, mut latency_sum) = (0.0, 0.0);
        for window in 1..=600_u32 {
            let limit = f64::from(limiter.limit.load(Relaxed));
            // What comes finds the limit full, after a start without load.
            let under_way = if window < 5 { 1.0 } else { limit.min(capacity * 100.0) };
            let latency = Duration::from_secs_f64(0.010 * (under_way / capacity).max(1.0));
            while f64::from(limiter.under_way.load(Relaxed)) < under_way && limiter.enter() {}
            for _ in 0..20 {
                limiter.answered(latency, start + WINDOW * window);
            }
            while limiter.under_way.load(Relaxed) > 0 {
                limiter.leave();
            }
            if window > 300 {
                limit_sum += limit / 300.0;
                latency_sum += latency.as_secs_f64() / 300.0;
            }
        }
        (limit_sum, latency_sum)
    }

    #[test]
    fn under_overload_it_settles_where_the_backends_are_busy_and_answers_stay_timely() {
        for capacity in [4.0, 10.0, 50.0, 400.0] {
            let (limit, latency) = settled(capacity);
            assert!(limit >= capacity, "{limit} of {capacity} leaves backends idle");
            assert!(latency <= 0.030, "{latency} s at {limit} of {capacity}");
        }
    }

    #[test]
    fn backends_that_have_become_slower_are_learnt_at_the_floor_alone() {
        assert!(next_usual(10.0, 40.0, FLOOR) > 10.0);
        assert_eq!(next_usual(10.0, 40.0, 50), 10.0);
        assert_eq!((next_usual(0.0, 40.0, 50), next_usual(50.0, 40.0, 50)), (40.0, 40.0));
    }

    #[test]
    fn a_limit_that_nobody_reaches_stays() {
        assert_eq!(next_limit(20, 3, 1.0, 1.0), None);
        assert!(next_limit(20, 20, 1.0, 1.0) > Some(20));
        assert!(next_limit(20, 3, 1.0, 10.0) < Some(20));
    }
}
