//! Where the histogram's buckets lie: decimal log-linear.
//!
//! Every decade is cut at 1, 2 and 5 into segments, and every segment into equal buckets: 50, 60 and 50 of them.
//! A bucket is at most 2.5 % wide, so its middle is within 1.25 % of any value in it, and the round bounds that
//! people write into dashboards (5 ms, 0.2 s, 30 s) are edges of buckets, so that what is exported is exactly
//! what is inside.

/// Segments: one below a microsecond, then three to each of ten decades.
pub(super) const SEGMENTS: usize = 31;

/// The longest duration told apart: 10 000 s. Longer ones count as this.
pub(super) const LIMIT_NS: u64 = 10_000_000_000_000;

/// Equal buckets over `(start_ns, start_ns + step_ns * len]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    /// Lower edge, itself outside.
    pub(super) start_ns: u64,
    /// Width of a bucket.
    pub(super) step_ns: u64,
    /// Buckets.
    pub(super) len: usize,
}

impl Segment {
    /// The upper edge of a bucket, itself inside.
    pub(super) fn upper_ns(&self, bucket: usize) -> u64 {
        self.start_ns + self.step_ns * (bucket as u64 + 1)
    }

    /// The middle of a bucket: what a value in it is taken for.
    pub(super) fn middle_ns(&self, bucket: usize) -> u64 {
        self.upper_ns(bucket) - self.step_ns / 2
    }
}

/// All segments, by rising values.
pub(super) static LAYOUT: [Segment; SEGMENTS] = layout();

/// The segment in which the lowest number of each bit length lies. A segment is at least as wide as an octave,
/// so any number of that length lies in this one or the next.
static BY_BIT_LENGTH: [u8; 64] = by_bit_length();

/// Segment and bucket of a duration. A duration that is exactly an edge belongs below it, as Prometheus's `le`
/// has it.
#[inline]
pub(super) fn locate(duration_ns: u64) -> (usize, usize) {
    let below = duration_ns.min(LIMIT_NS).saturating_sub(1);
    let lowest = BY_BIT_LENGTH.get((below | 1).ilog2() as usize).map_or(0, |&index| index as usize);
    let past = LAYOUT.get(lowest + 1).is_some_and(|next| below >= next.start_ns);
    let index = lowest + usize::from(past);
    let Some(segment) = LAYOUT.get(index) else { return (0, 0) };
    let bucket = (below - segment.start_ns) / segment.step_ns;
    (index, usize::try_from(bucket).unwrap_or(0))
}

#[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn layout() -> [Segment; SEGMENTS] {
    let mut segments = [Segment { start_ns: 0, step_ns: 20, len: 50 }; SEGMENTS];
    let mut index = 1;
    let mut decade = 1_000;
    while index < SEGMENTS {
        segments[index] = Segment { start_ns: decade, step_ns: decade / 50, len: 50 };
        segments[index + 1] = Segment { start_ns: 2 * decade, step_ns: decade / 20, len: 60 };
        segments[index + 2] = Segment { start_ns: 5 * decade, step_ns: decade / 10, len: 50 };
        index += 3;
        decade *= 10;
    }
    segments
}

#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "evaluated at compile time")]
const fn by_bit_length() -> [u8; 64] {
    let mut table = [0; 64];
    let layout = layout();
    let mut bits = 0;
    while bits < 64 {
        let lowest = 1u64 << bits;
        let mut index = 0;
        while index + 1 < SEGMENTS && layout[index + 1].start_ns <= lowest {
            index += 1;
        }
        table[bits] = index as u8;
        bits += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn segments_join_without_gap_and_end_at_the_limit() {
        for pair in LAYOUT.windows(2) {
            assert_eq!(pair[0].upper_ns(pair[0].len - 1), pair[1].start_ns);
        }
        let last = LAYOUT[SEGMENTS - 1];
        assert_eq!(last.upper_ns(last.len - 1), LIMIT_NS);
    }

    #[test]
    fn an_edge_belongs_to_the_bucket_below() {
        for (index, segment) in LAYOUT.iter().enumerate() {
            for bucket in 0..segment.len {
                assert_eq!(locate(segment.upper_ns(bucket)), (index, bucket));
                assert_eq!(locate(segment.upper_ns(bucket) - segment.step_ns + 1), (index, bucket));
            }
        }
    }

    #[test]
    fn nothing_and_everything_have_a_bucket() {
        assert_eq!(locate(0), (0, 0));
        assert_eq!(locate(u64::MAX), (SEGMENTS - 1, 49));
    }

    proptest! {
        #[test]
        fn the_middle_is_within_two_percent(exponent in 3f64..13.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1e13 fits")]
            let value = 10f64.powf(exponent) as u64;
            let (segment, bucket) = locate(value);
            let middle = LAYOUT[segment].middle_ns(bucket);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let error = (middle.abs_diff(value)) as f64 / value as f64;
            prop_assert!(error <= 0.0126, "{value} ns taken for {middle} ns: {error}");
        }
    }
}
