//! What Prometheus is shown of histograms: few and coarse buckets, read off without a copy of the fine ones.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::Histogram;
use super::buckets::LAYOUT;

/// Upper bounds of the buckets shown to Prometheus, in microseconds; `+Inf` makes them twenty. All are edges of
/// fine buckets.
pub const EXPOSED_BOUNDS_US: [u64; 19] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// Bounds, and what lies above the last.
const PLACES: usize = EXPOSED_BOUNDS_US.len() + 1;

/// What histograms held at one moment, in the buckets that are exposed.
///
/// The count is the sum of the buckets, so both always agree with each other, also while workers write.
///
/// ```
/// use lb_observe::{Histogram, histogram::Exposed};
/// use std::time::Duration;
///
/// let histogram = Histogram::default();
/// histogram.record(Duration::from_millis(3));
/// let exposed: Exposed = [&histogram].into_iter().collect();
/// assert_eq!(exposed.count(), 1);
/// assert_eq!(exposed.cumulative()[4..6], [0, 1]); // 2 ms, 5 ms
/// ```
#[derive(Debug, Clone, Default)]
pub struct Exposed {
    sum_ns: u64,
    /// Samples between one bound and the next.
    counts: [u64; PLACES],
}

impl Exposed {
    /// Adds what a histogram holds now.
    pub fn add(&mut self, histogram: &Histogram) {
        let Some(samples) = histogram.samples.get() else { return };
        self.sum_ns = self.sum_ns.wrapping_add(samples.sum_ns.load(Relaxed));
        for (segment, counts) in LAYOUT.iter().zip(&samples.segments) {
            let Some(counts) = counts.get() else { continue };
            let (first, last) = (place(segment.upper_ns(0)), place(segment.upper_ns(segment.len - 1)));
            if first == last {
                self.add_at(first, counts.iter().map(|count| count.load(Relaxed)).sum());
                continue;
            }
            // A bound lies within the segment.
            for (bucket, count) in counts.iter().enumerate() {
                self.add_at(place(segment.upper_ns(bucket)), count.load(Relaxed));
            }
        }
    }

    /// Samples.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All samples together; exact, save that each is cut at 10 000 s.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// For each of [`EXPOSED_BOUNDS_US`], how many samples are not above it: exactly, since each bound is an edge.
    pub fn cumulative(&self) -> [u64; EXPOSED_BOUNDS_US.len()] {
        let mut running = 0;
        let mut counts = self.counts.iter();
        EXPOSED_BOUNDS_US.map(|_| {
            running += counts.next().copied().unwrap_or(0);
            running
        })
    }

    fn add_at(&mut self, place: usize, samples: u64) {
        if let Some(count) = self.counts.get_mut(place) {
            *count += samples;
        }
    }
}

impl<'a> FromIterator<&'a Histogram> for Exposed {
    fn from_iter<I: IntoIterator<Item = &'a Histogram>>(histograms: I) -> Self {
        let mut exposed = Self::default();
        histograms.into_iter().for_each(|histogram| exposed.add(histogram));
        exposed
    }
}

/// Where samples up to this edge belong.
fn place(upper_ns: u64) -> usize {
    EXPOSED_BOUNDS_US.partition_point(|bound| bound * 1_000 < upper_ns)
}
