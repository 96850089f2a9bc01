//! Slow start: a backend that has just come back gets its share little by little, so that cold caches and just-in-time
//! compilers are not hit at once.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// A backend's way back to its whole weight.
///
/// The share grows evenly from a tenth to all of it, in tenths, so that the selection is rebuilt nine times and not at every
/// look.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_health::SlowStart;
/// let now = Instant::now();
/// let start = SlowStart::new(now, Duration::from_secs(30));
/// assert_eq!(start.share(now), 0.1);
/// assert_eq!(start.share(now + Duration::from_secs(15)), 0.5);
/// assert_eq!(start.share(now + Duration::from_secs(30)), 1.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowStart {
    since: Instant,
    step: Duration,
}

/// How many equal steps lead to the whole weight.
const STEPS: u32 = 10;

impl SlowStart {
    /// Begins at `since`, when the backend came back, and takes `duration`.
    pub fn new(since: Instant, duration: Duration) -> Self {
        Self { since, step: duration / STEPS }
    }

    /// The share of its weight that the backend has by now, above 0 and at most 1.
    pub fn share(&self, now: Instant) -> f64 {
        f64::from(self.steps(now)) / f64::from(STEPS)
    }

    /// When the share grows next; `None` once it is whole.
    pub fn next_step(&self, now: Instant) -> Option<Instant> {
        let steps = NonZeroU32::new(self.steps(now)).filter(|steps| steps.get() < STEPS)?;
        self.since.checked_add(self.step.checked_mul(steps.get() + 1)?)
    }

    /// From 1 to `STEPS`: the tenth that is reached, never none.
    fn steps(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.since).as_nanos();
        match passed.checked_div(self.step.as_nanos()) {
            Some(steps) => u32::try_from(steps).unwrap_or(STEPS).clamp(1, STEPS),
            None => STEPS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_whole_at_once_where_it_takes_no_time() {
        let now = Instant::now();
        let start = SlowStart::new(now, Duration::ZERO);
        assert_eq!((start.share(now), start.next_step(now)), (1.0, None));
    }

    proptest! {
        #[test]
        fn the_share_only_grows_and_changes_exactly_when_told(seconds in 1_u64..1000, looks in 1_u32..200) {
            let began = Instant::now();
            let start = SlowStart::new(began, Duration::from_secs(seconds));
            let mut now = began;
            let mut share = start.share(now);
            for _ in 0..looks {
                prop_assert!(share > 0.0 && share <= 1.0);
                let Some(next) = start.next_step(now) else { break };
                prop_assert!(next > now);
                prop_assert_eq!(start.share(next - Duration::from_nanos(1)), share);
                prop_assert!(start.share(next) > share);
                now = next;
                share = start.share(now);
            }
            prop_assert_eq!(start.share(began + Duration::from_secs(seconds)), 1.0);
        }
    }
}
