//! One attempt at one backend: a pooled connection or a new one, the request out, the answer's head in.
//!
//! A pooled connection that the backend was just closing is replaced by a new one within the attempt. Dropping the
//! future closes the connection in use.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::header;
use http::{HeaderValue, Version};
use lb_h1::{ConnectionHeader, Fields, RequestLine, ResponseHead, Upgrade, encode_request_head};
use lb_h2::ClientStream;

use crate::client::Client;
use crate::config::HostHeader;
use crate::conversation::Conversation;
use crate::pace::Pace;
use crate::pool::Home;
use crate::reject::Reject;
use crate::send::{Sending, Sent};
use crate::snapshot::{Rule, Target};
use crate::target::{self, Asked};
use crate::ticket::Ticket;
use crate::upload::Upload;
use crate::upstream::{ConnectError, Connection, Purpose, SendError};
use crate::watch::{Expired, Phase, later, within_deadline};

impl Cause {
    /// In a word, for logs and traces.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Status => "status",
        }
    }
}

/// What a backend is to be sent.
pub(crate) struct Outgoing<'a> {
    pub(crate) asked: &'a Asked,
    /// The fields as they go out.
    pub(crate) headers: Fields,
    /// The path after the rule's rewriting.
    pub(crate) path: &'a str,
    pub(crate) upload: &'a mut Upload,
    /// What the client would make of its connection.
    pub(crate) upgrade: Option<&'a Upgrade>,
    /// The client's version: 1.0 gets no interim responses.
    pub(crate) version: Version,
}

/// A response head, and the connection that its body will come from.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    /// When it was here.
    pub(crate) came_at: Instant,
    pub(crate) connection: Connection,
    /// Where the connection may be kept; nowhere if none.
    pub(crate) home: Home,
}

/// Why an attempt brought no answer.
pub(crate) struct Failed {
    pub(crate) rejected: Reject,
    /// Whether the request can be sent again, and what that would be for.
    pub(crate) cause: Option<Cause>,
}

/// Why another backend may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There was no connection, so nothing was sent.
    Connect,
    /// The backend vouches for not having looked at the request (RFC 9113 §8.7), whatever its method.
    Refused,
    /// The connection broke before an answer.
    Reset,
    /// There was no answer within the attempt's own deadline.
    Timeout,
    /// The answer is one of those that are given up.
    Status,
}

impl Outgoing<'_> {
    /// Whether it may be sent a second time (RFC 9110 §9.2.2).
    pub(crate) fn can_repeat(&self) -> bool {
        self.asked.method.is_idempotent() && self.upload.can_begin_anew()
    }
}

impl Answer {
    /// Gives the answer up. Its connection is kept where all of the body is here already.
    pub(crate) fn discard(mut self, client: &Client, upload: &Upload) {
        let ended = crate::body::discard(self.head.framing, &mut self.connection.transport.inbox);
        if ended && self.head.keep_alive && upload.is_sent() {
            client.worker.pool.keep(self.home, self.connection, Instant::now());
        }
    }
}

/// The deadlines of an attempt.
///
/// Its own holds for every method. A request that may be sent again then goes elsewhere; any other has no answer, rather than
/// an unknown time of waiting for a backend that stands still.
pub(crate) struct Limits {
    /// Of the request as a whole.
    deadline: Instant,
    /// To the response head, once the request has gone.
    response_head: Duration,
    /// How long the attempt may take, and until when, from its first step on.
    own: Option<(Duration, Instant)>,
    /// Whether the request may be sent again.
    may_repeat: bool,
}

impl Limits {
    pub(crate) fn of(ticket: &Ticket, rule: &Rule, target: &Target, outgoing: &Outgoing<'_>) -> Self {
        let response_head = target.timeout.unwrap_or(rule.timeouts.response_head);
        // The deadline starts anew with an upload's end, and so for one that is sent again.
        let began = if outgoing.upload.bytes() == 0 { ticket.started() } else { Instant::now() };
        let deadline = later(began, response_head);
        let own = rule.retries.attempt_timeout.map(|own| (own, later(Instant::now(), own)));
        let may_repeat = outgoing.asked.method.is_idempotent() && outgoing.upload.is_repeatable();
        Self { deadline, response_head, own: own.filter(|(_, until)| *until < deadline), may_repeat }
    }

