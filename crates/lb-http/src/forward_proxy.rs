//! A listener that connects its clients to other servers than its upstreams' (RFC 9110 §3.7, §9.3.6): by CONNECT to whatever they
//! then speak, and for requests in absolute form by HTTP. Off unless the listener says who may have what.
//!
//! The host is looked up for each request, and what is connected to is the very address that has been looked at. Connections are bounded in
//! number; those of HTTP are kept for a while (`kept.rs`). Requests in origin form go to the rules, as on any listener.
//!
//! Cost to other listeners: one comparison a request. Dropping the future closes both connections.

mod access;
mod finding;
mod kept;
mod users;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use http::header::{self, HeaderName};
use http::{HeaderMap, StatusCode, Version, uri::PathAndQuery};
use lb_h1::{Authority, ConnectionHeader, Fields, RequestHead, RequestLine, TargetForm, encode_request_head};
use lb_observe::ListenerStats;
use lb_policy::Refusal;
use tokio::net::TcpStream;

use self::access::Denied;
pub(crate) use self::finding::Finding;
pub(crate) use self::kept::Kept;
use self::users::authenticate;
pub(crate) use self::users::{Passwords, credentials};
use crate::answer::Manner;
use crate::attempt::Answer;
use crate::client::Client;
use crate::config::{ForwardProxyConfig, ListenerConfig};
use crate::conversation::{Conversation, Next};
use crate::exchange;
use crate::pool::Home;
use crate::reject::{Reject, client_closed_request};
use crate::send::{Sending, Sent};
use crate::snapshot::Snapshot;
use crate::target::Asked;
use crate::ticket::Ticket;
use crate::transport::Transport;
use crate::tunnel::{End, Side, Tunnel};
use crate::upload::Upload;
use crate::upstream::{ConnectError, Connection};
use crate::watch::{Expired, Phase, within_deadline};

/// Not a field of any standard, but sent by clients of old.
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// Addresses of a name that are tried.
pub(crate) const MAX_ADDRESSES: usize = 8;

/// Whether a request is for another server, at a listener that connects to such.
pub(crate) fn takes(ticket: &Ticket) -> bool {
    ticket.client().listener.config.forward_proxy.is_some()
        && matches!(ticket.asked().form, TargetForm::Authority | TargetForm::Absolute { .. })
        && in_force(&ticket.snapshot(), &ticket.client().listener.config).is_some()
}

/// What the configuration in force says of a listener, which may be another than the one that the client came by.
fn in_force<'a>(snapshot: &'a Snapshot, own: &'a ListenerConfig) -> Option<&'a ForwardProxyConfig> {
    let now = snapshot.config.listeners.iter().find(|listener| listener.name == own.name);
    now.unwrap_or(own).forward_proxy.as_ref()
}

/// Serves one request that is for another server.
pub(crate) async fn serve(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    manner: Manner,
    request: RequestHead,
    upload: &mut Upload,
) -> Next {
    let (client, snapshot) = (Rc::clone(&conversation.client), ticket.snapshot());
    let Some(proxy) = in_force(&snapshot, &client.listener.config) else { return Next::Close };
    let asked = Rc::clone(ticket.asked());
    let served = match asked.form {
        TargetForm::Authority => match join(&client, proxy, &asked, &request.headers, upload).await {
            Ok(joined) => return Box::pin(tunnel(ticket, conversation, proxy, joined)).await,
            Err(rejected) => Err(rejected),
        },
        _ => ask(ticket, conversation, proxy, &asked, request, upload).await,
    };
    match served {
        Ok((answer, _place)) => exchange::pass_on(ticket, conversation, manner, answer, upload).await,
        Err(Reject::ClientGone) => {
            ticket.carried(upload.bytes(), 0);
            Next::Break
        }
        Err(rejected) => exchange::refuse(ticket, conversation, manner, rejected, upload).await,
    }
}

/// A place among the connections to other servers, given back by dropping it.
struct Place(Arc<ListenerStats>);

impl Place {
    fn take(client: &Client, proxy: &ForwardProxyConfig) -> Result<Self, Reject> {
        let stats = &client.listener.stats;
        let is_there_room = stats.begin_forwarding(proxy.max_connections.get());
        is_there_room.then(|| Self(Arc::clone(stats))).ok_or(Reject::Overloaded(
            "as many connections to other servers were open as may be (`forward_proxy.max_connections`)",
        ))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.end_forwarding();
    }
}

/// A connection to another server.
struct Joined {
    connection: Connection,
    address: SocketAddr,
    _place: Place,
}

/// Whether a connection of an earlier request will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One that is kept.
    Any,
    /// None but a new one.
    New,
}

