//! The spans of an exchange's attempts. Without tracing each of these is one comparison.

use std::time::{Duration, Instant};

use http::StatusCode;
use lb_h1::Fields;

use super::Ticket;
use crate::snapshot::Target;

/// Why a second backend was asked beside the first.
const HEDGE: &str = "hedge";

impl Ticket {
    /// The attempt that has just begun gets a span, which the backend is told of. `reason` is why it is not the first.
    pub(crate) fn begin_span(&mut self, headers: &mut Fields, target: &Target, reason: Option<&'static str>) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.begin_attempt(headers, &target.stats, reason, now, false);
        }
    }

    /// A second backend is asked beside the first.
    pub(crate) fn begin_rival_span(&mut self, headers: &mut Fields, target: &Target) {
        let now = self.age();
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
    }

    /// The second backend is given up, where there is one: it failed, or the first was faster.
    pub(crate) fn rival_lost(&mut self, code: Option<&'static str>) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.beside_ended(code, now);
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
    }

    pub(super) fn span_ended(&mut self) {
        let now = self.age();
        if let Some(trace) = &mut self.trace {
            trace.ended(now);
        }
    }

    /// How long the exchange has lasted, where that is of use to its trace.
    fn age(&self) -> Duration {
        match self.trace.as_ref().is_some_and(lb_observe::Trace::is_sampled) {
            true => Instant::now().saturating_duration_since(self.started),
            false => Duration::ZERO,
        }
    }
}
