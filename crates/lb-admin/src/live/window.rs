//! Two looks at figures that only grow, for what has come of late.

use std::time::{Duration, Instant};

use lb_observe::histogram::Summary;
use serde::Serialize;

/// Requests and how many of them failed, since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) failed: u64,
}

/// Counts and how long answers took, since the start.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) counts: Counts,
    pub(super) latency: Summary,
}

/// What figures read at the ends of the last two steps. What is shown as "now" has come since the older one, which is one to
/// two steps ago: long enough for percentiles, short enough to show what happens.
#[derive(Debug)]
pub(super) struct Window<R> {
    older: (Instant, R),
    newer: (Instant, R),
}

impl<R: Clone> Window<R> {
    /// Begins now.
    pub(super) fn new(now: Instant, reading: R) -> Self {
        Self { older: (now, reading.clone()), newer: (now, reading) }
    }

    /// A step has ended.
    pub(super) fn roll(&mut self, now: Instant, reading: R) {
        self.older = std::mem::replace(&mut self.newer, (now, reading));
    }

    /// When the step under way began.
    pub(super) fn step_began(&self) -> Instant {
        self.newer.0
    }

    /// The older look.
    pub(super) fn start(&self) -> (Instant, &R) {
        (self.older.0, &self.older.1)
    }

    /// The newer look: where the step under way began.
    pub(super) fn step_start(&self) -> (Instant, &R) {
        (self.newer.0, &self.newer.1)
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
    }
}

/// Requests a second, and the share that failed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Rates {
    pub(super) requests_per_second: f64,
    /// 0 to 1.
    pub(super) error_rate: f64,
}

impl Rates {
    /// What has come between two looks.
    pub(super) fn between((then, before): (Instant, Counts), (now, counts): (Instant, Counts)) -> Self {
        let requests = counts.requests.saturating_sub(before.requests);
        let failed = counts.failed.saturating_sub(before.failed).min(requests);
        let elapsed = now.saturating_duration_since(then).as_secs_f64();
        Self {
            requests_per_second: if elapsed > 0.0 { round(float(requests) / elapsed) } else { 0.0 },
            error_rate: if requests > 0 { round(float(failed) / float(requests)) } else { 0.0 },
        }
    }
}

/// Milliseconds; none where nothing was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

impl Percentiles {
    pub(super) fn of(summary: &Summary) -> Self {
        let quantile = |q| summary.quantile(q).map(milliseconds);
        Self { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    round(duration.as_secs_f64() * 1e3)
}

/// To three decimals: what a page shows, in a third of the bytes.
pub(super) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
