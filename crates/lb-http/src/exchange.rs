//! The life of a request, in one place: route, policies, pick, pool, forward, relay, record.
//!
//! One future a request, polled inside its connection's task. Dropping it (the client left) gives the lease
//! back, closes the upstream connection that was in use and records the exchange as broken off.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lb_policy::{ClientInfo, Verdict};
use lb_router::{RequestView, Routed};

use crate::body::{ClientBody, GatewayBody};
use crate::client::{Client, UploadState};
use crate::config::Timeouts;
use crate::fields::{self, REQUEST_ID, Seen};
use crate::forward::{self, Answer};
use crate::forwarded::{self, Hop};
use crate::reject::{self, Reject};
use crate::request;
use crate::snapshot::Rule;
use crate::ticket::Ticket;
use crate::upstream::SendError;
use crate::watch::Phase;
use http::request::Parts;

/// The client left, or nothing more can be said to it: its connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the client left before it was answered")]
pub(crate) struct Hangup;

/// Serves one request.
pub(crate) async fn serve(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<GatewayBody>, Hangup> {
    let (head, incoming) = request.into_parts();
    let seen = fields::scan(&head.headers);
    let body = ClientBody::new(incoming, &client);
    let mut ticket = Ticket::open(&client, &head, seen);
    match answer(&mut ticket, head, seen, body).await {
        Ok(Outcome::Relayed(answer)) => Ok(relay(ticket, answer)),
        Ok(Outcome::Own(rule, response)) => Ok(own(ticket, rule, response)),
        Err(Reject::ClientGone) => Err(Hangup),
        Err(rejected) => Ok(refuse(ticket, &rejected)),
    }
}

/// Who answers.
enum Outcome {
    /// A backend has.
    Relayed(Answer),
    /// The gateway does: a status page, or a policy of this rule.
    Own(Option<usize>, Response<Bytes>),
}

async fn answer(
    ticket: &mut Ticket,
    mut head: Parts,
    seen: Seen,
    body: ClientBody,
) -> Result<Outcome, Reject> {
    let snapshot = ticket.snapshot();
    let client = Rc::clone(ticket.client());

    // Refuse what could be read in two ways, and read the rest in one.
    request::admit(&mut head, seen, snapshot.underscores_in_headers)?;
    let uri = head.uri.clone();
    let host = head.headers.get(header::HOST).cloned();
    if uri.path() == "*" {
        return about_the_server(&head.method).map(|response| Outcome::Own(None, response));
    }
    let target = request::target(&uri, host.as_ref(), snapshot.merge_slashes)?;

    // Status endpoints, where the listener has them, stand ahead of every rule.
    if client.listener.config.status_endpoints
        && let Some(page) = client.worker.page(&head, &target)
    {
        return Ok(Outcome::Own(None, page));
    }

    // Route: the first rule that matches.
    let view = RequestView {
        method: &head.method,
        host: target.host,
        path: &target.path,
        query: target.query,
        headers: &head.headers,
    };
    let matched = match snapshot.router.route(&view) {
        Routed::Rule(matched) => matched,
        Routed::MethodNotAllowed { allow } => return Err(Reject::MethodNotAllowed(allow.clone())),
        Routed::None => return Err(Reject::NoRule),
    };
    let (index, path) = (matched.index, matched.rewrite(&target.path));
    let rule = snapshot.rules.get(index).ok_or(Reject::NoRule)?;
    ticket.ruled(index);
    client.begin_forwarding(ticket.started(), rule.timeouts, rule.timeouts.response_head);

    // Take off what ends at this hop, and tell the backend about the client.
    fields::remove_hop_by_hop(&mut head.headers, seen);
    head.headers.insert(REQUEST_ID, ticket.request_id().clone());
    let hop = Hop {
        peer: &client.peer_value,
        client: ticket.address(),
        trusted: ticket.trusted_peer(),
        scheme: "http",
        host: host.as_ref(),
        forwarded: seen.forwarded,
    };
    forwarded::apply(&mut head.headers, &hop);

    // Policies: each lets the request pass, answers it or refuses it.
    if let Some(response) = run_policies(ticket, rule, &mut head).await? {
        return Ok(Outcome::Own(Some(index), response));
    }

    // Pick, pool, forward: until the response head is here.
    forward::forward(ticket, rule, &uri, &path, head, body).await.map(Outcome::Relayed)
}

/// `OPTIONS *` asks about the gateway itself; no other method may have that target (RFC 9110 §9.3.7).
fn about_the_server(method: &Method) -> Result<Response<Bytes>, Reject> {
    if method != Method::OPTIONS {
        return Err(Reject::bad_request("the target * goes with OPTIONS alone"));
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// The rule's policies in their order; an answer ends the exchange.
async fn run_policies(
    ticket: &mut Ticket,
    rule: &Rule,
    head: &mut Parts,
) -> Result<Option<Response<Bytes>>, Reject> {
    let info = ClientInfo { address: ticket.address(), secure: false };
    for policy in &rule.policies {
        let mut verdict = policy.on_request(head, &info);
        loop {
            verdict = match verdict {
                Verdict::Continue => break,
                Verdict::Hold(permit) => {
                    ticket.hold(permit);
                    break;
                }
                Verdict::Refuse(refusal) => return Err(Reject::Refused(refusal)),
                Verdict::Answer(response) => return Ok(Some(*response)),
                Verdict::Wait(future) => {
                    let client = Rc::clone(ticket.client());
                    within_deadline(&client, future).await.map_err(|Expired| Reject::UpstreamTimeout)?
                }
            };
        }
    }
    Ok(None)
}

/// A backend's answer: takes off what ends at this hop, runs the policies and streams the body.
fn relay(ticket: Ticket, answer: Answer) -> Response<GatewayBody> {
    let Answer { response, connection, slot } = answer;
    let (mut head, incoming) = response.into_parts();
    let seen = fields::scan(&head.headers);
    fields::remove_hop_by_hop(&mut head.headers, seen);
    if seen.content_lengths > 1 {
        // Identical ones, or hyper would have refused them: one says it all.
        if let Some(length) = head.headers.get(header::CONTENT_LENGTH).cloned() {
            head.headers.insert(header::CONTENT_LENGTH, length);
        }
    }
    head.headers.insert(REQUEST_ID, ticket.request_id().clone());
    let snapshot = ticket.snapshot();
    let rule = ticket.rule_index().and_then(|index| snapshot.rules.get(index));
    let mut filter = None;
    for policy in rule.map(|rule| rule.policies.iter().rev()).into_iter().flatten() {
        policy.on_response(&mut head);
        filter = filter.or_else(|| policy.body_filter(&mut head));
    }
    let idle = rule.map(|rule| rule.timeouts).unwrap_or_default().idle;
    ticket.client().watch.begin(Phase::Relay, Instant::now(), idle);
    Response::from_parts(head, GatewayBody::relay(incoming, connection, slot, idle, filter, ticket))
}

/// An answer of the gateway's own, through the policies of the rule that made it, if one did.
fn own(mut ticket: Ticket, rule: Option<usize>, response: Response<Bytes>) -> Response<GatewayBody> {
    let (mut head, body) = response.into_parts();
    ticket.answered_here(head.status);
    ticket.client().watch.begin(Phase::Relay, Instant::now(), Timeouts::default().idle);
    let snapshot = ticket.snapshot();
    if let Some(rule) = rule.and_then(|index| snapshot.rules.get(index)) {
        for policy in rule.policies.iter().rev() {
            policy.on_response(&mut head);
        }
    }
    head.headers.insert(REQUEST_ID, ticket.request_id().clone());
    Response::from_parts(head, GatewayBody::own(body, ticket))
}

/// An answer that says why there is none.
fn refuse(mut ticket: Ticket, rejected: &Reject) -> Response<GatewayBody> {
    let response = rejected.response(ticket.request_id());
    ticket.rejected(rejected, response.status());
    let rule = ticket.rule_index();
    // A body that nobody will read is not waited for.
    let unread = ticket.client().upload.state() != UploadState::Done;
    let mut response = own(ticket, rule, response);
    if unread {
        let (mut head, body) = response.into_parts();
        reject::close(&mut head);
        response = Response::from_parts(head, body);
    }
    response
}

/// The present phase of the connection ran out of time.
#[derive(Debug)]
pub(crate) struct Expired;

/// Waits for a future until the connection's watch says that time is up. Dropping it drops the future.
pub(crate) async fn within_deadline<F: Future>(client: &Client, future: F) -> Result<F::Output, Expired> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if client.watch.is_expired() {
            return Poll::Ready(Err(Expired));
        }
        future.as_mut().poll(cx).map(Ok)
    })
    .await
}

/// Checks a response head before it may be relayed.
pub(crate) fn check_response<B>(
    response: &Response<B>,
    backend: &std::sync::Arc<str>,
) -> Result<(), SendError> {
    let unacceptable = |what| Err(SendError::Unacceptable { backend: backend.clone(), what });
    let headers: &HeaderMap = response.headers();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return unacceptable("101 Switching Protocols to a request that asked for no upgrade");
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        if headers.contains_key(header::CONTENT_LENGTH) {
            return unacceptable("both Content-Length and Transfer-Encoding");
        }
        if !fields::is_plain_chunked(headers) {
            return unacceptable("a transfer coding other than chunked");
        }
    }
    Ok(())
}
