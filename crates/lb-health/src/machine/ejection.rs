//! Passive ejection: a backend that fails so many requests in a row is kept out for a while and comes back by itself.
//!
//! Probes shorten that while only where they saw the same outage: bad ones first, then good ones. A health endpoint that was
//! good all along says nothing of what the requests met.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::config::PassiveConfig;
use crate::machine::later;

/// Whether a backend is kept out for what its requests met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ejection {
    config: PassiveConfig,
    until: Option<Instant>,
    /// It would be out, but could not be spared.
    failing: bool,
    /// Good probes in a row since the last bad one, where there was one.
    good_since_bad: Option<u32>,
}

impl Ejection {
    pub(crate) fn new(config: PassiveConfig) -> Self {
        Self { config, until: None, failing: false, good_since_bad: None }
    }

    /// When it comes back, while it is out.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it has failed as often as ejects, and stays only for want of another.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing
    }

    /// The `streak`th request in a row has failed. `spare` says that another backend can take what this one would get: without
    /// one it stays, and is known to be failing. It is out for `most` at most.
    pub(crate) fn failed(&mut self, streak: u64, spare: bool, most: Duration, now: Instant) {
        if self.until.is_none() && self.config.ejects_at(streak) {
            self.until = spare.then(|| later(now, self.config.ejection_time.min(most)));
            self.failing = !spare;
        }
    }

    /// A request was served while it was out or failing. `deserted` says that it gets requests though it is out, for want of
    /// any other: then this one tells that it works again.
    pub(crate) fn succeeded(&mut self, deserted: bool) {
        self.failing = false;
        if deserted {
            self.until = None;
        }
    }

    /// A probe has ended. After a bad one, `rise` good ones in a row end the ejection: what it was for is over.
    pub(crate) fn probed(&mut self, good: bool, rise: NonZeroU32) {
        self.good_since_bad = match (good, self.good_since_bad) {
            (false, _) => Some(0),
            (true, Some(count)) if count + 1 < rise.get() => Some(count + 1),
            (true, Some(_)) => {
                self.lift();
                None
            }
            (true, None) => None,
        };
    }

    /// Ends it before its time.
    pub(crate) fn lift(&mut self) {
        self.until = None;
        self.failing = false;
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.until = self.until.filter(|until| *until > now);
    }

    /// Goes on where another left off, but not for longer than it would itself.
    pub(crate) fn resume(&mut self, until: Option<Instant>, now: Instant) {
        self.until = until.map(|until| until.min(later(now, self.config.ejection_time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Duration = Duration::from_secs(30);

    #[test]
    fn the_fifth_failure_in_a_row_ejects_and_time_alone_brings_back() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        for streak in 1..=4 {
            ejection.failed(streak, true, Duration::MAX, now);
            assert_eq!(ejection.until(), None);
        }
        ejection.failed(5, true, Duration::MAX, now);
        assert_eq!(ejection.until(), Some(now + OUT));
        ejection.tick(now + OUT - Duration::from_millis(1));
        assert_eq!(ejection.until(), Some(now + OUT));
        ejection.tick(now + OUT);
        assert_eq!(ejection.until(), None);
    }

    #[test]
    fn it_is_out_for_no_longer_than_it_may_be() {
        let now = Instant::now();
        for (most, out) in [(Duration::from_secs(2), Duration::from_secs(2)), (2 * OUT, OUT)] {
            let mut ejection = Ejection::new(PassiveConfig::default());
            ejection.failed(5, true, most, now);
            assert_eq!(ejection.until(), Some(now + out));
        }
    }

    #[test]
    fn probes_that_saw_the_outage_end_it_and_others_do_not() {
        let now = Instant::now();
        let rise = NonZeroU32::new(2).unwrap();
        for (probes, is_out) in
            [("++++", true), ("-+", true), ("-++", false), ("--+-+", true), ("-+-++", false), ("", true)]
        {
            let mut ejection = Ejection::new(PassiveConfig::default());
            ejection.failed(5, true, Duration::MAX, now);
            probes.chars().for_each(|probe| ejection.probed(probe == '+', rise));
            assert_eq!(ejection.until().is_some(), is_out, "probes {probes}");
        }
    }

    #[test]
    fn an_outage_that_the_probes_saw_first_ends_with_them_too() {
        let rise = NonZeroU32::new(2).unwrap();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.probed(false, rise);
        ejection.failed(5, true, Duration::MAX, Instant::now());
        ejection.probed(true, rise);
        ejection.probed(true, rise);
        assert_eq!(ejection.until(), None);
    }

    #[test]
    fn failures_while_it_is_out_do_not_prolong_it() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.failed(5, true, Duration::MAX, now);
        ejection.failed(10, true, Duration::MAX, now + Duration::from_secs(20));
        assert_eq!(ejection.until(), Some(now + OUT));
    }

    #[test]
    fn one_that_cannot_be_spared_stays_and_is_asked_about_at_each_multiple() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.failed(5, false, Duration::MAX, now);
        ejection.failed(6, true, Duration::MAX, now);
        assert_eq!((ejection.until(), ejection.is_failing()), (None, true));
        ejection.failed(10, true, Duration::MAX, now);
        assert_eq!((ejection.until(), ejection.is_failing()), (Some(now + OUT), false));
    }

    #[test]
    fn a_request_that_is_served_ends_it_only_where_it_was_asked_for_want_of_another() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.failed(5, true, Duration::MAX, now);
        ejection.succeeded(false);
        assert_eq!(ejection.until(), Some(now + OUT));
        ejection.succeeded(true);
        assert_eq!(ejection.until(), None);
        ejection.failed(5, false, Duration::MAX, now);
        ejection.succeeded(false);
        assert!(!ejection.is_failing());
    }
}
