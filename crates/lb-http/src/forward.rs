//! Getting a response head out of some backend: choose, attempt, and what to do when that fails.
//!
//! What may go to a second backend, and what not (RFC 9110 §9.2.2): a request of which provably nothing was sent
//! may, whatever its method; one that was sent may if its method is idempotent, its body can be sent anew and
//! nothing of an answer has been passed on. The first are free; the others are bounded in number (`attempts`), in
//! time (the request's own deadline) and over all requests (`budget`).
//!
//! Cost to a request that is answered at once: the choice and the attempt, and one comparison of its status where
//! statuses are retried.

use std::time::Instant;

use crate::attempt::{Answer, Cause, Failed, Outgoing, attempt};
use crate::choice::{Choice, Choices};
use crate::conversation::Conversation;
use crate::decisions;
use crate::hedge;
use crate::reject::Reject;
use crate::snapshot::{Rule, Upstream};
use crate::ticket::Ticket;
use crate::watch::later;

/// Failed connects and refused streams of one request that are made good elsewhere without counting as attempts.
pub(crate) const FREE_CONNECTS: u32 = 16;

/// Forwards a request to one backend after another until one has answered.
pub(crate) async fn forward(
    ticket: &mut Ticket,
    rule: &Rule,
    conversation: &mut Conversation,
    outgoing: &mut Outgoing<'_>,
) -> Result<Answer, Reject> {
    let snapshot = ticket.snapshot();
    let place = match &rule.split {
        None => rule.upstream,
        Some(split) => {
            let (part, place, how) = split.take(ticket, outgoing).ok_or(Reject::NoBackend)?;
            ticket.was_split(part, how);
            place
        }
    };
    let upstream = snapshot.upstreams.get(place).ok_or(Reject::NoBackend)?;
    // A backend that speaks HTTP/2 may refuse a request that it must not get twice.
    if rule.retries.attempts > 0 && (outgoing.asked.method.is_idempotent() || upstream.may_refuse) {
        outgoing.upload.keep(rule.retries.replay_body);
    }
    if let Some(mirror) = &rule.mirror
        && let Some(shadow) = snapshot.upstreams.get(mirror.upstream())
    {
        let copy = mirror.copy(ticket, outgoing, shadow);
        if copy.is_ok() {
            outgoing.upload.copy(mirror.max_body());
        }
        ticket.mirror(mirror.name(), copy);
    }
    let deadline = later(ticket.started(), rule.timeouts.response_head);
    let mut choices = Choices::new(upstream, ticket, outgoing);
    let mut retries = Retries::new(rule, upstream);
    // Without policies no time has passed that would matter to a choice.
    let now = if rule.policies.is_empty() { ticket.started() } else { Instant::now() };
    ticket.chooses(place, upstream, now);
    let mut choice = match choices.next_in_turn(conversation, deadline, now).await {
        Ok(choice) => choice,
        Err(rejected) => {
            decisions::nobody(ticket, upstream, &rejected);
            return Err(rejected);
        }
    };
    let mut reason = None;
    loop {
        let position = choice.lease.position();
        ticket.attempt(place, choice.lease, choice.permit);
        let target = upstream.targets.get(position).ok_or(Reject::NoBackend)?;
        if decisions::are_told() {
            decisions::chosen(ticket, upstream, position, choices.tried(), reason);
        }
        ticket.begin_span(&mut outgoing.headers, target, reason, choice.waited);
        let ended = match hedge::patience(rule, upstream, outgoing) {
            None => attempt(ticket, rule, target, conversation, outgoing).await,
            Some(patience) => {
                let race = hedge::race(
                    ticket,
                    rule,
                    (place, upstream, position),
                    conversation,
                    outgoing,
                    &mut choices,
                    patience,
                );
                // Boxed: requests that are not hedged need no room for it.
                Box::pin(race).await
            }
        };
        let position = ticket.position().unwrap_or(position);
        let Some(cause) = cause(&ended, rule, outgoing) else {
            outgoing.upload.settle();
            return ended.map_err(|failed| failed.rejected);
        };
        choices.exclude(position);
        // Another one may have to be waited for.
        if let Err(failed) = &ended {
            ticket.attempt_over(&failed.rejected);
        }
        match retries.next(cause, &mut choices, conversation, deadline).await {
            Ok(next) => choice = next,
            // The last word stands, if it is only a refusal.
            Err(why) => {
                decisions::given_up(ticket, cause, why);
                ticket.given_up(why);
                outgoing.upload.settle();
                return ended.map_err(|failed| failed.rejected);
            }
        }
        match ended {
            Ok(answer) => {
                ticket.attempt_discarded();
                answer.discard(ticket.client(), outgoing.upload);
            }
            Err(failed) => ticket.attempt_failed(&failed.rejected),
        }
        upstream.stats.retried(ticket.client().worker.index);
        reason = Some(cause.name());
    }
}

/// Why another backend should be asked, if it should and may.
fn cause(ended: &Result<Answer, Failed>, rule: &Rule, outgoing: &Outgoing<'_>) -> Option<Cause> {
    let on = &rule.retries.on;
    match ended {
        Ok(answer) => (on.status(answer.head.status) && outgoing.can_repeat()).then_some(Cause::Status),
        Err(failed) => failed.cause.filter(|cause| *cause != Cause::Reset || on.reset),
    }
}

/// How often one request may still go elsewhere.
struct Retries<'a> {
    rule: &'a Rule,
    upstream: &'a Upstream,
    attempts: u32,
    free: u32,
}

impl<'a> Retries<'a> {
    fn new(rule: &'a Rule, upstream: &'a Upstream) -> Self {
        let attempts = rule.retries.attempts;
        Self { rule, upstream, attempts, free: if attempts > 0 { FREE_CONNECTS } else { 0 } }
    }

    /// The next backend, where there is one and every bound allows it; or why not.
    async fn next(
        &mut self,
        cause: Cause,
        choices: &mut Choices<'_>,
        conversation: &mut Conversation,
        deadline: Instant,
    ) -> Result<Choice, &'static str> {
        let is_free = matches!(cause, Cause::Connect | Cause::Refused);
        let left = if is_free { &mut self.free } else { &mut self.attempts };
        *left = left.checked_sub(1).ok_or("no attempts are left (`retries.attempts`)")?;
        let (now, share) = (Instant::now(), self.rule.retries.budget);
        if now >= deadline {
            return Err("the request's time is up");
        }
        if !is_free && !self.upstream.may_retry(share, now) {
            return Err("the upstream's retries are used up (`retries.budget`)");
        }
        let next = match cause {
            // There is an answer in hand, which is better than waiting for a place.
            Cause::Status => choices.next(now).ok(),
            Cause::Connect | Cause::Refused | Cause::Reset | Cause::Timeout => {
                choices.next_in_turn(conversation, deadline, now).await.ok()
            }
        };
        if next.is_none() && !is_free {
            self.upstream.budget.give_back(share);
        }
        next.ok_or("no other backend can take it")
    }
}
