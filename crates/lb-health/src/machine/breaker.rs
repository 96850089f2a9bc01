//! A circuit breaker for one backend (M. Nygard, Release It!, 2007): closed until so many failures in a row, then open for a
//! while, then half-open for exactly so many trial calls. All trials good: closed. One bad: open again.

use std::time::Instant;

use crate::config::BreakerConfig;
use crate::machine::later;

/// The state of a backend's circuit breaker; a backend without one is always closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// Requests pass.
    #[default]
    Closed,
    /// A few trial calls pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

/// Whether a request may go to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Pass,
    /// It may, and what becomes of it decides; to be told with this number.
    Trial(Epoch),
    Refused,
}

/// Numbers the half-open phases, so that a trial of an earlier one decides nothing.
pub(crate) type Epoch = u64;

/// How a trial call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TrialEnd {
    Good,
    Bad(Instant),
    /// It says nothing of the backend, for one because the client left: another may be made instead.
    Void,
}

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    phase: Phase,
    epoch: Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// Trials admitted and not void, and how many of them were good.
    HalfOpen {
        admitted: u32,
        good: u32,
    },
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Self { config, phase: Phase::Closed, epoch: 0 }
    }

    pub(crate) fn circuit(&self) -> Circuit {
        match self.phase {
            Phase::Closed => Circuit::Closed,
            Phase::Open { .. } => Circuit::Open,
            Phase::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// When it turns half-open, while it is open.
    pub(crate) fn open_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open { until } => Some(until),
            Phase::Closed | Phase::HalfOpen { .. } => None,
        }
    }

    /// The `streak`th request in a row has failed. Only what was admitted while it was closed may be told here: late ends of
    /// such requests change nothing any more.
    pub(crate) fn failed(&mut self, streak: u64, now: Instant) {
        if self.phase == Phase::Closed && self.config.opens_at(streak) {
            self.open(now);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.open_until().is_some_and(|until| until <= now) {
            self.epoch += 1;
            self.phase = Phase::HalfOpen { admitted: 0, good: 0 };
        }
    }

    /// Decides about a request that is on its way to the backend.
    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        self.tick(now);
        match &mut self.phase {
            Phase::Closed => Admission::Pass,
            Phase::HalfOpen { admitted, .. } if *admitted < self.config.half_open_max_calls.get() => {
                *admitted += 1;
                Admission::Trial(self.epoch)
            }
            Phase::Open { .. } | Phase::HalfOpen { .. } => Admission::Refused,
        }
    }

    /// A trial call has ended.
    pub(crate) fn finish(&mut self, epoch: Epoch, end: TrialEnd) {
        let Phase::HalfOpen { admitted, good } = &mut self.phase else { return };
        if epoch != self.epoch {
            return;
        }
        match end {
            TrialEnd::Good => *good += 1,
            TrialEnd::Void => *admitted = admitted.saturating_sub(1),
            TrialEnd::Bad(now) => return self.open(now),
        }
        if *good >= self.config.half_open_max_calls.get() {
            self.phase = Phase::Closed;
        }
    }

    /// Goes on where another left off, but not open for longer than it would be itself. Trials that are out decide nothing
    /// here, so half-open begins afresh.
    pub(crate) fn resume(&mut self, circuit: Circuit, open_until: Option<Instant>, now: Instant) {
        match circuit {
            Circuit::Closed => self.phase = Phase::Closed,
            Circuit::Open | Circuit::HalfOpen => {
                let latest = later(now, self.config.recovery_timeout);
                self.phase = Phase::Open { until: open_until.unwrap_or(now).min(latest) };
                self.tick(now);
            }
        }
    }

    fn open(&mut self, now: Instant) {
        self.phase = Phase::Open { until: later(now, self.config.recovery_timeout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const RECOVERY: Duration = Duration::from_secs(60);

    fn half_open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(BreakerConfig::default());
        breaker.failed(5, now - RECOVERY);
        assert_eq!(breaker.circuit(), Circuit::Open);
        breaker.tick(now);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker
    }

    fn trial(breaker: &mut Breaker, now: Instant) -> Epoch {
        match breaker.admit(now) {
            Admission::Trial(epoch) => epoch,
            other => panic!("no trial but {other:?}"),
        }
    }

    #[test]
    fn it_opens_at_the_fifth_failure_in_a_row_and_nothing_passes_until_the_time_is_up() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerConfig::default());
        breaker.failed(4, now);
        assert_eq!(breaker.admit(now), Admission::Pass);
        breaker.failed(5, now);
        assert_eq!(breaker.admit(now), Admission::Refused);
        assert_eq!(breaker.admit(now + RECOVERY - Duration::from_nanos(1)), Admission::Refused);
        assert!(matches!(breaker.admit(now + RECOVERY), Admission::Trial(_)));
    }

    #[test]
    fn exactly_three_trials_are_admitted_and_three_good_ones_close_it() {
        let now = Instant::now();
        let mut breaker = half_open(now);
        let trials: Vec<Epoch> = (0..3).map(|_| trial(&mut breaker, now)).collect();
        for epoch in trials {
            assert_eq!((breaker.admit(now), breaker.circuit()), (Admission::Refused, Circuit::HalfOpen));
            breaker.finish(epoch, TrialEnd::Good);
        }
        assert_eq!((breaker.admit(now), breaker.circuit()), (Admission::Pass, Circuit::Closed));
    }

    #[test]
    fn one_bad_trial_opens_it_for_the_whole_time_again() {
        let now = Instant::now();
        let mut breaker = half_open(now);
        let (first, second) = (trial(&mut breaker, now), trial(&mut breaker, now));
        breaker.finish(first, TrialEnd::Good);
        breaker.finish(second, TrialEnd::Bad(now));
        assert_eq!(breaker.open_until(), Some(now + RECOVERY));
    }

    #[test]
    fn a_trial_that_says_nothing_is_made_again() {
        let now = Instant::now();
        let mut breaker = half_open(now);
        for _ in 0..10 {
            let epoch = trial(&mut breaker, now);
            breaker.finish(epoch, TrialEnd::Void);
        }
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        trial(&mut breaker, now);
    }

    #[test]
    fn a_trial_of_an_earlier_half_open_phase_decides_nothing() {
        let now = Instant::now();
        let mut breaker = half_open(now);
        let (old, bad) = (trial(&mut breaker, now), trial(&mut breaker, now));
        breaker.finish(bad, TrialEnd::Bad(now));
        breaker.tick(now + RECOVERY);
        let before = breaker.clone();
        for end in [TrialEnd::Good, TrialEnd::Bad(now), TrialEnd::Void] {
            breaker.finish(old, end);
        }
        assert_eq!(breaker, before);
    }

    /// What may happen to a breaker.
    #[derive(Debug, Clone)]
    enum Step {
        Fail(u64),
        Admit,
        /// One of the trials that are out, by place, ends so.
        Finish(usize, TrialEnd),
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let end = prop_oneof![4 => Just(TrialEnd::Good), 1 => Just(TrialEnd::Bad(Instant::now())), 1 => Just(TrialEnd::Void)];
        let step = prop_oneof![
            (1_u64..8).prop_map(Step::Fail),
            Just(Step::Admit),
            (any::<usize>(), end).prop_map(|(place, end)| Step::Finish(place, end)),
            (0_u64..90).prop_map(Step::Wait),
        ];
        proptest::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn a_half_open_phase_never_has_more_trials_than_allowed_and_closes_by_good_ones_alone(
            steps in steps(), max_calls in 1_u32..5,
        ) {
            let config = BreakerConfig { half_open_max_calls: max_calls.try_into().unwrap(), ..Default::default() };
            let mut now = Instant::now();
            let mut breaker = Breaker::new(config);
            let mut out: Vec<Epoch> = Vec::new();
            // Of the present half-open phase.
            let (mut phase, mut admitted, mut good) = (0, 0, 0);
            for step in steps {
                let before = breaker.circuit();
                match step {
                    Step::Fail(streak) => {
                        breaker.failed(streak, now);
                        prop_assert_eq!(breaker.circuit() != before, before == Circuit::Closed && streak >= 5);
                    }
                    Step::Wait(seconds) => {
                        now += Duration::from_secs(seconds);
                        breaker.tick(now);
                        prop_assert!(breaker.open_until().is_none_or(|until| until > now));
                        if breaker.circuit() != before {
                            prop_assert_eq!((before, breaker.circuit()), (Circuit::Open, Circuit::HalfOpen));
                            (phase, admitted, good) = (phase + 1, 0, 0);
                        }
                    }
                    Step::Admit => match breaker.admit(now) {
                        Admission::Pass => prop_assert_eq!(before, Circuit::Closed),
                        Admission::Refused => prop_assert_ne!(before, Circuit::Closed),
                        Admission::Trial(epoch) => {
                            prop_assert_eq!(epoch, phase);
                            admitted += 1;
                            prop_assert!(admitted <= max_calls);
                            out.push(epoch);
                        }
                    },
                    Step::Finish(place, end) if !out.is_empty() => {
                        let epoch = out.swap_remove(place % out.len());
                        let counts = epoch == phase && before == Circuit::HalfOpen;
                        let end = match end {
                            TrialEnd::Bad(_) => TrialEnd::Bad(now),
                            other => other,
                        };
                        breaker.finish(epoch, end);
                        if counts {
                            match end {
                                TrialEnd::Good => good += 1,
                                TrialEnd::Void => admitted -= 1,
                                TrialEnd::Bad(_) => prop_assert_eq!(breaker.circuit(), Circuit::Open),
                            }
                            prop_assert_eq!(breaker.circuit() == Circuit::Closed, good == max_calls);
                        } else {
                            prop_assert_eq!(breaker.circuit(), before);
                        }
                    }
                    Step::Finish(..) => {}
                }
            }
        }
    }
}
