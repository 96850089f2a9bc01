//! What an exchange's decision record takes down. Without records each of these is one comparison.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use lb_core::Backend;
use lb_health::{Circuit, HealthState};
use lb_observe::Exchange;
use lb_observe::decision::{Fate, MAX_SEEN, Mirrored, Seen, Step, WhyNot};

use super::Ticket;
use crate::mirror::RequestCopy;
use crate::snapshot::{Target, Upstream};

impl Ticket {
    /// A split led to this part of it, in this way.
    pub(crate) fn was_split(&mut self, part: usize, how: &'static str) {
        self.part = Some(part);
        if let Some(trail) = &mut self.trail {
            trail.split = Some(how);
        }
    }

    /// The request's copy, which the record tells of.
    pub(super) fn mirrored(
        &mut self,
        upstream: &Arc<str>,
        copy: Result<Box<RequestCopy>, &'static str>,
    ) -> Option<Box<RequestCopy>> {
        let Some(trail) = &mut self.trail else { return copy.ok() };
        let (fate, copy) = match copy {
            Ok(mut copy) => (Fate::Copied(copy.tell()), Some(copy)),
            Err(why) => (Fate::None(why), None),
        };
        trail.mirrored = Some(Mirrored { upstream: Arc::clone(upstream), fate });
        copy
    }

    /// A backend of this upstream is chosen for the first time, or none can be.
    pub(crate) fn chooses(&mut self, place: usize, upstream: &Upstream, now: Instant) {
        let Some(trail) = &mut self.trail else { return };
        self.upstream = Some(place);
        let all = u32::try_from(upstream.targets.len()).unwrap_or(u32::MAX);
        trail.offered = Some((u32::try_from(upstream.balancer.eligible()).unwrap_or(all), all));
        let few = upstream.targets.len() <= MAX_SEEN;
        let group = few.then(|| best_group(&upstream.targets)).flatten();
        // Of many only those that stand first, which is no more than a sample.
        let targets = upstream.targets.iter().take(MAX_SEEN).enumerate();
        let targets = targets.map(|(place, target)| (place, seen(place, &target.backend, group, now)));
        // Who is out for a while is told from who is down, where nobody is waited for.
        trail.seen.extend(targets.map(|(place, seen)| match seen.why_not {
            Some(WhyNot::Unhealthy) => Seen { why_not: Some(why_out(upstream, place)), ..seen },
            _ => seen,
        }));
    }

    /// The present attempt sends on this connection.
    pub(crate) fn sends(&mut self, is_reused: bool) {
        if let Some(step) = self.trail.as_mut().and_then(|trail| trail.current()) {
            step.reused = is_reused;
        }
    }

    /// What failed is not tried elsewhere.
    pub(crate) fn given_up(&mut self, why: &'static str) {
        if let Some(trail) = &mut self.trail {
            trail.given_up = Some(why);
        }
    }

    /// An attempt has begun at the backend of this place.
    pub(super) fn step(
        &mut self,
        place: usize,
        reason: Option<&'static str>,
        now: Duration,
        beside: bool,
        waited: bool,
    ) {
        let active = self.backend_active;
        if let Some(trail) = &mut self.trail {
            let step = Step { backend: place, reason, began: now, active, waited, ..Step::default() };
            trail.begin_step(step, beside);
        }
    }

    /// The present attempt was sent then, and its answer's head has come.
    pub(super) fn step_answered(&mut self, status: StatusCode, sent_at: Instant, now: Instant) {
        let started = self.started;
        if let Some(step) = self.trail.as_mut().and_then(|trail| trail.current()) {
            step.status = Some(status);
            step.sent = Some(sent_at.saturating_duration_since(started));
            step.head = Some(now.saturating_duration_since(started));
        }
    }

    /// The present attempt's answer is given up.
    pub(super) fn step_discarded(&mut self) {
        if let Some(step) = self.trail.as_mut().and_then(|trail| trail.current()) {
            step.discarded = true;
        }
    }

    /// Hands the record over.
    pub(super) fn keep_trail(&self, exchange: &Exchange<'_>, mut trail: Box<lb_observe::Trail>) {
        let worker = &self.client.worker;
        if let Some(log) = worker.decisions() {
            let upstream = self.upstream.and_then(|place| self.snapshot.upstreams.get(place));
            let named = upstream.map(|upstream| (&*upstream.name, upstream.strategy));
            let targets = upstream.map_or(&[][..], |upstream| &upstream.targets);
            log.keep(exchange, &mut trail, named, |place| {
                targets.get(place).map_or("", |target| &target.url)
            });
        }
        worker.spare_trail(trail);
    }
}

/// The priority that requests go to.
fn best_group(targets: &[Target]) -> Option<u8> {
    let eligible = targets.iter().map(|target| &*target.backend).filter(|backend| backend.is_eligible());
    eligible.map(Backend::priority).min()
}

/// Why a backend that does not work gets nothing.
fn why_out(upstream: &Upstream, place: usize) -> WhyNot {
    match upstream.monitor.try_standing(place) {
        Some((_, Circuit::Open)) => WhyNot::CircuitOpen,
        Some((HealthState::Ejected, _)) => WhyNot::Ejected,
        _ => WhyNot::Unhealthy,
    }
}

fn seen(place: usize, backend: &Backend, group: Option<u8>, now: Instant) -> Seen {
    let (active, weight) = (backend.active(), backend.weight());
    let is_full = || backend.max_connections().is_some_and(|most| active >= most.get());
    let why_not = match () {
        () if backend.is_draining() => Some(WhyNot::Draining),
        () if weight.is_zero() => Some(WhyNot::Weightless),
        () if !backend.is_healthy() => Some(WhyNot::Unhealthy),
        () if group.is_some_and(|group| backend.priority() > group) => Some(WhyNot::Backup),
        () if is_full() => Some(WhyNot::Full),
        () => None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "a record shows a few digits")]
    let weight = weight.get() as f32;
    Seen { backend: place, why_not, weight, active, latency: backend.latency(now) }
}
