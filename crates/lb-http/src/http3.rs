//! HTTP/3 with a client: one task for the connection, and one for each of its streams, as with HTTP/2.
//!
//! quinn speaks QUIC and `h3` its frames; a stream is to the exchange a connection of one request (`stream.rs`). The
//! connection belongs to one worker, whichever took the endpoint's packets in (`endpoint.rs`), and to a client that may change
//! its address meanwhile: it is counted, and told to backends, under the one that it came from.
//!
//! Dropping the connection's future closes it and breaks its streams off, as if the client had left.

pub(crate) mod endpoint;
mod frames;
pub(crate) mod identifiers;
pub(crate) mod packets;
mod protocol;
mod quic;
mod stream;

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h3::error::Code;
use h3::server::RequestResolver;
use lb_observe::HandshakeFailure;
use quinn::{Incoming, ServerConfig, VarInt};

use self::endpoint::Handshake;
use self::quic::{Asides, Connection};
use crate::client::Client;
use crate::config::Http3Limits;
use crate::handshake;
use crate::http2::Streams;

/// How long a connection that is told to go may take to hear it, and the last answers to arrive.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long a client that is told to go may still begin what it has sent before it heard.
const NOTICE: Duration = Duration::from_secs(1);
/// From one request's stream to the next (RFC 9000 §2.1).
const STREAMS_APART: u64 = 4;
/// How many requests that may be.
const ON_THE_WAY: usize = 1 << 20;
/// What a head may be in fields, beyond which nobody reads it: what is within, and too large, is told so by the exchange.
const HEAD_ROOM: usize = 4;

/// A connection on its way to the worker that serves it.
pub(crate) struct Arrival {
    pub(crate) incoming: Incoming,
    pub(crate) config: std::sync::Arc<ServerConfig>,
    /// Where the client has connected to.
    pub(crate) destination: std::net::SocketAddr,
    /// Counted among those under way until it is over.
    pub(crate) handshake: Handshake,
}

/// Serves a connection until either side is done with it.
pub(crate) async fn serve(arrival: Arrival, client: Rc<Client>) {
    let Some(limits) = client.listener.config.limits.http3 else { return arrival.incoming.refuse() };
    let Some(quic) = shake_hands(arrival, &client).await else { return };
    let max_header = client.listener.config.limits.max_header_bytes.saturating_mul(HEAD_ROOM);
    let max_header = u64::try_from(max_header).unwrap_or(u64::MAX);
    let (connection, asides) = Connection::new(quic.clone(), max_header);
    let mut builder = h3::server::builder();
    builder.max_field_section_size(max_header).enable_extended_connect(true).send_grease(false);
    let Ok(connection) = builder.build(connection).await else { return };
    let streams = Streams::new(limits.max_resets, Instant::now());
    let mut server =
        Server { connection, asides, client, streams, limits, leaving: Leaving::No, next_stream: 0 };
    if server.run().await == Over::Restless {
        quic.close(code(Code::H3_EXCESSIVE_LOAD), b"");
    }
}

/// The handshake, within its time, and counted however it ends.
async fn shake_hands(arrival: Arrival, client: &Client) -> Option<quinn::Connection> {
    let Arrival { incoming, config, handshake, .. } = arrival;
    let (listener, worker) = (&client.listener, client.worker.index);
    let limit = listener.config.tls.as_ref()?.handshake_timeout;
    let failed = |failure| {
        listener.stats.handshake_failed(worker, failure);
        None
    };
    let Ok(connecting) = incoming.accept_with(config) else { return failed(HandshakeFailure::Malformed) };
    let quic = match tokio::time::timeout(limit, connecting).await {
        Ok(Ok(quic)) => quic,
        Ok(Err(error)) => {
            tracing::debug!(listener = %listener.config.name, peer = %client.peer, %error, "QUIC handshake failed");
            return failed(kind(&error));
        }
        Err(_) => return failed(HandshakeFailure::Timeout),
    };
    drop(handshake);
    // Whether it was resumed is not told.
    listener.stats.handshake(worker, false);
    if listener.config.tls.as_ref().is_some_and(|tls| tls.subject_header.is_some()) {
        let identity = quic.peer_identity().and_then(lb_tls::quic_certificate);
        handshake::introduce(client, identity.as_deref());
    }
    Some(quic)
}

