//! How long something takes: a sum of a fixed part and parts left to chance.

use std::time::Duration;

use fastrand::Rng;

/// A time with a fixed part and parts that are drawn anew each time; those not named are nothing.
///
/// ```
/// use std::time::Duration;
/// use lb_sim::Time;
/// let slow = Time { exactly: Duration::from_millis(5), ..Time::exponential(Duration::from_micros(200)) };
/// assert_eq!(slow.mean(), Duration::from_micros(5_200));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Always this.
    pub exactly: Duration,
    /// From nothing up to this, each with the same chance.
    pub up_to: Duration,
    /// Exponential, with this mean.
    pub exponential: Duration,
    /// Normal with this mean and as great a deviation, negative ones drawn again: the work of a request in the Prequal paper.
    pub normal: Duration,
}

/// What drawing again makes of a normal variable whose mean is its deviation: 1 + φ(1) ÷ Φ(1).
const TRUNCATED: f64 = 1.287_599_970_939;

impl Time {
    /// Exponential with this mean.
    pub fn exponential(mean: Duration) -> Self {
        Self { exponential: mean, ..Self::default() }
    }

    /// From nothing up to `most`, each with the same chance.
    pub fn up_to(most: Duration) -> Self {
        Self { up_to: most, ..Self::default() }
    }

    /// Normal with this mean and deviation, negative ones drawn again.
    pub fn normal(mean: Duration) -> Self {
        Self { normal: mean, ..Self::default() }
    }

    /// What it is on average.
    pub fn mean(self) -> Duration {
        self.exactly + self.up_to / 2 + self.exponential + self.normal.mul_f64(TRUNCATED)
    }

    /// One draw, in nanoseconds.
    pub(crate) fn draw(self, rng: &mut Rng) -> u64 {
        let mut nanos = self.exactly.as_nanos() as f64;
        if !self.up_to.is_zero() {
            nanos += self.up_to.as_nanos() as f64 * rng.f64();
        }
        if !self.exponential.is_zero() {
            nanos += self.exponential.as_nanos() as f64 * exponential(rng);
        }
        if !self.normal.is_zero() {
            nanos += self.normal.as_nanos() as f64 * normal_from_zero(rng);
        }
        whole(nanos)
    }
}

/// Exponential with mean 1.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    // 1 - x is never 0.
    -(1.0 - rng.f64()).ln()
}

/// Mean and deviation 1, negative ones drawn again (Box and Muller 1958).
fn normal_from_zero(rng: &mut Rng) -> f64 {
    loop {
        let radius = (2.0 * exponential(rng)).sqrt();
        let number = 1.0 + radius * (std::f64::consts::TAU * rng.f64()).cos();
        if number >= 0.0 {
            return number;
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
pub(crate) fn whole(nanos: f64) -> u64 {
    nanos.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_mean_they_say() {
        let ms = Duration::from_millis(1);
        let mut rng = Rng::with_seed(1);
        for time in [
            Time { exactly: ms, ..Time::default() },
            Time::up_to(ms),
            Time::exponential(ms),
            Time::normal(ms),
            Time { exactly: ms, up_to: ms, exponential: ms, normal: ms },
        ] {
            let sum: u64 = (0..200_000).map(|_| time.draw(&mut rng)).sum();
            let (mean, expected) = (sum as f64 / 200_000.0, time.mean().as_nanos() as f64);
            assert!((mean / expected - 1.0).abs() < 0.01, "{time:?}: {mean} for {expected}");
        }
    }
}
