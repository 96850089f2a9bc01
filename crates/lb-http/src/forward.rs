//! Getting a response head out of some backend: pick, connect, send, and what to do when that fails.
//!
//! What may go to a second backend, and what not (RFC 9110 §9.2.2): a request of which provably nothing was sent
//! may, whatever its method; one that was sent may if its method is idempotent, none of its body was taken from
//! the client, and not a byte of an answer has come. A pooled connection that the backend was just closing is
//! tried anew on the same backend.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Uri, Version};
use lb_core::{AcquireError, KeySource, PickContext, key};
use lb_h1::{ConnectionHeader, RequestLine, ResponseHead, encode_request_head};
use smallvec::SmallVec;

use crate::client::Client;
use crate::config::HostHeader;
use crate::conversation::Conversation;
use crate::pool::Slot;
use crate::reject::Reject;
use crate::send::{Sending, Sent};
use crate::snapshot::{Rule, Target};
use crate::target;
use crate::ticket::Ticket;
use crate::upload::Upload;
use crate::upstream::{ConnectError, Connection};
use crate::watch::{Expired, Phase, later, within_deadline};

/// What a backend is to be sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) head: Parts,
    /// The target as the client sent it.
    pub(crate) uri: &'a Uri,
    /// The path after the rule's rewriting.
    pub(crate) path: &'a str,
    pub(crate) upload: &'a mut Upload,
    /// The client's version: 1.0 gets no interim responses.
    pub(crate) version: Version,
}

/// A response head, and the connection that its body will come from.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) connection: Connection,
    pub(crate) slot: Slot,
}

/// How one attempt failed.
enum Failed {
    /// The request can be sent again, elsewhere.
    Again(Reject),
    /// For good.
    Lost(Reject),
}

/// Forwards a request to one backend after another until one has answered.
pub(crate) async fn forward(
    ticket: &mut Ticket,
    rule: &Rule,
    conversation: &mut Conversation,
    outgoing: &mut Outgoing<'_>,
) -> Result<Answer, Reject> {
    let snapshot = ticket.snapshot();
    let upstream = snapshot.upstreams.get(rule.upstream).ok_or(Reject::NoBackend)?;
    let key = key_of(&upstream.key, ticket, outgoing);
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut failure = None;
    let mut attempts = 0;
    loop {
        let context = PickContext { key, now: Instant::now(), tried: &tried, attempt: attempts };
        let lease = match upstream.balancer.acquire(&context) {
            Ok(lease) => lease,
            Err(error) => return Err(failure.unwrap_or(none_acquired(error))),
        };
        let position = lease.position();
        let Some(permit) = upstream.monitor.admit(position, context.now) else {
            // A circuit that has just opened keeps it out; that is no attempt.
            tried.push(position);
            continue;
        };
        ticket.attempt(rule.upstream, lease, permit);
        let target = upstream.targets.get(position).ok_or(Reject::NoBackend)?;
        match attempt(ticket, rule, target, conversation, outgoing).await {
            Ok(answer) => return Ok(answer),
            Err(Failed::Lost(rejected)) => return Err(rejected),
            Err(Failed::Again(rejected)) => {
                tried.push(position);
                attempts += 1;
                if attempts > rule.retry_attempts {
                    return Err(rejected);
                }
                ticket.attempt_failed(&rejected);
                upstream.stats.retried(ticket.client().worker.index);
                failure = Some(rejected);
            }
        }
    }
}

fn none_acquired(error: AcquireError) -> Reject {
    match error {
        AcquireError::AllFull => Reject::Overloaded,
        AcquireError::NoneEligible | AcquireError::AllTried => Reject::NoBackend,
    }
}

/// What the upstream's strategy hashes: the named part of the request, or the client's address where it has none.
fn key_of(source: &KeySource, ticket: &Ticket, outgoing: &Outgoing<'_>) -> u64 {
    let field = |name: &str| outgoing.head.headers.get(name).map(HeaderValue::as_bytes);
    let part = match source {
        KeySource::Address => None,
        KeySource::Path => Some(outgoing.path.as_bytes()),
        KeySource::Header(name) => field(name),
        KeySource::Query(name) => outgoing.uri.query().and_then(|query| parameter(query, '&', name)),
        KeySource::Cookie(name) => field("cookie")
            .and_then(|cookies| std::str::from_utf8(cookies).ok())
            .and_then(|cookies| parameter(cookies, ';', name)),
    };
    part.map_or_else(|| key::of_address(ticket.address()), key::of_bytes)
}

/// The value of `name=value` in a list.
fn parameter<'a>(list: &'a str, separator: char, name: &str) -> Option<&'a [u8]> {
    let mut pairs = list.split(separator).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes())
}

