//! Weights to whole turns: exact where they are whole numbers or short decimals, else to the resolution of the longest period.

use crate::number::gcd;
use crate::weight::Weight;

/// The longest period: a share is off by less than 2⁻³² of the whole, and products of two points fit in 128 bits.
const LONGEST: f64 = 4_294_967_296.0;

/// How many turns each backend has in one period, at least one each, without a common divisor.
///
/// Whole weights and decimals of up to three places keep their ratio exactly while their sum is below 2³²; what is longer or
/// larger is rounded to a period of about 2³² turns.
pub(super) fn turns(weights: &[Weight]) -> Box<[u64]> {
    let Some(greatest) = weights.iter().max().map(|weight| weight.get()) else { return Box::default() };
    if weights.iter().all(|weight| weight.get() == greatest) {
        return weights.iter().map(|_| 1).collect();
    }
    let exact = [1.0, 10.0, 100.0, 1000.0].into_iter().find_map(|scale| whole(weights, scale));
    let turns = exact.unwrap_or_else(|| {
        // By the greatest first: the sum of huge weights would be infinite.
        let sum: f64 = weights.iter().map(|weight| weight.get() / greatest).sum();
        weights.iter().map(|weight| to_whole(weight.get() / greatest / sum * LONGEST).max(1)).collect()
    });
    let divisor = turns.iter().fold(0, |divisor, share| gcd(divisor, *share)).max(1);
    turns.iter().map(|share| share / divisor).collect()
}

/// The weights times `scale`, where all of that are whole numbers and the period is not too long.
fn whole(weights: &[Weight], scale: f64) -> Option<Vec<u64>> {
    let scaled: Vec<f64> = weights.iter().map(|weight| weight.get() * scale).collect();
    // Decimals are not exact in binary: 0.29 × 100 is 28.999999999999996.
    let whole = scaled.iter().all(|share| (share - share.round()).abs() <= share * 1e-12 && *share >= 0.5);
    (whole && scaled.iter().sum::<f64>() <= LONGEST).then(|| scaled.into_iter().map(to_whole).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "at most LONGEST, and not negative"
)]
fn to_whole(share: f64) -> u64 {
    share.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(weights: &[f64]) -> Vec<u64> {
        turns(&weights.iter().map(|w| Weight::try_from(*w).unwrap()).collect::<Vec<_>>()).into()
    }

    #[test]
    fn whole_weights_and_short_decimals_keep_their_ratio() {
        assert_eq!(of(&[3.0, 2.0, 1.0]), [3, 2, 1]);
        assert_eq!(of(&[1.0, 2.0, 1.0]), [1, 2, 1]);
        assert_eq!(of(&[50.0, 100.0]), [1, 2]);
        assert_eq!(of(&[0.29, 0.71]), [29, 71]);
        assert_eq!(of(&[1.5, 0.5]), [3, 1]);
        assert_eq!(of(&[0.001, 1.0]), [1, 1000]);
    }

    #[test]
    fn other_fractions_are_rounded_and_the_least_still_has_a_turn() {
        let thirds = of(&[1.0 / 3.0, 2.0 / 3.0]);
        assert!((thirds[1] as f64 / thirds[0] as f64 - 2.0).abs() < 1e-6, "{thirds:?}");
        assert!(of(&[1e300, 1e-300]).iter().all(|share| *share >= 1));
        assert!(of(&[1e308, 1e308, 5e307]).iter().all(|share| *share >= 1));
        assert_eq!(of(&[]), [0; 0]);
    }
}
