//! Getting a response head out of some backend: pick, connect, send, and what to do when that fails.
//!
//! What may go to a second backend, and what not (RFC 9110 §9.2.2): a request of which provably nothing was sent
//! may, whatever its method; one that was sent may if its method is idempotent, it has no body, and not a byte of
//! an answer has come. A pooled connection that the backend was just closing is tried anew on the same backend.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use lb_core::{AcquireError, KeySource, Lease, PickContext, key};
use smallvec::SmallVec;

use crate::body::ClientBody;
use crate::client::{Client, UploadState};
use crate::config::HostHeader;
use crate::exchange::{Expired, check_response, within_deadline};
use crate::pool::Slot;
use crate::reject::Reject;
use crate::request;
use crate::snapshot::{Rule, Target};
use crate::ticket::Ticket;
use crate::upstream::{ConnectError, Connection, SendError, Sent};
use crate::watch::{Phase, later};

/// A response head, and the connection that its body will come from.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) connection: Box<Connection>,
    pub(crate) slot: Slot,
}

/// What a failed attempt leaves for the next one.
enum Attempt {
    Answered(Answer),
    /// Failed; the request can be sent again, elsewhere.
    Again(Request<ClientBody>, Reject),
    /// Failed for good.
    Lost(Reject),
}

/// Forwards a request to one backend after another until one has answered.
pub(crate) async fn forward(
    ticket: &mut Ticket,
    rule: &Rule,
    uri: &Uri,
    path: &Cow<'_, str>,
    mut head: Parts,
    body: ClientBody,
) -> Result<Answer, Reject> {
    let snapshot = ticket.snapshot();
    let upstream = snapshot.upstreams.get(rule.upstream).ok_or(Reject::NoBackend)?;
    let key = key_of(&upstream.key, ticket, &head, path, uri);
    head.version = Version::HTTP_11;
    let mut request = Request::from_parts(head, body);
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut failure = None;
    loop {
        let now = Instant::now();
        let context = PickContext { key, now, tried: &tried, attempt: tried.len() as u32 };
        let lease: Lease = match upstream.balancer.acquire(&context) {
            Ok(lease) => lease,
            Err(error) => return Err(failure.unwrap_or(none_acquired(error))),
        };
        let position = lease.position();
        ticket.attempt(rule.upstream, lease);
        let target = upstream.targets.get(position).ok_or(Reject::NoBackend)?;
        address(&mut request, rule, target, uri, path)?;
        let response_head = target.timeout.unwrap_or(rule.timeouts.response_head);
        match attempt(ticket, rule, target, later(ticket.started(), response_head), request).await {
            Attempt::Answered(answer) => return Ok(answer),
            Attempt::Lost(rejected) => return Err(rejected),
            Attempt::Again(back, rejected) => {
                tried.push(position);
                if tried.len() as u32 > rule.retry_attempts {
                    return Err(rejected);
                }
                ticket.attempt_failed(&rejected);
                upstream.stats.retried(ticket.client().worker.index);
                failure = Some(rejected);
                request = back;
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
fn key_of(source: &KeySource, ticket: &Ticket, head: &Parts, path: &str, uri: &Uri) -> u64 {
    let field = |name: &str| head.headers.get(name).map(HeaderValue::as_bytes);
    let part = match source {
        KeySource::Address => None,
        KeySource::Path => Some(path.as_bytes()),
        KeySource::Header(name) => field(name),
        KeySource::Query(name) => uri.query().and_then(|query| parameter(query, '&', name)),
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

/// Writes this backend's path and Host into the request.
fn address<B>(
    request: &mut Request<B>,
    rule: &Rule,
    target: &Target,
    uri: &Uri,
    path: &str,
) -> Result<(), Reject> {
    let forwarded = request::forwarded_uri(uri, &target.base_path, path)
        .map_err(|_| Reject::bad_request("the rewritten path is not a valid request target"))?;
    if let Some(forwarded) = forwarded {
        *request.uri_mut() = forwarded;
    } else if *request.uri() != *uri {
        *request.uri_mut() = uri.clone();
    }
    let host = match &rule.host_header {
        HostHeader::Preserve if request.headers().contains_key(header::HOST) => return Ok(()),
        HostHeader::Preserve | HostHeader::Backend => &target.authority,
        HostHeader::Literal(host) => host,
    };
    request.headers_mut().insert(header::HOST, host.clone());
    Ok(())
}

/// One attempt at one backend: a pooled connection first, a new one where there is none or it proves stale.
async fn attempt(
    ticket: &mut Ticket,
    rule: &Rule,
    target: &Target,
    deadline: Instant,
    mut request: Request<ClientBody>,
) -> Attempt {
    let backend = Arc::clone(&target.url);
    let client = Rc::clone(ticket.client());
    let replayable = request.body().is_empty() && request.method().is_idempotent();
    let mut pooled = client.worker.pool.take(target.slot);
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => match connect(&client, rule, target, deadline).await {
                Ok(connection) => connection,
                Err(rejected) => return Attempt::Again(request, rejected),
            },
        };
        let kept = replayable.then(|| copy_of(&request));
        begin_sending(&client, rule, deadline);
        let sent_at = Instant::now();
        let sent = match within_deadline(&client, connection.send(request)).await {
            Ok(sent) => sent,
            Err(Expired) => return Attempt::Lost(late(&client)),
        };
        let error = match sent {
            Sent::Answered(response) => {
                return match check_response(&response, &backend) {
                    Ok(()) => {
                        ticket.answered(response.status(), sent_at, Instant::now());
                        Attempt::Answered(Answer { response, connection, slot: target.slot })
                    }
                    Err(error) => Attempt::Lost(Reject::Send(error)),
                };
            }
            // Only a pooled connection can be lost before anything was written to it.
            Sent::Unsent(unsent) => {
                request = unsent;
                continue;
            }
            Sent::Failed(error) => error,
        };
        if client.upload.state() == UploadState::Broken {
            return Attempt::Lost(Reject::ClientGone);
        }
        let was_reused = connection.is_reused();
        let malformed = error.is_parse();
        let rejected = Reject::Send(match malformed {
            true => SendError::Malformed { backend: Arc::clone(&backend), source: error },
            false => SendError::Closed { backend: Arc::clone(&backend), source: error },
        });
        match kept {
            Some(kept) if was_reused && !malformed => request = kept,
            Some(kept) if !malformed => return Attempt::Again(kept, rejected),
            _ => return Attempt::Lost(rejected),
        }
    }
}

/// Opens a connection within `connect_timeout` and the request's own deadline.
async fn connect(
    client: &Client,
    rule: &Rule,
    target: &Target,
    deadline: Instant,
) -> Result<Box<Connection>, Reject> {
    let until = later(Instant::now(), rule.timeouts.connect);
    client.watch.begin_until(Phase::Connect, until.min(deadline));
    let addresses = target.endpoint.addresses();
    match within_deadline(client, Connection::open(&target.url, &addresses)).await {
        Ok(connected) => connected.map_err(Reject::Connect),
        Err(Expired) => Err(Reject::Connect(ConnectError::Timeout { backend: Arc::clone(&target.url) })),
    }
}

/// Sets the deadline for what comes next: the body's pieces, or the response head.
fn begin_sending(client: &Client, rule: &Rule, deadline: Instant) {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    client.begin_forwarding(now, rule.timeouts, left);
}

/// Whose fault it is that time is up.
fn late(client: &Client) -> Reject {
    match client.upload.state() {
        UploadState::Client => Reject::RequestTimeout,
        UploadState::Broken => Reject::ClientGone,
        UploadState::Done | UploadState::Backend => Reject::UpstreamTimeout,
    }
}

/// A copy of a request that has no body.
fn copy_of(request: &Request<ClientBody>) -> Request<ClientBody> {
    let mut copy = Request::new(ClientBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
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
