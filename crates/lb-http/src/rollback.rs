//! Taking a split back by itself: where one of its smaller parts answers worse than its largest, that part gets nothing more.
//!
//! Once a second the parts' figures of the last `window` are compared. The largest part is the stable one. Another one trips
//!
//! - by `error_rate`, where its share of failed requests (5xx, and answers that broke off) lies above the stable one's by more than
//!   this: one-sided z-test for a difference of two proportions against this margin, each by Agresti and Caffo with one success and
//!   one failure more than were seen (The American Statistician 54, 2000), so that nothing is said of a few;
//! - by `p99`, where a greater share of its answers took longer than so many times the stable one's 99th percentile than of the stable
//!   one's took longer than that percentile, a hundredth: the same test. That percentile is known no better than the stable part's
//!   answers tell, and of a hundred of those little; taken for certain, equal parts would trip one look in ten.
//!
//! Both want a z of [`CRITICAL`], one chance in ten thousand a look, since there are many looks; and `min_requests` of either part.
//! A part that has tripped has weight 0 from then on, until the split is changed or set anew. Requests that name it still get there.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lb_observe::SplitStats;
use lb_observe::histogram::Summary;
use serde::{Deserialize, Serialize};

use crate::config::RollbackConfig;
use crate::snapshot::Snapshot;
use crate::split::Split;
use crate::worker::Shared;

/// How often parts are compared.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Readings kept of a window.
const MAX_READINGS: u32 = 60;
/// One-sided, 0.01 %.
const CRITICAL: f64 = 3.719;

/// A part that was taken back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollback {
    /// The rule.
    pub rule: String,
    /// The part that gets nothing more.
    pub upstream: String,
    /// Since when.
    pub time: SystemTime,
    /// Why, in a sentence.
    pub reason: String,
}

/// Compares the parts of every split that is to be taken back by itself, for as long as the gateway runs.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut watched: HashMap<String, Watched> = HashMap::new();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let snapshot = shared.snapshot.load_full();
        let now = Instant::now();
        watched.retain(|rule, _| snapshot.rules.iter().any(|it| it.route.name == *rule));
        look(&snapshot, &mut watched, now);
    }
}

fn look(snapshot: &Snapshot, watched: &mut HashMap<String, Watched>, now: Instant) {
    for rule in &snapshot.rules {
        let name = &rule.route.name;
        let Some((split, config)) = rule.split.as_ref().and_then(|split| Some((split, split.rollback()?)))
        else {
            watched.remove(name);
            continue;
        };
        let known = watched.entry(name.clone()).or_insert_with(|| Watched::of(split));
        if !split.is_same(&known.split) {
            *known = Watched::of(split);
        }
        for (place, reason) in known.look(split, config, now) {
            let upstream = split.names().nth(place).unwrap_or_default().to_owned();
            tracing::warn!(
                component = "split",
                rule = name,
                upstream,
                reason,
                "split taken back: this part gets nothing more"
            );
            split
                .take_back(place, Rollback { rule: name.clone(), upstream, time: SystemTime::now(), reason });
        }
    }
}

/// What was read of a split's parts.
struct Watched {
    /// Which split it was, among those of one rule; held, so that no other can be taken for it.
    split: Arc<dyn Any + Send + Sync>,
    readings: VecDeque<(Instant, Vec<Reading>)>,
}

/// What a part had answered at one moment, or has within a window.
#[derive(Debug, Clone, Default)]
struct Reading {
    requests: u64,
    failed: u64,
    durations: Summary,
}

impl Reading {
    fn of(stats: &SplitStats) -> Self {
        let (requests, failed) = stats.ended();
        Self { requests, failed, durations: stats.durations() }
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failed: self.failed.saturating_sub(earlier.failed),
            durations: self.durations.since(&earlier.durations),
        }
    }
}

impl Watched {
    /// Only what comes from now on counts.
    fn of(split: &Split) -> Self {
        let now = (Instant::now(), split.stats().map(Reading::of).collect());
        Self { split: split.identity(), readings: VecDeque::from([now]) }
    }

    /// The parts that trip, with why.
    fn look(&mut self, split: &Split, config: &RollbackConfig, now: Instant) -> Vec<(usize, String)> {
        let current: Vec<Reading> = split.stats().map(Reading::of).collect();
        // The oldest within the window; one before it is kept until there is.
        while self.readings.get(1).is_some_and(|(time, _)| now.duration_since(*time) >= config.window) {
            self.readings.pop_front();
        }
        let window: Vec<Reading> = match self.readings.front() {
            Some((_, earlier)) => current.iter().zip(earlier).map(|(now, then)| now.since(then)).collect(),
            None => Vec::new(),
        };
        let pace = (config.window / MAX_READINGS).max(LOOK_INTERVAL / 2);
        if self.readings.back().is_none_or(|(time, _)| now.duration_since(*time) >= pace) {
            self.readings.push_back((now, current));
        }
        let weights: Vec<f64> = split.weights().collect();
        let stable = (0..weights.len()).max_by(|one, other| {
            let weight = |place: &usize| weights.get(*place).copied().unwrap_or_default();
            weight(one).total_cmp(&weight(other)).then(other.cmp(one))
        });
        let Some((stable, base)) = stable.and_then(|place| Some((place, window.get(place)?))) else {
            return Vec::new();
        };
        let others = window
            .iter()
            .zip(&weights)
            .enumerate()
            .filter(|(place, (_, weight))| *place != stable && **weight > 0.0);
        others.filter_map(|(place, (reading, _))| Some((place, verdict(reading, base, config)?))).collect()
    }
}

