//! One backend's machines together: what its probes, its requests and the time say of it. Pure; the monitor holds the lock.

use std::time::{Duration, Instant};

use crate::config::HealthConfig;
use crate::event::FailureKind;
use crate::machine::breaker::{Admission, Breaker, Circuit, Epoch, TrialEnd};
use crate::machine::ejection::Ejection;
use crate::machine::thresholds::Thresholds;

/// The machines a backend is configured with, and why it stands as it does.
#[derive(Debug, Clone)]
pub(crate) struct Vitals {
    probe: Option<Thresholds>,
    ejection: Option<Ejection>,
    breaker: Option<Breaker>,
    /// Failures in a row to go on counting from, once it is no longer held.
    streak: u64,
    error: Option<String>,
    since: Instant,
    /// Since when it is known, until it has served a request or a probe.
    new_since: Option<Instant>,
    last_probe: Option<Instant>,
}

/// A newcomer that refuses connections is out for no longer than it has been known, and for this long at least.
const SOON: Duration = Duration::from_secs(1);

/// How a backend stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Its probes do not fail.
    pub(crate) probes_good: bool,
    /// It is kept out for what its requests met.
    pub(crate) ejected: bool,
    /// It would be, but could not be spared.
    pub(crate) failing: bool,
    pub(crate) circuit: Circuit,
}

/// What survives a reload or a restart.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) probe: ProbeMemory,
    pub(crate) ejected_until: Option<Instant>,
    pub(crate) circuit: Circuit,
    pub(crate) open_until: Option<Instant>,
    pub(crate) streak: u64,
    pub(crate) error: Option<String>,
    pub(crate) since: Instant,
    pub(crate) new_since: Option<Instant>,
    pub(crate) last_probe: Option<Instant>,
}

/// What is known from earlier probes.
#[derive(Debug, Clone)]
pub(crate) enum ProbeMemory {
    /// Nothing, or nothing bad.
    None,
    /// Everything: the process is the same.
    Whole(Thresholds),
    /// Unhealthy before a restart.
    Unhealthy,
}

impl Standing {
    pub(crate) fn is_healthy(self) -> bool {
        self.probes_good && !self.ejected
    }

    /// Whether it should be offered requests. While half-open it is, though most are turned away: were it taken out with its
    /// last trial, the first requests after it has closed would find it missing still.
    pub(crate) fn in_rotation(self) -> bool {
        self.is_healthy() && self.is_conducting()
    }

    /// Whether others can be spared for it.
    pub(crate) fn is_dependable(self) -> bool {
        self.is_healthy() && !self.failing && self.circuit == Circuit::Closed
    }

    /// Whether its circuit lets anything pass.
    pub(crate) fn is_conducting(self) -> bool {
        self.circuit != Circuit::Open
    }

    /// Whether it is out for what its requests met and for nothing else.
    pub(crate) fn is_merely_ejected(self) -> bool {
        self.ejected && self.probes_good && self.is_conducting()
    }

    /// Whether its requests need the lock.
    pub(crate) fn is_held(self) -> bool {
        self.ejected || self.failing || self.circuit != Circuit::Closed
    }
}