    /// How long the response head may take from now on, the request having been read whole.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        let until = self.own.map_or(self.deadline, |(_, own)| own.min(self.deadline));
        until.saturating_duration_since(now).min(self.response_head)
    }

    /// The same for one that follows an upload, whose end begins the deadline anew. Who may send an upload but once takes the
    /// time for it that the client needs, and the attempt's own time begins with its end too.
    fn response_head(&self, now: Instant) -> Duration {
        match self.own {
            Some((_, until)) if self.may_repeat => {
                until.saturating_duration_since(now).min(self.response_head)
            }
            Some((own, _)) => own.min(self.response_head),
            None => self.response_head,
        }
    }

    /// When a connection that is begun now must be there.
    fn connected_by(&self, now: Instant, connect: Duration) -> Instant {
        let until = later(now, connect).min(self.deadline);
        self.own.map_or(until, |(_, own)| own.min(until))
    }

    /// What it means that time is up, or the client gone.
    pub(crate) fn failed(&self, rejected: Reject) -> Failed {
        let may_repeat = self.is_own_and_repeatable() && matches!(rejected, Reject::UpstreamTimeout);
        Failed { rejected, cause: may_repeat.then_some(Cause::Timeout) }
    }

    /// Whether it means another attempt that its time is up.
    fn is_own_and_repeatable(&self) -> bool {
        self.own.is_some() && self.may_repeat
    }

    /// Sets the deadline for what comes next: the body's pieces, or the response head.
    fn begin_sending(&self, client: &Client, upload: &Upload, idle: Duration, now: Instant) {
        match upload.is_complete() {
            true => client.watch.begin(Phase::Wait, now, self.left(now)),
            false => client.watch.begin(Phase::Upload, now, idle),
        }
    }
}

/// Makes the attempt that the ticket has been told of.
pub(crate) async fn attempt(
    ticket: &mut Ticket,
    rule: &Rule,
    target: &Target,
    conversation: &mut Conversation,
    outgoing: &mut Outgoing<'_>,
) -> Result<Answer, Failed> {
    let client = Rc::clone(ticket.client());
    let limits = Limits::of(ticket, rule, target, outgoing);
    let purpose = Purpose::of(outgoing.upgrade, conversation.transport.is_connect(), target);
    let mut pooled = client.worker.pool.take(target.slot, purpose);
    let mut was_refused = false;
    loop {
        let mut connection = match pooled.take() {
            Some(connection) => connection,
            None => connect(&client, ticket.address(), rule, (target, purpose), &limits)
                .await
                .map_err(|rejected| Failed { rejected, cause: Some(Cause::Connect) })?,
        };
        let opened = connection.transport.opened().filter(|_| outgoing.upgrade.is_none());
        let head = match opened {
            None => encode(rule, target, outgoing),
            Some(stream) => hand_over(rule, target, outgoing, stream),
        };
        let head = head.map_err(Failed::for_good)?;
        ticket.sends(connection.is_reused());
        connection.count_request();
        let sent_at = Instant::now();
        limits.begin_sending(&client, outgoing.upload, rule.timeouts.idle, sent_at);
        let mut sending = Sending {
            conversation,
            backend: &mut connection.transport,
            upload: outgoing.upload,
            head,
            url: &target.url,
            method: &outgoing.asked.method,
            upgrade: outgoing.upgrade,
            takes_interim: outgoing.version >= Version::HTTP_11,
            idle: rule.timeouts.idle,
            pace: rule.timeouts.min_rate.map(|rate| Pace::upload(rate, rule.timeouts.idle, sent_at)),
            response_head: limits.response_head(sent_at),
        };
        match sending.run().await {
            Sent::Answered(head) => {
                let came_at = Instant::now();
                ticket.answered(head.status, sent_at, came_at);
                return Ok(Answer { head, came_at, connection, home: Home::Backend(target.slot) });
            }
            Sent::Rejected(Reject::UpstreamTimeout)
                if limits.is_own_and_repeatable() && outgoing.can_repeat() =>
            {
                return Err(Failed { rejected: Reject::UpstreamTimeout, cause: Some(Cause::Timeout) });
            }
            Sent::Rejected(rejected) => return Err(Failed::for_good(rejected)),
            Sent::Broken { is_answered: false, .. } if connection.is_reused() && outgoing.can_repeat() => {}
            Sent::Broken { error, is_answered } => {
                let is_refused = !is_answered && error.is_unprocessed() && outgoing.upload.can_begin_anew();
                if is_refused && !std::mem::replace(&mut was_refused, true) {
                    // A connection had more streams than the backend takes, as it may before it could say so. A new one has room.
                    continue;
                }
                if is_refused || connection.is_reused() && !is_answered {
                    ticket.forgive();
                }
                if is_refused {
                    return Err(Failed { rejected: Reject::Send(error), cause: Some(Cause::Refused) });
                }
                // A backend that talks nonsense has not merely broken off.
                let broke_off = matches!(error, SendError::Closed { .. } | SendError::Io { .. });
                let cause = (broke_off && outgoing.can_repeat()).then_some(Cause::Reset);
                return Err(Failed { rejected: Reject::Send(error), cause });
            }
        }
    }
}