/// Why a part is worse than the stable one, if it is.
fn verdict(canary: &Reading, stable: &Reading, config: &RollbackConfig) -> Option<String> {
    let least = u64::from(config.min_requests.get());
    if canary.requests < least || stable.requests < least {
        return None;
    }
    if let Some(margin) = config.error_rate
        && by_errors((canary.failed, canary.requests), (stable.failed, stable.requests), margin) > CRITICAL
    {
        let rate = |it: &Reading| 100.0 * share(it.failed, it.requests);
        return Some(format!(
            "{:.2} % of {} requests failed, of the stable part {:.2} % of {}",
            rate(canary),
            canary.requests,
            rate(stable),
            stable.requests
        ));
    }
    let factor = config.p99?;
    let (usual, slow) = (stable.durations.quantile(0.99)?, canary.durations.quantile(0.99)?);
    let limit = usual.mul_f64(factor);
    let exceed = |of: &Reading, limit| (of.durations.count_over(limit), of.durations.count());
    (by_slowness(exceed(canary, limit), exceed(stable, usual)) > CRITICAL)
        .then(|| format!("99 % of its answers came within {slow:?}, of the stable part within {usual:?}"))
}

/// How far the failures of one lie above those of another and a margin, in standard errors.
fn by_errors(canary: (u64, u64), stable: (u64, u64), margin: f64) -> f64 {
    let adjusted = |(failed, all): (u64, u64)| (share(failed + 1, all + 2), count(all + 2));
    let ((p, n), (q, m)) = (adjusted(canary), adjusted(stable));
    (p - q - margin) / (p * (1.0 - p) / n + q * (1.0 - q) / m).sqrt()
}

/// How far the slow answers of one lie above those of another, in standard errors; of the other, whose 99th percentile is what they are
/// slow by, a hundredth is slow.
fn by_slowness(canary: (u64, u64), (over, all): (u64, u64)) -> f64 {
    // Of answers in one bucket with the percentile none is longer.
    by_errors(canary, (over.max(all / 100), all), 0.0)
}

fn share(part: u64, all: u64) -> f64 {
    count(part) / count(all)
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_once_there_is_enough_of_it() {
        // One of ten is no sign against one of a hundred; a fifth of a hundred is.
        assert!(by_errors((1, 10), (1, 100), 0.0) < CRITICAL);
        assert!(by_errors((20, 100), (1, 100), 0.0) > CRITICAL);
        // Within the margin nothing trips however many there are.
        assert!(by_errors((4_000, 100_000), (0, 1_000_000), 0.05) < CRITICAL);
        assert!(by_errors((10_000, 100_000), (0, 1_000_000), 0.05) > CRITICAL);
        // Both fail alike.
        assert!(by_errors((500, 1000), (5000, 10_000), 0.0) < CRITICAL);
        assert!(by_errors((1000, 1000), (1000, 1000), 0.0) < CRITICAL);
        assert!(by_errors((0, 1000), (0, 1000), 0.0) < CRITICAL);
    }

    #[test]
    fn equal_parts_trip_about_as_seldom_as_is_said() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut failed = |all: u64| (0..all).filter(|_| random.f64() < 0.1).count() as u64;
        let trips =
            (0..4000).filter(|_| by_errors((failed(200), 200), (failed(1800), 1800), 0.0) > CRITICAL).count();
        assert!(trips <= 4, "{trips} of 4000");
    }

    #[test]
    fn a_hundredth_of_slow_answers_is_usual_and_a_tenth_is_not() {
        assert!(by_slowness((0, 0), (0, 0)) < CRITICAL);
        assert!(by_slowness((12, 1000), (10, 1000)) < CRITICAL);
        assert!(by_slowness((100, 1000), (0, 1000)) > CRITICAL);
        assert!(by_slowness((1, 20), (1, 100)) < CRITICAL);
        assert!(by_slowness((20, 20), (1, 100)) > CRITICAL);
    }

    #[test]
    fn equal_parts_are_as_fast_as_each_other_also_where_few_answers_are_known() {
        let mut random = fastrand::Rng::with_seed(11);
        // Times with a long tail.
        let mut reading = |answers: u64| {
            let times = lb_observe::histogram::Histogram::default();
            for _ in 0..answers {
                times.record(Duration::from_millis(2).div_f64(1.0 - random.f64()));
            }
            Reading { requests: answers, failed: 0, durations: [&times].into_iter().collect() }
        };
        for p99 in [1.0, 1.5] {
            let config = RollbackConfig {
                error_rate: None,
                p99: Some(p99),
                min_requests: RollbackConfig::MIN_REQUESTS,
                window: RollbackConfig::WINDOW,
            };
            let trips =
                (0..2000).filter(|_| verdict(&reading(100), &reading(100), &config).is_some()).count();
            assert!(trips <= 2, "{trips} of 2000 by {p99}");
        }
    }
}
