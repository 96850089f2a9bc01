//! Probe results, smoothed: a state flips after so many results in a row that speak against it, and not one sooner.

use std::num::NonZeroU32;

/// How a backend stands by its probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thresholds {
    rise: NonZeroU32,
    fall: NonZeroU32,
    healthy: bool,
    /// Results in a row that speak against `healthy`; always below the threshold that counts.
    against: u32,
}

impl Thresholds {
    /// Healthy until the probes say otherwise.
    pub(crate) fn new(rise: NonZeroU32, fall: NonZeroU32) -> Self {
        Self { rise, fall, healthy: true, against: 0 }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy
    }

    /// Good results in a row that make it healthy.
    pub(crate) fn rise(&self) -> NonZeroU32 {
        self.rise
    }

    /// Takes in one result.
    pub(crate) fn observe(&mut self, good: bool) {
        if good == self.healthy {
            self.against = 0;
            return;
        }
        self.against += 1;
        if self.against >= self.needed() {
            self.healthy = good;
            self.against = 0;
        }
    }

    /// Goes on where another left off, whose thresholds may have been others.
    pub(crate) fn resume(&mut self, earlier: &Self) {
        self.healthy = earlier.healthy;
        self.against = earlier.against.min(self.needed() - 1);
    }

    /// Starts from what was known before a restart: unhealthy, but the first good result is enough to change that.
    pub(crate) fn presume_unhealthy(&mut self) {
        self.healthy = false;
        self.against = self.needed() - 1;
    }

    fn needed(&self) -> u32 {
        if self.healthy { self.fall.get() } else { self.rise.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn thresholds(rise: u32, fall: u32) -> Thresholds {
        Thresholds::new(NonZeroU32::new(rise).unwrap(), NonZeroU32::new(fall).unwrap())
    }

    #[test]
    fn exactly_so_many_results_in_a_row_flip_the_state() {
        // Results, and the state after each: + is good or healthy.
        for (rise, fall, results, states) in [
            (2, 3, "---++", "++--+"),
            (2, 3, "--+--+---", "++++++++-"),
            (2, 3, "---+-+-++", "++------+"),
            (1, 1, "-+-+", "-+-+"),
            (1, 2, "--+--", "+-++-"),
        ] {
            let mut state = thresholds(rise, fall);
            let told: String = results
                .chars()
                .map(|result| {
                    state.observe(result == '+');
                    if state.is_healthy() { '+' } else { '-' }
                })
                .collect();
            assert_eq!(told, states, "rise {rise}, fall {fall}, results {results}");
        }
    }

    #[test]
    fn lower_thresholds_never_find_more_results_than_they_need() {
        let mut earlier = thresholds(2, 10);
        (0..9).for_each(|_| earlier.observe(false));
        let mut state = thresholds(2, 3);
        state.resume(&earlier);
        assert!(state.is_healthy());
        state.observe(false);
        assert!(!state.is_healthy());
    }

    #[test]
    fn what_was_down_before_a_restart_needs_one_good_probe() {
        let mut state = thresholds(5, 3);
        state.presume_unhealthy();
        assert!(!state.is_healthy());
        state.observe(true);
        assert!(state.is_healthy());
    }

    proptest! {
        #[test]
        fn the_state_is_what_the_last_long_enough_run_says(
            rise in 1_u32..5, fall in 1_u32..5, results in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let mut state = thresholds(rise, fall);
            let (mut healthy, mut run) = (true, 0);
            let mut previous = None;
            for good in results {
                run = if previous == Some(good) { run + 1 } else { 1 };
                previous = Some(good);
                if run >= if good { rise } else { fall } {
                    healthy = good;
                }
                state.observe(good);
                prop_assert_eq!(state.is_healthy(), healthy);
            }
        }
    }
}
