//! HTTP/3 with a client: one task for the connection, and one for each of its streams, as with HTTP/2.
//!
//! quinn speaks QUIC and `h3` its frames; a stream is to the exchange a connection of one request (`stream.rs`). The
//! connection belongs to one worker, whichever took the endpoint's packets in (`endpoint.rs`), and to a client that may change
//! its address meanwhile: it is counted, and told to backends, under the one that it came from.
//!
//! Dropping the connection's future closes it and breaks its streams off, as if the client had left.

pub(crate) mod endpoint;
mod frames;
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
/// What a head may be in fields, beyond which nobody reads it: what is within, and too large, is told so by the exchange.
const HEAD_ROOM: usize = 4;

/// A connection on its way to the worker that serves it.
pub(crate) struct Arrival {
    pub(crate) incoming: Incoming,
    pub(crate) config: std::sync::Arc<ServerConfig>,
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
    let mut server = Server { connection, asides, client, streams, limits, leaving_since: None };
    if server.run().await == Over::Restless {
        quic.close(code(Code::H3_EXCESSIVE_LOAD), b"");
    }
}

/// The handshake, within its time, and counted however it ends.
async fn shake_hands(arrival: Arrival, client: &Client) -> Option<quinn::Connection> {
    let Arrival { incoming, config, handshake } = arrival;
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
    leaving_since: Option<Instant>,
}

impl Server {
    async fn run(&mut self) -> Over {
        let mut idle_since = Instant::now();
        let gate = Rc::clone(&self.client.listener.gate);
        loop {
            let (streams, were_open) = (Rc::clone(&self.streams), self.streams.are_open());
            let deadline = match (were_open, self.leaving_since) {
                (true, _) => None,
                (false, None) => Some(idle_since + self.client.listener.config.limits.keep_alive_timeout),
                (false, Some(since)) => Some(since.max(idle_since) + FAREWELL),
            };
            tokio::select! {
                biased;
                () = gate.leaving(), if self.leaving_since.is_none() => self.leave().await,
                () = streams.changed(were_open) => {
                    if streams.is_restless() {
                        return Over::Restless;
                    }
                    idle_since = Instant::now();
                }
                () = at(deadline) => match self.leaving_since {
                    None => self.leave().await,
                    Some(_) => return Over::Ended,
                },
                accepted = self.connection.accept() => match accepted {
                    Ok(Some(resolver)) => self.admit(resolver),
                    Ok(None) | Err(_) => return Over::Ended,
                },
            }
        }
    }

    /// Tells the client that what it has begun may end, and that it must ask elsewhere for more.
    async fn leave(&mut self) {
        self.leaving_since = Some(Instant::now());
        // A client that does not even take the goodbye has its time all the same.
        let _ = tokio::time::timeout(FAREWELL, self.connection.shutdown(0)).await;
    }

    /// Takes a stream in.
    fn admit(&self, resolver: RequestResolver<Connection, Bytes>) {
        let Some(aside) = self.asides.take(resolver.frame_stream.id()) else { return };
        if self.streams.open() >= self.limits.max_streams.saturating_mul(2) {
            return;
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
