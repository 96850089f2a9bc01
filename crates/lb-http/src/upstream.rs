//! A connection to a backend, used by one exchange at a time, from that exchange's own task.
//!
//! Between exchanges nobody reads it; the pool looks at it when it is taken out.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use lb_h1::{ResponseError, Upgrade};
use lb_health::is_local;

use crate::client::Client;
use crate::config::BackendProtocol;
use crate::multiplex::{Multiplex, Place};
use crate::proxy_protocol;
use crate::snapshot::Target;
use crate::socket;
use crate::tls::BackendTls;
use crate::transport::Transport;
use crate::worker::Worker;

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name has no address at present.
    #[error("backend {backend}: its name has no address at present")]
    Unresolved {
        /// The backend's URL.
        backend: Arc<str>,
    },
    /// No address accepted within `connect_timeout`, or what was left of the attempt's own deadline.
    #[error("backend {backend}: no connection within connect_timeout or attempt_timeout")]
    Timeout {
        /// The backend's URL.
        backend: Arc<str>,
    },
    /// There is a connection, but no TLS over it.
    #[error("backend {backend}: TLS: {reason}")]
    Tls {
        /// The backend's URL.
        backend: Arc<str>,
        /// What is wrong with its certificate or its TLS, in words.
        reason: String,
    },
    /// There is a connection of HTTP/2, on which nothing can become another protocol.
    #[error(
        "backend {backend}: it speaks HTTP/2 and does not take WebSocket there (it has not announced \
         SETTINGS_ENABLE_CONNECT_PROTOCOL); with `protocol = \"auto\"` or \"h1\" it is asked by HTTP/1.1"
    )]
    NoConnect {
        /// The backend's URL.
        backend: Arc<str>,
    },
    /// This machine has no descriptor, port or memory left for it.
    #[error("backend {backend}: this machine has nothing left to connect with: {source}")]
    Local {
        /// The backend's URL.
        backend: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused; the last address' error.
    #[error("backend {backend}: cannot connect: {source}")]
    Io {
        /// The backend's URL.
        backend: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a backend's answer never came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// The connection ended before a whole response head.
    #[error("backend {backend} closed the connection before answering")]
    Closed {
        /// The backend's URL.
        backend: Arc<str>,
    },
    /// The connection broke.
    #[error("backend {backend}: the connection broke before an answer: {source}")]
    Io {
        /// The backend's URL.
        backend: Arc<str>,
        /// What the system said.
        source: io::Error,
    },
    /// What came is not an HTTP response that can be passed on.
    #[error("backend {backend} sent a bad response head: {source}")]
    Malformed {
        /// The backend's URL.
        backend: Arc<str>,
        /// What is wrong.
        source: ResponseError,
    },
    /// Interim responses without end.
    #[error("backend {backend} sent more interim responses than are bearable")]
    TooManyInterim {
        /// The backend's URL.
        backend: Arc<str>,
    },
}

impl ConnectError {
    /// What the system's refusal means.
    pub(crate) fn of(backend: Arc<str>, source: io::Error) -> Self {
        if is_local(&source) { Self::Local { backend, source } } else { Self::Io { backend, source } }
    }
}

impl SendError {
    /// Whether the backend vouches for not having looked at the request.
    pub(crate) fn is_unprocessed(&self) -> bool {
        matches!(self, Self::Io { source, .. } if lb_h2::is_unprocessed(source))
    }
}

/// HTTP/1.1, as TLS agrees on it.
pub(crate) const HTTP1: &[u8] = b"http/1.1";

/// What a connection is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An exchange.
    Exchange,
    /// One that is to become another protocol: over HTTP/2 where the backend takes that (RFC 8441), or else over HTTP/1.1, if that is
    /// left to choose.
    Switch,
}

impl Purpose {
    /// Of a request that asks for this upgrade, by an extended CONNECT or otherwise.
    pub(crate) fn of(upgrade: Option<&Upgrade>, is_connect: bool, target: &Target) -> Self {
        match (upgrade, target.protocol) {
            (Some(_), BackendProtocol::Auto) => Self::Switch,
            // Any other upgrade may be passed over (RFC 9110 §7.8).
            (Some(upgrade), BackendProtocol::Http2) if is_connect || *upgrade == Upgrade::WebSocket => {
                Self::Switch
            }
            _ => Self::Exchange,
        }
    }
}

/// An open connection, idle or in the use of one exchange.
pub(crate) struct Connection {
    pub(crate) transport: Transport,
    reused: bool,
    requests: u32,
    created: Instant,
    /// Whether it speaks for one client alone.
    is_personal: bool,
    /// Where it is one of a connection's streams.
    place: Option<Place>,
}

impl Connection {
    /// Connects to a backend, for a client that is taken to be at this address; where it speaks HTTP/2, the connection is there for
    /// the worker's other exchanges too, and what is returned is a stream on it. Cancel-safe; the caller bounds the time.
    pub(crate) async fn to(
        target: &Target,
        client: &Client,
        address: IpAddr,
        purpose: Purpose,
    ) -> Result<Self, ConnectError> {
        if purpose == Purpose::Switch {
            return Box::pin(Self::to_switch(target, client, address)).await;
        }
        let opened = Self::plain(target, client, address, None).await?;
        match target.protocol {
            BackendProtocol::Http1 | BackendProtocol::Tcp => Ok(opened),
            BackendProtocol::Auto if !opened.speaks_http2() => Ok(opened),
            // Boxed, so that other requests need no room for it.
            BackendProtocol::Http2 | BackendProtocol::Auto => opened.multiplex(target, &client.worker),
        }
    }

