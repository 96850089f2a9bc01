//! Durations counted in fixed log-linear buckets.
//!
//! Written by workers with two relaxed adds a sample, read by merging into a [`Summary`]. Memory comes as it is
//! needed: nothing before the first sample, then about half a kilobyte for each part of a decade in which
//! samples fall, so a histogram whose samples lie between 1 and 100 ms takes three kilobytes, and no number of
//! samples makes it grow.

mod buckets;
mod exposed;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use buckets::{LAYOUT, SEGMENTS, Segment, locate};
pub use exposed::{EXPOSED_BOUNDS_US, Exposed};

/// Counts durations from a microsecond to 10 000 s with a relative error of at most 1.25 %.
///
/// Any number of threads may record; one histogram a worker (see [`Shards`](crate::Shards)) keeps them from
/// contending.
///
/// ```
/// use lb_observe::{Histogram, histogram::Summary};
/// use std::time::Duration;
///
/// let histogram = Histogram::default();
/// for ms in 1..=100 {
///     histogram.record(Duration::from_millis(ms));
/// }
/// let summary: Summary = [&histogram].into_iter().collect();
/// assert_eq!(summary.count(), 100);
/// let p50 = summary.quantile(0.5).unwrap();
/// assert!(p50.abs_diff(Duration::from_millis(50)) < Duration::from_millis(1));
/// ```
#[derive(Debug, Default)]
pub struct Histogram {
    samples: OnceLock<Box<Samples>>,
}

#[derive(Debug, Default)]
struct Samples {
    sum_ns: AtomicU64,
    segments: [OnceLock<Box<[AtomicU64]>>; SEGMENTS],
}

impl Histogram {
    /// Counts one duration. Two relaxed adds; allocates on the first sample of a range.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).min(buckets::LIMIT_NS);
        let (segment, bucket) = locate(duration_ns);
        let samples = self.samples.get_or_init(Box::default);
        samples.sum_ns.fetch_add(duration_ns, Relaxed);
        let counts = samples.segments.get(segment).map(|counts| counts.get_or_init(|| zeroes(segment)));
        if let Some(count) = counts.and_then(|counts| counts.get(bucket)) {
            count.fetch_add(1, Relaxed);
        }
    }
}

fn zeroes(segment: usize) -> Box<[AtomicU64]> {
    (0..LAYOUT.get(segment).map_or(0, |segment| segment.len)).map(|_| AtomicU64::new(0)).collect()
}

/// What histograms held at one moment, merged; the side that is read.
///
/// The count is the sum of the buckets, so quantiles, count and exposed buckets always agree with each other,
/// also while workers write. The sum may run ahead by the samples in flight.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    sum_ns: u64,
    count: u64,
    segments: [Option<Box<[u64]>>; SEGMENTS],
}

impl Summary {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        let Some(samples) = histogram.samples.get() else { return };
        self.sum_ns = self.sum_ns.wrapping_add(samples.sum_ns.load(Relaxed));
        for (mine, theirs) in self.segments.iter_mut().zip(&samples.segments) {
            let Some(theirs) = theirs.get() else { continue };
            self.count += add_counts(mine, theirs.iter().map(|count| count.load(Relaxed)));
        }
    }

    /// Adds another summary.
    pub fn merge(&mut self, other: &Self) {
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        for (mine, theirs) in self.segments.iter_mut().zip(&other.segments) {
            let Some(theirs) = theirs else { continue };
            self.count += add_counts(mine, theirs.iter().copied());
        }
    }

    /// What has come since an earlier reading of the same histograms. Where they have become fewer meanwhile, what
    /// is missing counts as nothing.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = Self { sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns), ..Self::default() };
        for ((new_counts, now), before) in new.segments.iter_mut().zip(&self.segments).zip(&earlier.segments)
        {
            let Some(now) = now else { continue };
            let before = before.as_deref().unwrap_or_default().iter().copied().chain(std::iter::repeat(0));
            let counts: Box<[u64]> =
                now.iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
            new.count += counts.iter().sum::<u64>();
            *new_counts = Some(counts);
        }
        new
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All samples together; exact, save that each is cut at 10 000 s.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The mean, exact; `None` without a sample.
    pub fn mean(&self) -> Option<Duration> {
        self.sum_ns.checked_div(self.count).map(Duration::from_nanos)
    }

    /// The duration that a share `q` (0..=1) of the samples does not exceed, within 1.25 % (nearest-rank);
    /// `None` without a sample.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=count")]
        let rank = (rank as u64).max(1);
        let mut seen = 0;
        self.buckets().find_map(|(segment, bucket, count)| {
            seen += count;
            (seen >= rank).then(|| Duration::from_nanos(segment.middle_ns(bucket)))
        })
    }

    /// Samples longer than `limit`, within 1.25 % of it.
    pub fn count_over(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.buckets()
            .filter(|(segment, bucket, _)| segment.middle_ns(*bucket) > limit)
            .map(|(_, _, count)| count)
            .sum()
    }

    /// The shortest sample, within 1.25 %.
    pub fn min(&self) -> Option<Duration> {
        self.quantile(0.0)
    }

    /// The longest sample, within 1.25 %.
    pub fn max(&self) -> Option<Duration> {
        self.quantile(1.0)
    }

    /// Non-empty buckets by rising durations.
    fn buckets(&self) -> impl Iterator<Item = (&'static Segment, usize, u64)> {
        LAYOUT
            .iter()
            .zip(&self.segments)
            .filter_map(|(segment, counts)| Some((segment, counts.as_ref()?)))
            .flat_map(|(segment, counts)| {
                let counted = counts.iter().enumerate().filter(|(_, count)| **count > 0);
                counted.map(move |(bucket, count)| (segment, bucket, *count))
            })
    }
}

impl<'a> FromIterator<&'a Histogram> for Summary {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(histograms: I) -> Self {
        let mut summary = Self::default();
        histograms.into_iter().for_each(|histogram| summary.add(histogram));
        summary
    }
}

/// Adds counts of one segment; gives how many samples were added.
fn add_counts(mine: &mut Option<Box<[u64]>>, theirs: impl ExactSizeIterator<Item = u64>) -> u64 {
    let mine = mine.get_or_insert_with(|| vec![0; theirs.len()].into_boxed_slice());
    mine.iter_mut()
        .zip(theirs)
        .map(|(mine, count)| {
            *mine += count;
            count
        })
        .sum()
}

#[cfg(test)]
mod tests;
