//! A listener's UDP socket, and what comes in on it.
//!
//! One worker reads the socket and knows each connection by its identifiers, so that clients may change their address; the
//! connection itself, with its cryptography and its streams, goes to the worker that has the fewest. A socket a worker would need the
//! kernel to know identifiers: by addresses, which is all that `SO_REUSEPORT` looks at, a client that moves would be a stranger.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lb_tls::ServerTls;
use quinn::crypto::ServerConfig as Crypto;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};

use super::packets::{Packets, Reader};
use crate::config::ClientLimits;

/// Handshakes under way from which on clients must show that they are at the address they claim (RFC 9000 §8.1.2).
const UNPROVEN: usize = 64;
/// Streams one way that a client may open: three of HTTP/3's own, and others that it is told to stop.
const UNI_STREAMS: u32 = 8;
/// First packets that wait to be looked at, and bytes that come behind them.
const MAX_INCOMING: usize = 1024;
const INCOMING_BYTES: u64 = 8 << 20;
/// What of answers may wait for a client to acknowledge it, over all of a connection's streams.
const SEND_WINDOW: u64 = 1 << 20;
/// Bytes of a handshake that may come out of order.
const CRYPTO_BUFFER: usize = 16 << 10;
/// Who waits for an answer, or is a tunnel, may be silent for longer than a connection may: a packet is asked for at least so often.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One handshake that is counted while it is under way.
pub(crate) struct Handshake(Arc<AtomicUsize>);

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open endpoint.
pub(crate) struct Open {
    pub(crate) endpoint: Endpoint,
    socket: Arc<Reader>,
    config: ServerConfig,
    crypto: Arc<dyn Crypto>,
    handshakes: Arc<AtomicUsize>,
}

impl Open {
    /// Opens it; none where the listener's TLS cannot.
    pub(crate) async fn open(
        packets: Arc<Packets>,
        tls: &ServerTls,
        limits: &ClientLimits,
    ) -> io::Result<Self> {
        let crypto = tls.quic().ok_or(io::ErrorKind::Unsupported)?;
        let mut config = ServerConfig::new(Arc::clone(&crypto), packets.keys().token());
        config
            .transport_config(Arc::new(transport(limits)))
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size_total(INCOMING_BYTES);
        let mut endpoint = EndpointConfig::new(packets.keys().reset());
        let ids = Arc::clone(&packets);
        endpoint.cid_generator(move || Box::new(ids.identifiers()));
        let (socket, runtime) = (packets.open().await?, Arc::new(TokioRuntime));
        let endpoint = Endpoint::new_with_abstract_socket(
            endpoint,
            Some(config.clone()),
            Arc::<Reader>::clone(&socket),
            runtime,
        )?;
        Ok(Self { endpoint, socket, config, crypto, handshakes: Arc::default() })
    }

    /// What is left of it once it takes no more connections.
    pub(crate) fn retiring(&self) -> Retiring {
        Retiring { endpoint: self.endpoint.clone(), socket: Arc::clone(&self.socket) }
    }

    /// What the next connection begins with: the certificates and bounds that hold now.
    pub(crate) fn config(&mut self, tls: &ServerTls, limits: &ClientLimits) -> Option<Arc<ServerConfig>> {
        let crypto = tls.quic()?;
        if !Arc::ptr_eq(&self.crypto, &crypto) {
            // Tokens that were given out stay good.
            self.config.crypto = Arc::clone(&crypto);
            self.crypto = crypto;
        }
        self.config.transport_config(Arc::new(transport(limits)));
        Some(Arc::new(self.config.clone()))
    }

    /// The address that a packet was sent to: the socket's own may stand for all of the machine's.
    pub(crate) fn destination(&self, ip: Option<IpAddr>) -> Option<SocketAddr> {
        let own = self.endpoint.local_addr().ok()?;
        Some(SocketAddr::new(ip.unwrap_or(own.ip()).to_canonical(), own.port()))
    }

    /// Whether who comes next must show its address first.
    pub(crate) fn is_pressed(&self) -> bool {
        self.handshakes.load(Ordering::Relaxed) >= UNPROVEN
    }

    /// One more handshake is under way.
    pub(crate) fn handshake(&self) -> Handshake {
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        Handshake(Arc::clone(&self.handshakes))
    }
}

/// An endpoint that is to take no more connections.
pub(crate) struct Retiring {
    endpoint: Endpoint,
    socket: Arc<Reader>,
}

impl Retiring {
    /// Leaves the socket to the next process, where there is one, and refuses who comes all the same.
    pub(crate) fn begin(&self) {
        self.socket.leave();
        self.endpoint.set_server_config(None);
    }

    /// Waits for the last connection, here and in the process before.
    pub(crate) async fn ended(self) {
        self.endpoint.wait_idle().await;
        self.socket.before_ended().await;
    }
}

fn transport(limits: &ClientLimits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    let Some(http3) = limits.http3 else { return transport };
    let idle = IdleTimeout::try_from(limits.keep_alive_timeout).ok();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(http3.max_streams))
        .max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS))
        .stream_receive_window(VarInt::from_u32(http3.stream_window))
        .receive_window(VarInt::from_u32(http3.connection_window))
        .send_window(SEND_WINDOW)
        .crypto_buffer_size(CRYPTO_BUFFER)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE.min(limits.keep_alive_timeout / 3)))
        .max_idle_timeout(idle);
    transport
}
