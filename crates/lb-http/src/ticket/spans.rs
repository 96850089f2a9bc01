//! The attempts of an exchange as its trace and its decision record have them. Without either each of these is two comparisons.

use std::time::{Duration, Instant};

use http::StatusCode;
use lb_h1::Fields;

use super::Ticket;
use crate::snapshot::Target;

/// Why a second backend was asked beside the first.
const HEDGE: &str = "hedge";

impl Ticket {
    /// The attempt that has just begun gets a span, which the backend is told of. `reason` is why it is not the first, and
    /// whether it waited for a free place is taken down.
    pub(crate) fn begin_span(
        &mut self,
        headers: &mut Fields,
        target: &Target,
        reason: Option<&'static str>,
        waited: bool,
    ) {
        let now = self.age();
        if let Some(place) = self.position() {
            self.step(place, reason, now, false, waited);
        }
        if let Some(trace) = &mut self.trace {
            trace.begin_attempt(headers, &target.stats, reason, now, false);
        }
    }

    /// The same of an attempt that nobody can be told of.
    pub(crate) fn tried(&mut self, reason: Option<&'static str>, waited: bool) {
        let now = self.age();
        if let Some(place) = self.position() {
            self.step(place, reason, now, false, waited);
        }
    }

    /// A second backend is asked beside the first.
    pub(crate) fn begin_rival_span(
        &mut self,
        headers: &mut Fields,
        target: &Target,
        (place, active): (usize, u32),
    ) {
        let now = self.age();
        self.step(place, Some(HEDGE), now, true, false);
        if let Some(step) = self.trail.as_mut().and_then(|trail| trail.steps.last_mut()) {
            step.active = active;
        }
        if let Some(trace) = &mut self.trace {
            trace.begin_attempt(headers, &target.stats, Some(HEDGE), now, true);
        }
    }

    /// The second backend answered first: its attempt is the present one from here on.
    pub(crate) fn rival_won(&mut self) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.overtook(now);
        }
        if let Some(trail) = &mut self.trail {
            trail.overtook(now);
        }
    }

    /// The second backend is given up, where there is one: it failed, or the first was faster.
    pub(crate) fn rival_lost(&mut self, code: Option<&'static str>) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.beside_ended(code, now);
        }
        if let Some(trail) = &mut self.trail {
            trail.beside_ended(code, now);
        }
    }

    pub(super) fn span_answered(&mut self, status: StatusCode) {
        if let Some(trace) = &mut self.trace {
            trace.answered(status);
        }
    }

    pub(super) fn span_failed(&mut self, code: &'static str) {
        if let Some(trace) = &mut self.trace {
            trace.failed(code);
        }
        if let Some(trail) = &mut self.trail {
            trail.failed(code);
        }
    }

    pub(super) fn span_ended(&mut self) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.ended(now);
        }
        if let Some(trail) = &mut self.trail {
            trail.ended(now);
        }
    }

    /// How long the exchange has lasted, where that is of use to its trace or record.
    fn age(&self) -> Duration {
        let is_asked = self.trail.is_some() || self.trace.as_ref().is_some_and(lb_observe::Trace::is_sampled);
        match (is_asked, self.completed) {
            (true, None) => Instant::now().saturating_duration_since(self.started),
            (true, Some(completed)) => completed.saturating_duration_since(self.started),
            (false, _) => Duration::ZERO,
        }
    }
}