/// One attempt at one backend: a pooled connection first, a new one where there is none or it proves stale.
async fn attempt(
    ticket: &mut Ticket,
    rule: &Rule,
    target: &Target,
    conversation: &mut Conversation,
    outgoing: &mut Outgoing<'_>,
) -> Result<Answer, Failed> {
    let client = Rc::clone(ticket.client());
    let response_head = target.timeout.unwrap_or(rule.timeouts.response_head);
    let deadline = later(ticket.started(), response_head);
    let mut pooled = client.worker.pool.take(target.slot);
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => connect(&client, rule, target, deadline).await.map_err(Failed::Again)?,
        };
        let head = encode(rule, target, outgoing).map_err(Failed::Lost)?;
        connection.count_request();
        let sent_at = Instant::now();
        begin_sending(&client, outgoing.upload, rule, sent_at, deadline);
        let mut sending = Sending {
            conversation,
            backend: &mut connection.transport,
            upload: outgoing.upload,
            head,
            url: &target.url,
            method: &outgoing.head.method,
            takes_interim: outgoing.version >= Version::HTTP_11,
            idle: rule.timeouts.idle,
            response_head,
        };
        match sending.run().await {
            Sent::Answered(head) => {
                ticket.answered(head.status, sent_at, Instant::now());
                return Ok(Answer { head, connection, slot: target.slot });
            }
            Sent::Rejected(rejected) => return Err(Failed::Lost(rejected)),
            Sent::Broken { error, is_answered } => {
                let may_replay =
                    !is_answered && outgoing.head.method.is_idempotent() && outgoing.upload.is_untouched();
                if connection.is_reused() && !is_answered && !may_replay {
                    ticket.forgive();
                }
                let rejected = Reject::Send(error);
                match may_replay {
                    true if connection.is_reused() => {}
                    true => return Err(Failed::Again(rejected)),
                    false => return Err(Failed::Lost(rejected)),
                }
            }
        }
    }
}

/// The head as this backend gets it.
fn encode(rule: &Rule, target: &Target, outgoing: &mut Outgoing<'_>) -> Result<BytesMut, Reject> {
    let headers = &mut outgoing.head.headers;
    match &rule.host_header {
        HostHeader::Preserve if headers.contains_key(header::HOST) => {}
        HostHeader::Preserve | HostHeader::Backend => {
            headers.insert(header::HOST, target.authority.clone());
        }
        HostHeader::Literal(host) => {
            headers.insert(header::HOST, host.clone());
        }
    }
    let mut out = BytesMut::with_capacity(HEAD_ESTIMATE);
    let line = RequestLine {
        method: &outgoing.head.method,
        target: &target::forwarded(outgoing.uri, &target.base_path, outgoing.path),
        version: Version::HTTP_11,
    };
    encode_request_head(&mut out, line, headers, outgoing.upload.framing(), ConnectionHeader::Implied)
        .map_err(|error| Reject::bad_request(format!("the request cannot be forwarded: {error}")))?;
    Ok(out)
}

/// Room for a usual head, so that it is written without growing.
const HEAD_ESTIMATE: usize = 1 << 10;

/// Opens a connection within `connect_timeout` and the request's own deadline.
async fn connect(
    client: &Client,
    rule: &Rule,
    target: &Target,
    deadline: Instant,
) -> Result<Connection, Reject> {
    let until = later(Instant::now(), rule.timeouts.connect);
    client.watch.begin_until(Phase::Connect, until.min(deadline));
    let addresses = target.endpoint.addresses();
    match within_deadline(&client.watch, Connection::open(&target.url, &addresses)).await {
        Ok(connected) => connected.map_err(Reject::Connect),
        Err(Expired) => Err(Reject::Connect(ConnectError::Timeout { backend: Arc::clone(&target.url) })),
    }
}

/// Sets the deadline for what comes next: the body's pieces, or the response head.
fn begin_sending(client: &Client, upload: &Upload, rule: &Rule, now: Instant, deadline: Instant) {
    let left: Duration = deadline.saturating_duration_since(now);
    match upload.is_complete() {
        true => client.watch.begin(Phase::Wait, now, left),
        false => client.watch.begin(Phase::Upload, now, rule.timeouts.idle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_found_by_its_whole_name() {
        assert_eq!(parameter("a=1; sid=42; sid2=7", ';', "sid"), Some(&b"42"[..]));
        assert_eq!(parameter("id=1&x=2", '&', "x"), Some(&b"2"[..]));
        assert_eq!(parameter("", '&', "x"), None);
    }
}