/// Connects to the server that is asked for by CONNECT.
async fn join(
    client: &Client,
    proxy: &ForwardProxyConfig,
    asked: &Asked,
    headers: &Fields,
    upload: &Upload,
) -> Result<Joined, Reject> {
    authenticate(client, proxy, headers).await?;
    if !upload.is_empty() {
        return Err(Reject::bad_request("CONNECT has no body"));
    }
    connect(client, proxy, asked, Way::New).await
}

/// Asks the server that stands in a request's target.
async fn ask(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    proxy: &ForwardProxyConfig,
    asked: &Asked,
    request: RequestHead,
    upload: &mut Upload,
) -> Result<(Answer, Place), Reject> {
    let client = Rc::clone(&conversation.client);
    let mut headers = request.headers;
    authenticate(&client, proxy, &headers).await?;
    usual_port(asked)?;
    client.tell_identity(&ticket.snapshot().identity_headers, &mut headers);
    // What is said to this proxy is for nobody else.
    headers.remove(&header::PROXY_AUTHORIZATION);
    headers.remove(&PROXY_CONNECTION);
    let is_personal = binds_connection(&headers);
    // What came over a kept connection can be lost with it, and is asked once more. So that must do no harm.
    let can_repeat = upload.is_empty() && asked.method.is_idempotent();
    let mut way = if can_repeat && !is_personal { Way::Any } else { Way::New };
    let url: Arc<str> = Arc::from("the server that was asked for");
    let timeouts = proxy.timeouts;
    loop {
        let Joined { mut connection, address, _place } = connect(&client, proxy, asked, way).await?;
        if is_personal {
            connection.become_personal();
        }
        let head = encode(asked, &headers, upload, is_personal)?;
        connection.count_request();
        let sent_at = Instant::now();
        match upload.is_complete() {
            true => client.watch.begin(Phase::Wait, sent_at, timeouts.response_head),
            false => client.watch.begin(Phase::Upload, sent_at, timeouts.idle),
        }
        let mut sending = Sending {
            conversation,
            backend: &mut connection.transport,
            upload,
            head,
            url: &url,
            method: &asked.method,
            upgrade: None,
            takes_interim: request.version >= Version::HTTP_11,
            idle: timeouts.idle,
            pace: None,
            response_head: timeouts.response_head,
        };
        match sending.run().await {
            Sent::Answered(head) => {
                let came_at = Instant::now();
                ticket.answered(head.status, sent_at, came_at);
                let answer = Answer { head, came_at, connection, home: Home::Foreign(address) };
                return Ok((answer, _place));
            }
            Sent::Rejected(rejected) => return Err(rejected),
            Sent::Broken { is_answered: false, .. } if connection.is_reused() => way = Way::New,
            Sent::Broken { error, .. } => return Err(Reject::Send(error)),
        }
    }
}

/// Whether who asks is known to the other server by the connection (RFC 4559), which nobody else may have then.
fn binds_connection(headers: &Fields) -> bool {
    let says = |value: &[u8]| {
        let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
        scheme.eq_ignore_ascii_case(b"negotiate") || scheme.eq_ignore_ascii_case(b"ntlm")
    };
    headers.get(&header::AUTHORIZATION).is_some_and(says)
}

/// The head as the other server gets it: in origin form.
fn encode(asked: &Asked, headers: &Fields, upload: &Upload, is_last: bool) -> Result<BytesMut, Reject> {
    let target = asked.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let line = RequestLine { method: &asked.method, target: target.as_bytes(), version: Version::HTTP_11 };
    let mut out = BytesMut::new();
    let connection = if is_last { ConnectionHeader::Close } else { ConnectionHeader::Implied };
    encode_request_head(&mut out, line, headers, upload.framing(), connection)
        .map_err(|error| Reject::bad_request(format!("the request cannot be forwarded: {error}")))?;
    Ok(out)
}

/// The port where none is named.
fn usual_port(asked: &Asked) -> Result<u16, Reject> {
    match asked.form {
        TargetForm::Authority => Ok(443),
        TargetForm::Absolute { https: true } => Err(Reject::bad_request("https is asked for by CONNECT")),
        _ => Ok(80),
    }
}

