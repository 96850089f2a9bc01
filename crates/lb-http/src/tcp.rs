//! A connection of a TCP listener: to an upstream's backend, and then bytes both ways that nobody looks at (`tunnel.rs`). One
//! exchange, as a request is: chosen, counted, limited and recorded by the same code.
//!
//! Only what failed before a byte was passed on is tried elsewhere, which is connecting. Where names lead to different upstreams,
//! the beginning of the client's TLS is read first, and passed on as it came: to the backend, or to the handshake where TLS ends here.
//!
//! Cost: a connection pays the choice, the connect and the record; a byte pays what `tunnel.rs` says. Dropping the future closes
//! both connections.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use lb_health::FailureKind;
use lb_observe::ConnectionFailure;
use lb_router::HostPattern;
use lb_tls::{Hello, HelloReader};

use crate::attempt::Cause;
use crate::choice::{Choice, Choices};
use crate::client::Client;
use crate::config::{BackendProtocol, ListenerConfig, TcpConfig, TcpTarget};
use crate::conversation::{Conversation, Next};
use crate::decisions;
use crate::forward::FREE_CONNECTS;
use crate::reject::{Reject, client_closed_request};
use crate::snapshot::{Snapshot, Target};
use crate::ticket::Ticket;
use crate::tunnel::{End, Side, Tunnel};
use crate::upstream::{ConnectError, Connection, HTTP1};
use crate::watch::{Expired, Phase, later, within_deadline};

/// The most of a connection that is read to find the name in it: two records of TLS, of which a ClientHello seldom fills one.
const MAX_HELLO: usize = 32 << 10;

/// Whether it matters for which name a client asks.
pub(crate) fn wants_name(client: &Client) -> bool {
    client.listener.config.tcp.as_ref().is_some_and(|tcp| !tcp.names.is_empty())
}

/// Serves one connection, which is in the clear by now. Where its TLS has ended here, `name` is what it asked for.
pub(crate) async fn serve(conversation: &mut Conversation, name: Option<String>) -> Next {
    let client = Rc::clone(&conversation.client);
    let mut ticket = Ticket::connection(&client);
    let snapshot = ticket.snapshot();
    let Some(tcp) = in_force(&snapshot, &client.listener.config) else { return Next::Reset };
    match join(&mut ticket, &snapshot, conversation, (tcp, name)).await {
        Ok(connection) => carry(&mut ticket, conversation, connection, tcp).await,
        Err(rejected) => {
            ticket.rejected(&rejected, rejected.status());
            count(&client, rejected.code());
            // Its end would be taken for that of an answer.
            Next::Reset
        }
    }
}

/// What the configuration in force says of a listener: it may have changed since the worker was told of the listener.
fn in_force<'a>(snapshot: &'a Snapshot, own: &'a ListenerConfig) -> Option<&'a TcpConfig> {
    let listeners = &snapshot.config.listeners;
    let now = listeners.iter().find(|listener| listener.name == own.name);
    now.and_then(|listener| listener.tcp.as_ref()).or(own.tcp.as_ref())
}

/// Connects to a backend, to another one where that fails.
async fn join(
    ticket: &mut Ticket,
    snapshot: &Snapshot,
    conversation: &mut Conversation,
    (tcp, name): (&TcpConfig, Option<String>),
) -> Result<Connection, Reject> {
    let TcpTarget { upstream, retries } = target(conversation, tcp, name).await.ok_or(Reject::NoRule)?;
    let (place, upstream) = snapshot.upstream(upstream).ok_or(Reject::NoBackend)?;
    let began = Instant::now();
    let deadline = later(began, tcp.timeouts.total);
    let mut choices = Choices::by_address(upstream, ticket);
    let mut left = if retries.attempts > 0 { FREE_CONNECTS } else { 0 };
    let mut reason = None;
    ticket.chooses(place, upstream, began);
    let chosen = choices.next_in_turn(conversation, deadline, began).await;
    let mut choice = chosen.inspect_err(|rejected| decisions::nobody(ticket, upstream, rejected))?;
    loop {
        let position = choice.lease.position();
        ticket.attempt(place, choice.lease, choice.permit);
        let backend = upstream.targets.get(position).ok_or(Reject::NoBackend)?;
        if decisions::are_told() {
            decisions::chosen(ticket, upstream, position, choices.tried(), reason);
        }
        ticket.tried(reason, choice.waited);
        let asked_at = Instant::now();
        let failed = match connect(&conversation.client, backend, tcp, deadline).await {
            Ok(connection) => {
                ticket.connected(asked_at, Instant::now());
                return Ok(connection);
            }
            Err(error) => Reject::Connect(error),
        };
        choices.exclude(position);
        match elsewhere(&mut choices, conversation, deadline, &mut left).await {
            Ok(next) => choice = next,
            Err(why) => {
                decisions::given_up(ticket, Cause::Connect, why);
                ticket.given_up(why);
                return Err(failed);
            }
        }
        ticket.attempt_failed(&failed);
        upstream.stats.retried(conversation.client.worker.index);
        reason = Some(Cause::Connect.name());
    }
}

/// The next backend, where there is one within the bounds; or why not.
async fn elsewhere(
    choices: &mut Choices<'_>,
    conversation: &mut Conversation,
    deadline: Instant,
    left: &mut u32,
) -> Result<Choice, &'static str> {
    *left = left.checked_sub(1).ok_or("no attempts are left (`retries.attempts`)")?;
    let now = Instant::now();
    if now >= deadline {
        return Err("the connection's time is up");
    }
    choices.next_in_turn(conversation, deadline, now).await.map_err(|_| "no other backend can take it")
}