    /// The same, on which the exchange can become another protocol.
    async fn to_switch(target: &Target, client: &Client, address: IpAddr) -> Result<Self, ConnectError> {
        let may_choose = target.protocol == BackendProtocol::Auto;
        if client.worker.pool.takes_connect(target.slot) != Some(false) {
            let opened = Self::plain(target, client, address, None).await?;
            if may_choose && !opened.speaks_http2() {
                return Ok(opened);
            }
            let stream = opened.multiplex(target, &client.worker)?;
            if let Some(place) = &stream.place {
                place.settled().await;
            }
            if stream.transport.takes_connect() {
                return Ok(stream);
            }
        }
        match may_choose {
            true => Self::plain(target, client, address, Some(HTTP1)).await,
            false => Err(ConnectError::NoConnect { backend: Arc::clone(&target.url) }),
        }
    }

    /// A connection, whatever is to be spoken on it; by TLS it is asked for `only`, where that is said.
    pub(crate) async fn plain(
        target: &Target,
        client: &Client,
        address: IpAddr,
        only: Option<&[u8]>,
    ) -> Result<Self, ConnectError> {
        match target.proxy_protocol {
            None => Self::open(target, &[], only).await,
            Some(version) => {
                let preamble = proxy_protocol::header(version, client.ends_as(address));
                let opened = Self::open(target, &preamble, only).await?;
                Ok(Self { is_personal: true, ..opened })
            }
        }
    }

    /// One that has just been opened.
    pub(crate) fn begun(transport: Transport) -> Self {
        let created = Instant::now();
        Self { transport, reused: false, requests: 0, created, is_personal: false, place: None }
    }

    /// Whether HTTP/2 has been agreed on by TLS.
    fn speaks_http2(&self) -> bool {
        self.transport.session().is_some_and(|session| session.alpn_protocol() == Some(b"h2"))
    }

    fn multiplex(self, target: &Target, worker: &Worker) -> Result<Self, ConnectError> {
        if self.transport.session().is_some() && !self.speaks_http2() {
            let reason = "it does not speak HTTP/2, which `protocol = \"h2\"` asks for".to_owned();
            return Err(ConnectError::Tls { backend: Arc::clone(&target.url), reason });
        }
        let mut multiplex = Multiplex::begin(self.transport, target.http2, self.created);
        let stream = Self::stream(&mut multiplex, self.created);
        worker.pool.share(target.slot, multiplex);
        Ok(stream)
    }

    /// A stream on a connection that is shared.
    pub(crate) fn stream(multiplex: &mut Multiplex, now: Instant) -> Self {
        let is_reused = multiplex.requests() > 0;
        let (transport, place) = multiplex.stream(now);
        Self {
            transport,
            reused: is_reused,
            requests: 0,
            created: now,
            is_personal: false,
            place: Some(place),
        }
    }

    /// Connects to the first address that accepts, and says the preamble ahead of everything else. Cancel-safe; the caller
    /// bounds the time.
    async fn open(target: &Target, preamble: &[u8], only: Option<&[u8]>) -> Result<Self, ConnectError> {
        let backend = &target.url;
        let mut last = None;
        for address in &*target.endpoint.addresses() {
            match socket::connect(*address).await {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    let mut transport = Transport::new(stream);
                    if !preamble.is_empty() {
                        transport
                            .say(preamble)
                            .await
                            .map_err(|source| ConnectError::Io { backend: Arc::clone(backend), source })?;
                    }
                    if let Some(tls) = target.tls.as_deref() {
                        // Boxed, so that a request in the clear needs no room for it.
                        Box::pin(secure(&mut transport, tls, backend, only)).await?;
                    }
                    return Ok(Self::begun(transport));
                }
                Err(error) => last = Some(error),
            }
        }
        let backend = Arc::clone(backend);
        Err(match last {
            Some(source) => ConnectError::of(backend, source),
            None => ConnectError::Unresolved { backend },
        })
    }

    /// Looks at an idle connection: false where the backend has closed it or sent something unasked.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.transport.inbox.is_empty() && self.transport.is_still()
    }

    /// Whether it has carried an exchange before this one, so that the backend may be closing it just now.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    /// Whether nobody else's request may go out on it.
    pub(crate) fn is_personal(&self) -> bool {
        self.is_personal
    }

    /// Nobody else's request may go out on it from now on.
    pub(crate) fn become_personal(&mut self) {
        self.is_personal = true;
    }

    pub(crate) fn mark_reused(&mut self) {
        self.reused = true;
    }

    /// One more request goes out on it.
    pub(crate) fn count_request(&mut self) {
        self.requests = self.requests.saturating_add(1);
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }
}

/// Speaks TLS over a connection to a backend, and remembers what is wrong with it.
async fn secure(
    transport: &mut Transport,
    tls: &BackendTls,
    backend: &Arc<str>,
    only: Option<&[u8]>,
) -> Result<(), ConnectError> {
    let shaken = match tls.tls.connect(only) {
        Ok(session) => {
            transport.secure(session);
            std::future::poll_fn(|cx| transport.poll_handshake(cx)).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match shaken {
        Ok(()) => {
            tls.succeeded();
            Ok(())
        }
        Err(reason) => {
            tls.failed(&reason);
            Err(ConnectError::Tls { backend: Arc::clone(backend), reason })
        }
    }
}