fn kind(error: &quinn::ConnectionError) -> HandshakeFailure {
    match error {
        quinn::ConnectionError::TimedOut => HandshakeFailure::Timeout,
        quinn::ConnectionError::TransportError(_) => HandshakeFailure::Refused,
        quinn::ConnectionError::VersionMismatch => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Closed,
    }
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The client has closed it, or has had its time.
    Ended,
    /// The client has thrown too many streams away.
    Restless,
}

struct Server {
    connection: h3::server::Connection<Connection, Bytes>,
    asides: Asides,
    client: Rc<Client>,
    streams: Rc<Streams>,
    limits: Http3Limits,
    leaving: Leaving,
    /// The next stream that the client may open, as far as is known.
    next_stream: u64,
}

/// How far the goodbye is (RFC 9114 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// The client is to go, and may not have heard it yet.
    Noticed(Instant),
    /// Nothing more is taken.
    Told(Instant),
}

impl Server {
    async fn run(&mut self) -> Over {
        let mut idle_since = Instant::now();
        let gate = Rc::clone(&self.client.listener.gate);
        loop {
            let (streams, were_open) = (Rc::clone(&self.streams), self.streams.are_open());
            let keep_alive = self.client.listener.config.limits.keep_alive_timeout;
            let deadline = match (self.leaving, were_open) {
                (Leaving::Noticed(since), _) => Some(since + NOTICE),
                (Leaving::No | Leaving::Told(_), true) => None,
                (Leaving::No, false) => Some(idle_since + keep_alive),
                (Leaving::Told(since), false) => Some(since.max(idle_since) + FAREWELL),
            };
            tokio::select! {
                biased;
                () = gate.leaving(), if self.leaving == Leaving::No => self.give_notice().await,
                () = streams.changed(were_open) => {
                    if streams.is_restless() {
                        return Over::Restless;
                    }
                    idle_since = Instant::now();
                }
                () = at(deadline) => match self.leaving {
                    Leaving::No | Leaving::Noticed(_) => self.say_goodbye().await,
                    Leaving::Told(_) => return Over::Ended,
                },
                accepted = self.connection.accept() => match accepted {
                    Ok(Some(resolver)) => self.admit(resolver),
                    Ok(None) | Err(_) => return Over::Ended,
                },
            }
        }
    }

    /// Tells the client that it must ask elsewhere for more. What it has sent meanwhile is still taken.
    async fn give_notice(&mut self) {
        self.leaving = Leaving::Noticed(Instant::now());
        // One that has only come has a request on its way, and would be told that none was taken.
        if self.next_stream > 0 {
            self.send_goaway(ON_THE_WAY).await;
        }
    }

    /// Tells the client that what it has begun may end, and that nothing more is taken.
    async fn say_goodbye(&mut self) {
        self.leaving = Leaving::Told(Instant::now());
        self.send_goaway(1).await;
    }

    /// Names the stream that stands so far behind the last one.
    async fn send_goaway(&mut self, behind: usize) {
        // A client that does not even take the goodbye has its time all the same.
        let _ = tokio::time::timeout(FAREWELL, self.connection.shutdown(behind)).await;
    }

    /// Takes a stream in.
    fn admit(&mut self, resolver: RequestResolver<Connection, Bytes>) {
        let id = resolver.frame_stream.id();
        let Some(aside) = self.asides.take(id) else { return };
        let id = id.into_inner();
        if matches!(self.leaving, Leaving::Told(_)) && id >= self.next_stream {
            // It was named in the goodbye as one that nobody looks at, so that it may be sent again.
            return stream::refuse(resolver, Code::H3_REQUEST_REJECTED);
        }
        self.next_stream = self.next_stream.max(id.saturating_add(STREAMS_APART));
        if self.streams.open() >= self.limits.max_streams.saturating_mul(2) {
            return stream::refuse(resolver, Code::H3_REQUEST_REJECTED);
        }
        let (client, tenant) = (Rc::clone(&self.client), self.streams.enter());
        drop(tokio::task::spawn_local(stream::serve(resolver, aside, client, tenant)));
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn code(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}