impl Vitals {
    pub(crate) fn new(config: &HealthConfig, now: Instant) -> Self {
        let thresholds = config
            .probe
            .as_ref()
            .map(|probe| Thresholds::new(probe.healthy_threshold, probe.unhealthy_threshold));
        Self {
            probe: thresholds,
            ejection: config.passive.clone().map(Ejection::new),
            breaker: config.breaker.clone().map(Breaker::new),
            streak: 0,
            error: None,
            since: now,
            new_since: Some(now),
            last_probe: None,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        Standing {
            probes_good: self.probe.as_ref().is_none_or(Thresholds::is_healthy),
            ejected: self.ejected_until().is_some(),
            failing: self.ejection.as_ref().is_some_and(Ejection::is_failing),
            circuit: self.breaker.as_ref().map_or(Circuit::Closed, Breaker::circuit),
        }
    }

    pub(crate) fn ejected_until(&self) -> Option<Instant> {
        self.ejection.as_ref().and_then(Ejection::until)
    }

    pub(crate) fn open_until(&self) -> Option<Instant> {
        self.breaker.as_ref().and_then(Breaker::open_until)
    }

    /// Why it is not as it should be.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Since when it is healthy or not, and its circuit as it is.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Whether failures are to be kept away from clients even where nobody else is left.
    pub(crate) fn has_breaker(&self) -> bool {
        self.breaker.is_some()
    }

    pub(crate) fn last_probe(&self) -> Option<Instant> {
        self.last_probe
    }

    /// Failures in a row to go on counting from.
    pub(crate) fn streak(&self) -> u64 {
        self.streak
    }

    /// Whether it is not known to have served anything.
    pub(crate) fn is_new(&self) -> bool {
        self.new_since.is_some()
    }

    /// It has served.
    pub(crate) fn proven(&mut self) {
        self.new_since = None;
    }

    /// The `streak`th request in a row has failed; `spare` says that another backend is in rotation.
    pub(crate) fn failed(&mut self, streak: u64, kind: FailureKind, spare: bool, now: Instant) {
        let before = self.standing();
        // Who writes a breaker wants failures kept away even from the last backend.
        let spare = spare || self.breaker.is_some();
        if let Some(breaker) = &mut self.breaker {
            breaker.failed(streak, now);
        }
        let is_cut_off = self.standing().circuit != Circuit::Closed;
        match &mut self.ejection {
            // The same failures count once: an open circuit has its own time and its own way back.
            Some(ejection) if is_cut_off => ejection.lift(),
            Some(ejection) => {
                // A newcomer may not listen yet: it is tried again soon, and later each time.
                let new_since = self.new_since.filter(|_| kind == FailureKind::Connect);
                let most = new_since.map(|since| now.saturating_duration_since(since).max(SOON));
                ejection.failed(streak, spare, most.unwrap_or(Duration::MAX), now);
            }
            None => {}
        }
        if self.standing() != before {
            self.streak = streak;
            self.error = Some(format!("{streak} requests in a row failed, the last by {kind}"));
        }
        self.note(before, now);
    }

    /// A request has failed while reports come here; its number in the row, where that may still change something.
    pub(crate) fn count_failure(&mut self) -> Option<u64> {
        self.standing().failing.then(|| {
            self.streak += 1;
            self.streak
        })
    }

    /// A request has been served while reports come here: one that was admitted before the backend was taken out, or that it
    /// got all the same because every one is out (`deserted`).
    pub(crate) fn succeeded_held(&mut self, deserted: bool, now: Instant) {
        let before = self.standing();
        self.streak = 0;
        if let Some(ejection) = &mut self.ejection {
            ejection.succeeded(deserted && self.breaker.is_none());
        }
        self.note(before, now);
    }

    /// A probe has ended, for this reason where it was bad.
    pub(crate) fn probed(&mut self, result: Result<(), String>, now: Instant) {
        let before = self.standing();
        self.last_probe = Some(now);
        let Some(thresholds) = &mut self.probe else { return };
        thresholds.observe(result.is_ok());
        if result.is_ok() {
            self.new_since = None;
        }
        if let Some(ejection) = &mut self.ejection {
            ejection.probed(result.is_ok(), thresholds.rise());
        }
        if let Err(error) = result
            && !thresholds.is_healthy()
        {
            self.error = Some(error);
        }
        self.note(before, now);
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        let before = self.standing();
        if let Some(ejection) = &mut self.ejection {
            ejection.tick(now);
        }
        if let Some(breaker) = &mut self.breaker {
            breaker.tick(now);
        }
        self.note(before, now);
    }

    /// When time alone changes something next.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.ejected_until(), self.open_until()].into_iter().flatten().min()
    }

    /// Decides about a request on its way.
    pub(crate) fn admit(&mut self, now: Instant) -> Admission {
        let before = self.standing();
        let admission = self.breaker.as_mut().map_or(Admission::Pass, |breaker| breaker.admit(now));
        self.note(before, now);
        admission
    }

    /// A trial call has ended, by this failure where it was bad.
    pub(crate) fn finish(&mut self, epoch: Epoch, end: TrialEnd, failure: Option<FailureKind>, now: Instant) {
        let standing = self.standing();
        let Some(breaker) = &mut self.breaker else { return };
        let before = breaker.circuit();
        breaker.finish(epoch, end);
        match (before, breaker.circuit(), failure) {
            (Circuit::HalfOpen, Circuit::Open, Some(kind)) => {
                self.error = Some(format!("a trial call failed by {kind}"));
            }
            (Circuit::HalfOpen, Circuit::Closed, _) => self.streak = 0,
            _ => {}
        }
        self.note(standing, now);
    }

    pub(crate) fn memory(&self) -> Memory {
        Memory {
            probe: self.probe.clone().map_or(ProbeMemory::None, ProbeMemory::Whole),
            ejected_until: self.ejected_until(),
            circuit: self.standing().circuit,
            open_until: self.open_until(),
            streak: self.streak,
            error: self.error.clone(),
            since: self.since,
            new_since: self.new_since,
            last_probe: self.last_probe,
        }
    }

    /// Goes on where another left off, as far as it has the machines. What it has not is forgotten: a backend that is probed no
    /// longer could not recover from a probe's verdict.
    pub(crate) fn resume(&mut self, memory: Memory, now: Instant) {
        match (&mut self.probe, memory.probe) {
            (Some(thresholds), ProbeMemory::Whole(earlier)) => thresholds.resume(&earlier),
            (Some(thresholds), ProbeMemory::Unhealthy) => thresholds.presume_unhealthy(),
            (_, ProbeMemory::None) | (None, _) => {}
        }
        if let Some(ejection) = &mut self.ejection {
            ejection.resume(memory.ejected_until, now);
        }
        if let Some(breaker) = &mut self.breaker {
            breaker.resume(memory.circuit, memory.open_until, now);
        }
        self.streak = memory.streak;
        self.error = memory.error;
        self.since = memory.since;
        self.new_since = memory.new_since;
        self.last_probe = memory.last_probe;
        self.tick(now);
        self.forget_error();
    }

    fn note(&mut self, before: Standing, now: Instant) {
        let standing = self.standing();
        if standing.is_healthy() != before.is_healthy() || standing.circuit != before.circuit {
            self.since = now;
        }
        self.forget_error();
    }

    fn forget_error(&mut self) {
        let standing = self.standing();
        if standing.is_healthy() && standing.circuit == Circuit::Closed {
            self.error = None;
        }
    }
}
