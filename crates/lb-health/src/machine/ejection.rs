//! Passive ejection: a backend that fails so many requests in a row is kept out for a while and comes back by itself.

use std::time::Instant;

use crate::config::PassiveConfig;
use crate::machine::later;

/// Whether a backend is kept out for what its requests met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ejection {
    config: PassiveConfig,
    until: Option<Instant>,
}

impl Ejection {
    pub(crate) fn new(config: PassiveConfig) -> Self {
        Self { config, until: None }
    }

    /// When it comes back, while it is out.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The `streak`th request in a row has failed. `spare` says that another backend can take what this one would get: without
    /// one it stays.
    pub(crate) fn failed(&mut self, streak: u64, spare: bool, now: Instant) {
        if self.until.is_none() && spare && self.config.ejects_at(streak) {
            self.until = Some(later(now, self.config.ejection_time));
        }
    }

    /// Ends it before its time.
    pub(crate) fn lift(&mut self) {
        self.until = None;
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
    use std::time::Duration;

    const OUT: Duration = Duration::from_secs(30);

    #[test]
    fn the_fifth_failure_in_a_row_ejects_and_time_alone_brings_back() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        for streak in 1..=4 {
            ejection.failed(streak, true, now);
            assert_eq!(ejection.until(), None);
        }
        ejection.failed(5, true, now);
        assert_eq!(ejection.until(), Some(now + OUT));
        ejection.tick(now + OUT - Duration::from_millis(1));
        assert_eq!(ejection.until(), Some(now + OUT));
        ejection.tick(now + OUT);
        assert_eq!(ejection.until(), None);
    }

    #[test]
    fn failures_while_it_is_out_do_not_prolong_it() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.failed(5, true, now);
        ejection.failed(10, true, now + Duration::from_secs(20));
        assert_eq!(ejection.until(), Some(now + OUT));
    }

    #[test]
    fn one_that_cannot_be_spared_stays_and_is_asked_about_at_each_multiple() {
        let now = Instant::now();
        let mut ejection = Ejection::new(PassiveConfig::default());
        ejection.failed(5, false, now);
        ejection.failed(6, true, now);
        assert_eq!(ejection.until(), None);
        ejection.failed(10, true, now);
        assert_eq!(ejection.until(), Some(now + OUT));
    }
}