impl Failed {
    pub(crate) fn for_good(rejected: Reject) -> Self {
        Self { rejected, cause: None }
    }
}

/// The head as this backend gets it.
pub(crate) fn encode(rule: &Rule, target: &Target, outgoing: &mut Outgoing<'_>) -> Result<BytesMut, Reject> {
    let headers = &mut outgoing.headers;
    set_host(rule, target, outgoing.asked, headers);
    let mut out = BytesMut::with_capacity(HEAD_ESTIMATE);
    let line = RequestLine {
        method: &outgoing.asked.method,
        target: &target::forwarded(&outgoing.asked.uri, &target.base_path, outgoing.path),
        version: Version::HTTP_11,
    };
    let connection = outgoing.upgrade.map_or(ConnectionHeader::Implied, ConnectionHeader::Upgrade);
    encode_request_head(&mut out, line, headers, outgoing.upload.framing(), connection)
        .map_err(|error| unsayable(&error))?;
    Ok(out)
}

/// Gives the same head to a stream of HTTP/2 as it is, so that there are no bytes of it to be sent.
fn hand_over(
    rule: &Rule,
    target: &Target,
    outgoing: &mut Outgoing<'_>,
    stream: &mut ClientStream,
) -> Result<BytesMut, Reject> {
    let headers = &mut outgoing.headers;
    set_host(rule, target, outgoing.asked, headers);
    let line = RequestLine {
        method: &outgoing.asked.method,
        target: &target::forwarded(&outgoing.asked.uri, &target.base_path, outgoing.path),
        version: Version::HTTP_2,
    };
    stream.take_head(line, headers, outgoing.upload.framing()).map_err(|error| unsayable(&error))?;
    Ok(BytesMut::new())
}

fn unsayable(error: &dyn std::error::Error) -> Reject {
    Reject::bad_request(format!("the request cannot be forwarded: {error}"))
}

/// The Host field that this backend is shown.
pub(crate) fn set_host(rule: &Rule, target: &Target, asked: &Asked, headers: &mut Fields) {
    let mut set_host = |host: &HeaderValue| headers.insert(&header::HOST, host);
    match &rule.host_header {
        HostHeader::Preserve if asked.host.is_some() => {}
        HostHeader::Preserve | HostHeader::Backend => set_host(&target.authority),
        HostHeader::Literal(host) => set_host(host),
    }
}

/// Room for a usual head, so that it is written without growing.
const HEAD_ESTIMATE: usize = 1 << 10;

/// Opens a connection within `connect_timeout` and the deadlines of the attempt. A stopped backend whose queue of connections is
/// full does not even refuse: the kernel drops what asks for one.
async fn connect(
    client: &Client,
    address: IpAddr,
    rule: &Rule,
    (target, purpose): (&Target, Purpose),
    limits: &Limits,
) -> Result<Connection, Reject> {
    client.watch.begin_until(Phase::Connect, limits.connected_by(Instant::now(), rule.timeouts.connect));
    match within_deadline(&client.watch, Connection::to(target, client, address, purpose)).await {
        Ok(connected) => connected.map_err(Reject::Connect),
        Err(Expired) => Err(Reject::Connect(ConnectError::Timeout { backend: Arc::clone(&target.url) })),
    }
}
