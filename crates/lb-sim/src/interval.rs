//! How sure a figure is: the confidence interval of a mean over independent runs (Student 1908).

/// A mean, and how far from it the true one may be, with 99 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Of all runs.
    pub mean: f64,
    /// On either side of the mean.
    pub half_width: f64,
}

/// Student's t for 99 % on both sides, by degrees of freedom from 1; beyond the table the last stands.
const STUDENT: [f64; 30] = [
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169, 3.106, 3.055, 3.012, 2.977, 2.947,
    2.921, 2.898, 2.878, 2.861, 2.845, 2.831, 2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
];

impl Interval {
    /// Of the results of independent runs. Fewer than two tell nothing of their spread: it is infinite.
    pub fn of(runs: &[f64]) -> Self {
        let count = runs.len() as f64;
        let mean = runs.iter().sum::<f64>() / count;
        let freedom = runs.len().saturating_sub(1);
        let student = freedom.checked_sub(1).and_then(|row| STUDENT.get(row.min(STUDENT.len() - 1)));
        let half_width = student.map_or(f64::INFINITY, |student| {
            let variance = runs.iter().map(|run| (run - mean).powi(2)).sum::<f64>() / freedom as f64;
            student * (variance / count).sqrt()
        });
        Self { mean, half_width }
    }

    /// Whether the interval holds this number.
    pub fn holds(&self, number: f64) -> bool {
        (number - self.mean).abs() <= self.half_width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_students() {
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0]);
        // Deviation 1.291 ÷ √4, times 5.841.
        assert!((interval.mean - 2.5).abs() < 1e-12 && (interval.half_width - 3.770).abs() < 1e-3);
        assert!(interval.holds(6.0) && !interval.holds(6.5));
        assert!(Interval::of(&[7.0]).half_width.is_infinite());
    }

    #[test]
    fn ninety_nine_intervals_of_a_hundred_hold_the_truth() {
        let mut rng = fastrand::Rng::with_seed(3);
        let held = (0..10_000)
            .filter(|_| Interval::of(&[0; 8].map(|_: u8| rng.f64() + rng.f64())).holds(1.0))
            .count();
        assert!((9_850..9_940).contains(&held), "{held}");
    }
}
