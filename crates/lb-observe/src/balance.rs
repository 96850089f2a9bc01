//! How well a strategy spreads load: requests over weights.

/// How evenly an upstream's requests lie over its backends' weights.
///
/// Affinity strategies are uneven by purpose: the figures say what is, not what is wrong.
///
/// ```
/// let even = lb_observe::Balance::of([(300, 3.0), (200, 2.0), (100, 1.0)]).unwrap();
/// assert_eq!((even.spread, even.peak), (0.0, 1.0));
/// let one_sided = lb_observe::Balance::of([(100, 1.0), (0, 1.0)]).unwrap();
/// assert_eq!((one_sided.spread, one_sided.peak), (1.0, 2.0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Balance {
    /// The weighted coefficient of variation of requests over weight: 0 is exactly even, 1 means that the usual
    /// backend is as far from its share as the share is large.
    pub spread: f64,
    /// The load of the most loaded backend over its share: 1 is exactly even, 2 is twice its share.
    pub peak: f64,
}

impl Balance {
    /// From each backend's requests and weight; `None` before the first request. Backends of weight 0 take no
    /// part.
    pub fn of(backends: impl IntoIterator<Item = (u64, f64)>) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let loads: Vec<(f64, f64)> = backends
            .into_iter()
            .filter(|(_, weight)| *weight > 0.0)
            .map(|(requests, weight)| (requests as f64, weight))
            .collect();
        let requests: f64 = loads.iter().map(|(requests, _)| requests).sum();
        let weights: f64 = loads.iter().map(|(_, weight)| weight).sum();
        if requests == 0.0 {
            return None;
        }
        let shares =
            loads.iter().map(|(load, weight)| (load * weights / (weight * requests), weight / weights));
        let variance: f64 = shares.clone().map(|(share, weight)| weight * (share - 1.0).powi(2)).sum();
        Some(Self { spread: variance.sqrt(), peak: shares.map(|(share, _)| share).fold(0.0, f64::max) })
    }

    /// The spread turned round, for people: 1 is exactly even, towards 0 the more uneven it is.
    pub fn effectiveness(&self) -> f64 {
        1.0 / (1.0 + self.spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_before_the_first_request() {
        assert_eq!(Balance::of([]), None);
        assert_eq!(Balance::of([(0, 1.0), (0, 2.0)]), None);
    }

    #[test]
    fn a_drained_backend_takes_no_part() {
        assert_eq!(Balance::of([(500, 0.0), (10, 1.0), (10, 1.0)]), Balance::of([(10, 1.0), (10, 1.0)]));
    }

    #[test]
    fn more_uneven_is_less_effective() {
        let effectiveness = |a, b| Balance::of([(a, 1.0), (b, 1.0)]).unwrap().effectiveness();
        assert!((effectiveness(10, 10) - 1.0).abs() < 1e-9);
        assert!(effectiveness(10, 10) > effectiveness(12, 8));
        assert!(effectiveness(12, 8) > effectiveness(20, 0));
    }
}
