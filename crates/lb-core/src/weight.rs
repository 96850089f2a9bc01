//! A backend's share of the traffic, as a type that cannot hold nonsense: NaN, infinities and negatives end here.

use std::cmp::Ordering;
use std::fmt;

/// A backend's share of the traffic beside its neighbours': finite and not negative. 0 means no new requests.
///
/// ```
/// use lb_core::Weight;
/// assert_eq!(Weight::try_from(2.5)?.get(), 2.5);
/// assert!(Weight::try_from(-1.0).is_err());
/// # Ok::<(), lb_core::WeightError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weight(f64);

/// A number that is no weight.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum WeightError {
    /// NaN or an infinity.
    #[error("weight must be a finite number, not {0}")]
    NotFinite(f64),
    /// Below zero.
    #[error("weight must not be negative, as {0} is; 0 means no new requests")]
    Negative(f64),
}

impl Weight {
    /// No new requests.
    pub const ZERO: Self = Self(0.0);
    /// The default.
    pub const ONE: Self = Self(1.0);

    /// The number itself.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Whether it means "no new requests".
    pub const fn is_zero(self) -> bool {
        self.0 == 0.0
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0.to_bits()
    }

    /// Only for bits that `to_bits` gave.
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}

impl TryFrom<f64> for Weight {
    type Error = WeightError;

    fn try_from(number: f64) -> Result<Self, WeightError> {
        if !number.is_finite() {
            Err(WeightError::NotFinite(number))
        } else if number < 0.0 {
            Err(WeightError::Negative(number))
        } else {
            // `abs` turns -0.0 into 0.0, so that equal weights have equal bits.
            Ok(Self(number.abs()))
        }
    }
}

impl From<u32> for Weight {
    fn from(number: u32) -> Self {
        Self(f64::from(number))
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

impl Eq for Weight {}

impl Ord for Weight {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Weight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_numbers_from_zero_up_are_weights() {
        for good in [0.0, -0.0, 1.0, 2.5, 1e300, f64::MIN_POSITIVE] {
            assert_eq!(Weight::try_from(good).unwrap().get(), good);
        }
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(Weight::try_from(bad), Err(WeightError::NotFinite(_))));
        }
        assert_eq!(Weight::try_from(-0.5), Err(WeightError::Negative(-0.5)));
    }

    #[test]
    fn a_negative_zero_is_zero() {
        assert_eq!(Weight::try_from(-0.0).unwrap().to_bits(), Weight::ZERO.to_bits());
    }
}
