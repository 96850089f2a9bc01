//! Decisions in words, at debug: which rule takes a request and why, which backend of which it goes to, what is tried
//! again, what is refused. One line a decision, each with the request's id.
//!
//! Cost while they are not told: one relaxed load and a comparison each. Lists are cut, so that a line stays one that can
//! be read.

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use lb_router::{Explanation, Outcome, RequestView};
use tracing::Level;

use crate::attempt::Cause;
use crate::reject::Reject;
use crate::snapshot::{Snapshot, Target, Upstream};
use crate::ticket::Ticket;

/// Backends, or rules, that a line names.
const MAX_NAMED: usize = 16;

/// Whether decisions are told. To be asked before one that takes some work to put in words.
pub(crate) fn are_told() -> bool {
    tracing::enabled!(Level::DEBUG)
}

/// What the rules make of a request.
#[cold]
pub(crate) fn routed(ticket: &Ticket, snapshot: &Snapshot, view: &RequestView<'_>) {
    let Explanation { rules, .. } = snapshot.router.explain(view);
    let taken = rules.iter().position(|outcome| *outcome == Outcome::Takes).unwrap_or(rules.len());
    let passed_over =
        rules.iter().zip(&snapshot.rules).take(taken).filter_map(|(outcome, rule)| match outcome {
            Outcome::Missed(miss) => Some(format!("{}: {}", rule.route.name, miss.describe(&rule.route))),
            Outcome::Takes | Outcome::ComesLater => None,
        });
    let (method, path, host) = (view.method, view.path, view.host);
    let (request_id, passed_over) = (text(ticket.request_id()), list(passed_over));
    match snapshot.rules.get(taken) {
        Some(rule) => tracing::debug!(
            request_id, %method, host, path, rule = rule.route.name, because = rule.route.describe(), passed_over,
            "rule matched"
        ),
        None => tracing::debug!(request_id, %method, host, path, passed_over, "no rule matched"),
    }
}

/// Which backend an attempt goes to, and of which.
#[cold]
pub(crate) fn chosen(
    ticket: &Ticket,
    upstream: &Upstream,
    position: usize,
    tried: &[usize],
    reason: Option<&'static str>,
) {
    let backend = upstream.targets.get(position).map(|target| &*target.url);
    let (candidates, left_out) = candidates(upstream, tried);
    tracing::debug!(
        request_id = text(ticket.request_id()),
        upstream = upstream.name,
        strategy = upstream.strategy,
        backend,
        attempt = ticket.attempts(),
        retry_reason = reason,
        candidates,
        left_out,
        "backend chosen"
    );
}

/// No backend can take the request.
pub(crate) fn nobody(ticket: &Ticket, upstream: &Upstream, rejected: &Reject) {
    if are_told() {
        let (candidates, left_out) = candidates(upstream, &[]);
        tracing::debug!(
            request_id = text(ticket.request_id()),
            upstream = upstream.name,
            code = rejected.code(),
            candidates,
            left_out,
            "no backend chosen"
        );
    }
}

/// A second backend is asked beside the first, which takes long.
pub(crate) fn hedged(ticket: &Ticket, target: &Target, patience: Duration) {
    tracing::debug!(
        request_id = text(ticket.request_id()), backend = %target.url, ?patience,
        "another backend asked beside the first"
    );
}

/// An attempt failed, and the request goes elsewhere.
pub(crate) fn failed(ticket: &Ticket, target: &Target, rejected: &Reject) {
    tracing::debug!(
        request_id = text(ticket.request_id()), backend = %target.url, code = rejected.code(),
        reason = rejected.reason(), "attempt failed, trying elsewhere"
    );
}

/// An answer is given up, and the request goes elsewhere.
pub(crate) fn discarded(ticket: &Ticket, target: &Target, status: StatusCode) {
    tracing::debug!(
        request_id = text(ticket.request_id()), backend = %target.url, status = status.as_u16(),
        "answer discarded, trying elsewhere"
    );
}

/// What could be tried elsewhere is not.
pub(crate) fn given_up(ticket: &Ticket, cause: Cause, why: &'static str) {
    tracing::debug!(
        request_id = text(ticket.request_id()),
        attempts = ticket.attempts(),
        cause = cause.name(),
        why,
        "not tried elsewhere"
    );
}

/// The gateway answers by itself, since something is wrong.
pub(crate) fn rejected(ticket: &Ticket, rejected: &Reject, status: StatusCode) {
    tracing::debug!(
        request_id = text(ticket.request_id()),
        code = rejected.code(),
        status = status.as_u16(),
        reason = rejected.reason(),
        "request refused"
    );
}

/// Who can be chosen, with the requests each has; and who cannot, with why.
fn candidates(upstream: &Upstream, tried: &[usize]) -> (String, String) {
    let (mut offered, mut left_out) = (Vec::new(), Vec::new());
    for (position, target) in upstream.targets.iter().enumerate() {
        let (url, backend) = (&target.url, &target.backend);
        let limit = backend.max_connections().map(std::num::NonZero::get);
        let why_not = match () {
            () if tried.contains(&position) => "tried",
            () if backend.is_draining() => "draining",
            () if !backend.is_healthy() => "unhealthy",
            () if backend.weight().is_zero() => "weight 0",
            () if limit.is_some_and(|limit| backend.active() >= limit) => "full",
            () => {
                offered.push(format!("{url} ({} active)", backend.active()));
                continue;
            }
        };
        left_out.push(format!("{url} ({why_not})"));
    }
    (list(offered.into_iter()), list(left_out.into_iter()))
}

/// The first of many, and how many more there are.
fn list(mut items: impl Iterator<Item = String>) -> String {
    let named: Vec<_> = items.by_ref().take(MAX_NAMED).collect();
    match items.count() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn text(id: &HeaderValue) -> &str {
    id.to_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let names = |count: usize| (0..count).map(|n| n.to_string());
        assert_eq!(list(names(0)), "");
        assert_eq!(list(names(2)), "0, 1");
        assert!(list(names(1000)).ends_with(", 15 and 984 more"));
    }
}