/// Opens a connection within `connect_timeout`.
async fn connect(
    client: &Client,
    backend: &Target,
    tcp: &TcpConfig,
    deadline: Instant,
) -> Result<Connection, ConnectError> {
    // Nobody here speaks HTTP/2, so that it had better not be agreed on.
    let only = (backend.protocol == BackendProtocol::Auto).then_some(HTTP1);
    let open = Connection::plain(backend, client, client.peer, only);
    client.watch.begin_until(Phase::Connect, later(Instant::now(), tcp.timeouts.connect).min(deadline));
    match within_deadline(&client.watch, open).await {
        Ok(connected) => connected,
        Err(Expired) => Err(ConnectError::Timeout { backend: Arc::clone(&backend.url) }),
    }
}

/// Where the connection goes, by the name that its TLS asks for where that matters.
async fn target<'a>(
    conversation: &mut Conversation,
    tcp: &'a TcpConfig,
    name: Option<String>,
) -> Option<&'a TcpTarget> {
    if tcp.names.is_empty() {
        return tcp.default.as_ref();
    }
    let name = match conversation.transport.session() {
        Some(_) => name,
        // Boxed, so that other connections need no room for it.
        None => Box::pin(server_name(conversation)).await,
    };
    lead(tcp, name.as_deref()).map(|(_, target)| target)
}

/// Where a name leads, and by which part of `names`; by none to the default.
pub(crate) fn lead<'a>(tcp: &'a TcpConfig, name: Option<&str>) -> Option<(Option<usize>, &'a TcpTarget)> {
    let by_name = name.and_then(|name| tcp.names.iter().position(|(patterns, _)| fits(patterns, name)));
    match by_name {
        Some(place) => tcp.names.get(place).map(|(_, target)| (Some(place), target)),
        None => tcp.default.as_ref().map(|target| (None, target)),
    }
}

/// Whether one of these patterns takes a name.
pub(crate) fn fits(patterns: &[HostPattern], name: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(Some(name)))
}

/// The name that a client asks for, as soon as that is known; none where it speaks no TLS, names nobody, or takes too long. What has
/// been read stays in the inbox.
pub(crate) async fn server_name(conversation: &mut Conversation) -> Option<String> {
    let client = &*Rc::clone(&conversation.client);
    let hello = client.listener.config.tcp.as_ref()?.timeouts.hello;
    client.watch.begin(Phase::Handshake, Instant::now(), hello);
    let mut reader = HelloReader::default();
    let mut seen = 0;
    let transport = &mut conversation.transport;
    std::future::poll_fn(|cx| {
        loop {
            match reader.read(transport.inbox.get(seen..).unwrap_or_default()) {
                Hello::Partial => seen = transport.inbox.len(),
                Hello::Whole(name) => return Poll::Ready(name),
                Hello::None => return Poll::Ready(None),
            }
            if client.watch.is_expired() || seen >= MAX_HELLO {
                return Poll::Ready(None);
            }
            let mut scratch = Conversation::scratch(client);
            match transport.poll_fill(cx, &mut scratch) {
                Poll::Pending => return Poll::Pending,
                // What ends or breaks it is met again by whoever reads on.
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
            }
        }
    })
    .await
}

/// Carries bytes both ways until the end.
async fn carry(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    mut connection: Connection,
    tcp: &TcpConfig,
) -> Next {
    let client = Rc::clone(&conversation.client);
    let backend = &mut connection.transport;
    let limits = (tcp.timeouts.idle, tcp.timeouts.idle);
    let mut tunnel = Tunnel::new(conversation, backend, limits).takes_any_end();
    let mut is_heard = false;
    let end = std::future::poll_fn(|cx| {
        let end = tunnel.poll(cx, conversation, backend);
        if !is_heard && tunnel.bytes_out() > 0 {
            // A backend that says something works, however long it goes on.
            is_heard = true;
            ticket.switched(Instant::now());
        }
        end
    })
    .await;
    ticket.carried(tunnel.bytes_in(), tunnel.bytes_out());
    match end {
        End::Over => {
            // A backend that never said a word has proved nothing.
            ticket.forgive();
            ticket.complete(Instant::now());
            Next::Close
        }
        End::Idle => {
            ticket.forgive();
            ticket.cut(ConnectionFailure::IdleTimeout.code(), "nothing moved for idle_timeout".to_owned());
            count(&client, ConnectionFailure::IdleTimeout.code());
            backend.reset_at_close();
            Next::Reset
        }
        End::Broken(Side::Client) => {
            ticket.forgive();
            ticket.answered_here(client_closed_request());
            if !tunnel.is_told(Side::Backend) {
                backend.reset_at_close();
            }
            Next::Break
        }
        End::Broken(Side::Backend) => {
            let reason = "the backend's connection broke".to_owned();
            ticket.broke(ConnectionFailure::UpstreamReset.code(), reason, FailureKind::Reset);
            count(&client, ConnectionFailure::UpstreamReset.code());
            // Whoever has been told the end keeps what was said before it.
            if tunnel.is_told(Side::Client) { Next::Close } else { Next::Reset }
        }
    }
}

fn count(client: &Client, code: &str) {
    if let Some(failure) = ConnectionFailure::of_code(code) {
        client.listener.stats.failed(client.worker.index, failure);
    }
}
