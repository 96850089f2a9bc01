//! Small exact arithmetic that several strategies share: mixing, scaling to a range, common divisors.

/// An odd constant near 2^64 ÷ φ: successive multiples of it fall as far apart as can be.
pub(crate) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit of `x` over the whole word (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
pub(crate) const fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Scales 64 well-mixed bits to `0..bound` with a multiplication (Lemire, 2019); 0 where `bound` is 0.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the product's upper half is below `bound`, which is a usize"
)]
pub(crate) const fn below(bits: u64, bound: usize) -> usize {
    ((bits as u128 * bound as u128) >> 64) as usize
}

/// `count` modulo `bound`; 0 where `bound` is 0.
#[expect(clippy::cast_possible_truncation, reason = "the remainder is below `bound`, which is a usize")]
pub(crate) const fn modulo(count: u64, bound: usize) -> usize {
    match count.checked_rem(bound as u64) {
        Some(rest) => rest as usize,
        None => 0,
    }
}

/// The lesser of two numbers in one instruction, unlike `f64::min`, which heeds NaN.
#[inline]
pub(crate) fn lesser(one: f64, other: f64) -> f64 {
    if other < one { other } else { one }
}

/// The greatest common divisor; `gcd(0, b)` is `b`.
pub(crate) const fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A step near `period` ÷ φ that has no divisor in common with it, so that its multiples visit every residue once and
/// consecutive ones lie far apart. At least 1.
pub(crate) fn spread_step(period: u64) -> u64 {
    let wanted = ((u128::from(period) * u128::from(GOLDEN)) >> 64) as u64;
    // A unit lies within a few dozen steps of any number below 2^64 (Jacobsthal's function is small).
    (wanted.max(1)..period.max(2)).find(|step| gcd(*step, period) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_below_nothing() {
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(modulo(7, 0), 0);
    }

    #[test]
    fn scaling_covers_the_range_and_stays_in_it() {
        assert_eq!(below(0, 10), 0);
        assert_eq!(below(u64::MAX, 10), 9);
    }

    #[test]
    fn the_step_visits_every_residue_once() {
        for period in 1..=500_u64 {
            let step = spread_step(period);
            let mut seen: Vec<u64> = (0..period).map(|turn| turn * step % period).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..period).collect::<Vec<_>>(), "period {period}, step {step}");
        }
    }
}
