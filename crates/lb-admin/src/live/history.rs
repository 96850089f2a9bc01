//! The last ten minutes of one upstream or of the whole, a point each step, so that a page that is just opened has its charts.

use std::collections::VecDeque;

use serde::Serialize;

use super::window::{Percentiles, Rates};

/// Points kept: ten minutes of steps.
pub(super) const KEPT: usize = 120;

/// What one step came to. Small floats: a chart has no more pixels.
#[derive(Debug, Clone, Copy)]
struct Point {
    requests_per_second: f32,
    error_rate: f32,
    p50: Option<f32>,
    p95: Option<f32>,
    p99: Option<f32>,
    active: u32,
}

/// A ring of points. Steps are numbered over the whole process, so that a reader can ask for those it has not seen.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    /// The number of the last point's step.
    last: u64,
}

/// Points as the page gets them, by column.
#[derive(Debug, Serialize)]
pub(super) struct Points {
    /// The number of the first point's step.
    first: u64,
    requests_per_second: Vec<f32>,
    error_rate: Vec<f32>,
    p50: Vec<Option<f32>>,
    p95: Vec<Option<f32>>,
    p99: Vec<Option<f32>>,
    active: Vec<u32>,
}

impl History {
    /// A step has ended.
    pub(super) fn push(&mut self, step: u64, rates: Rates, latency: Percentiles, active: u64) {
        if self.points.len() >= KEPT {
            self.points.pop_front();
        }
        let Percentiles { p50, p95, p99 } = latency;
        self.points.push_back(Point {
            requests_per_second: small(rates.requests_per_second),
            error_rate: small(rates.error_rate),
            p50: p50.map(small),
            p95: p95.map(small),
            p99: p99.map(small),
            active: u32::try_from(active).unwrap_or(u32::MAX),
        });
        self.last = step;
    }

    /// The number of the last step.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The points of steps after this one.
    pub(super) fn after(&self, step: u64) -> Points {
        let unseen = usize::try_from(self.last.saturating_sub(step)).unwrap_or(KEPT).min(self.points.len());
        let points = || self.points.iter().skip(self.points.len() - unseen);
        Points {
            first: self.last + 1 - unseen as u64,
            requests_per_second: points().map(|point| point.requests_per_second).collect(),
            error_rate: points().map(|point| point.error_rate).collect(),
            p50: points().map(|point| point.p50).collect(),
            p95: points().map(|point| point.p95).collect(),
            p99: points().map(|point| point.p99).collect(),
            active: points().map(|point| point.active).collect(),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "digits beyond what a chart shows")]
fn small(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_minutes_are_kept_and_only_what_is_new_is_told() {
        let mut history = History::default();
        for step in 1..=200_u32 {
            let rates = Rates { requests_per_second: f64::from(step), error_rate: 0.0 };
            history.push(u64::from(step), rates, Percentiles::default(), 0);
        }
        let all = history.after(0);
        assert_eq!((all.first, all.requests_per_second.len()), (81, KEPT));
        assert_eq!(history.after(198).requests_per_second, [199.0, 200.0]);
        let none = history.after(200);
        assert_eq!((none.first, none.p50.len()), (201, 0));
        assert_eq!(history.after(u64::MAX).active.len(), 0);
    }
}