/// Host and port that are asked for; addresses without brackets.
pub(crate) fn destination(asked: &Asked) -> Result<(&str, u16), Reject> {
    let usual_port = usual_port(asked)?;
    let authority = asked.host.as_deref().map(Authority::parse).and_then(Result::ok);
    let host = authority.and_then(|authority| str::from_utf8(authority.host()).ok());
    let (Some(authority), Some(host)) = (authority, host) else {
        return Err(Reject::bad_request("the request names no host"));
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if access::is_doubtful(host) {
        return Err(Reject::bad_request("an address is four numbers, without zeros ahead of them"));
    }
    Ok((host, authority.port().unwrap_or(usual_port)))
}

fn forbidden(denied: Denied) -> Reject {
    Reject::Refused(Box::new(Refusal {
        status: StatusCode::FORBIDDEN,
        code: "forbidden",
        detail: denied.detail().to_owned(),
        headers: HeaderMap::new(),
    }))
}

/// Looks at what is asked for, looks it up, looks at where it leads, and connects to just that.
async fn connect(
    client: &Client,
    proxy: &ForwardProxyConfig,
    asked: &Asked,
    way: Way,
) -> Result<Joined, Reject> {
    let (host, port) = destination(asked)?;
    proxy.check(host, port, &mut ()).map_err(forbidden)?;
    let place = Place::take(client, proxy)?;
    client.watch.begin(Phase::Connect, Instant::now(), proxy.timeouts.connect);
    let name = || Arc::from(format!("{host}:{port}"));
    let opened = within_deadline(&client.watch, open(client, proxy, (host, port), way)).await;
    let (connection, address) = match opened {
        Ok(opened) => opened?,
        Err(Expired) => return Err(Reject::Connect(ConnectError::Timeout { backend: name() })),
    };
    Ok(Joined { connection, address, _place: place })
}

async fn open(
    client: &Client,
    proxy: &ForwardProxyConfig,
    (host, port): (&str, u16),
    way: Way,
) -> Result<(Connection, SocketAddr), Reject> {
    let backend = || Arc::from(format!("{host}:{port}"));
    let addresses = look_up(client, host, port).await;
    if addresses.is_empty() {
        return Err(Reject::Connect(ConnectError::Unresolved { backend: backend() }));
    }
    let mut last = forbidden(Denied::Address);
    for address in addresses.into_iter().take(MAX_ADDRESSES) {
        if proxy.check_address(address.ip(), &mut ()).is_err() {
            continue;
        }
        let kept = || client.worker.pool.foreign.take(address);
        if let Some(kept) = (way == Way::Any).then(kept).flatten() {
            return Ok((kept, address));
        }
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                return Ok((Connection::begun(Transport::new(stream)), address));
            }
            Err(source) => last = Reject::Connect(ConnectError::of(backend(), source)),
        }
    }
    Err(last)
}

/// Where a host is at present. Names are looked up on the control side, whose threads may wait.
async fn look_up(client: &Client, host: &str, port: u16) -> Vec<SocketAddr> {
    if let Ok(address) = host.strip_suffix('.').unwrap_or(host).parse::<IpAddr>() {
        return vec![SocketAddr::new(address.to_canonical(), port)];
    }
    let host = host.to_owned();
    let control = client.worker.control();
    // Held by the look-up, which goes on where nobody waits for it any more.
    let Ok(permit) = Arc::clone(&control.lookups).acquire_owned().await else { return Vec::new() };
    let found = control.runtime.spawn(async move {
        let found = tokio::net::lookup_host((host, port)).await;
        drop(permit);
        found.map(Iterator::collect::<Vec<SocketAddr>>)
    });
    found.await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Says that there is a connection, and carries what is said on it.
async fn tunnel(
    ticket: &mut Ticket,
    conversation: &mut Conversation,
    proxy: &ForwardProxyConfig,
    joined: Joined,
) -> Next {
    let Joined { mut connection, _place, .. } = joined;
    ticket.answered_here(StatusCode::OK);
    let id = ticket.request_id().to_str().unwrap_or_default();
    let head = format!("HTTP/1.1 200 Connection established\r\nX-Request-Id: {id}\r\n\r\n");
    conversation.outbox.extend_from_slice(head.as_bytes());
    let backend = &mut connection.transport;
    let idle = proxy.timeouts.tunnel;
    let mut tunnel = Tunnel::new(conversation, backend, (idle, idle));
    let end = std::future::poll_fn(|cx| tunnel.poll(cx, conversation, backend)).await;
    ticket.carried(tunnel.bytes_in(), tunnel.bytes_out());
    match end {
        End::Over => {
            ticket.complete(Instant::now());
            Next::Close
        }
        End::Idle => {
            ticket.cut("idle_timeout", "nothing moved for tunnel_timeout".to_owned());
            backend.reset_at_close();
            Next::Reset
        }
        End::Broken(Side::Client) => {
            ticket.answered_here(client_closed_request());
            if !tunnel.is_told(Side::Backend) {
                backend.reset_at_close();
            }
            Next::Break
        }
        End::Broken(Side::Backend) => {
            ticket.cut("upstream_reset", "the other server's connection broke".to_owned());
            if tunnel.is_told(Side::Client) { Next::Close } else { Next::Reset }
        }
    }
}

/// What a request is for, as it is logged.
pub(crate) fn shown(asked: &Asked) -> &str {
    match asked.form {
        TargetForm::Authority => {
            asked.host.as_deref().and_then(|host| str::from_utf8(host).ok()).unwrap_or_default()
        }
        _ => asked.uri.path(),
    }
}
