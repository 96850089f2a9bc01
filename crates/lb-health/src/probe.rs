//! One probe of one backend: up to `tries` tries, each within `timeout`, good as soon as one of them is.

mod grpc;
mod http;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::config::{HealthConfig, HealthConfigError, ProbeConfig, ProbeKind};
use crate::expect::StatusSet;
use http::Question;

/// Between two tries of one probe: time for a backend that is being restarted to listen again.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// A backend to be watched: what it is configured with, and where its probes go.
#[derive(Debug, Clone, Default)]
pub struct Watched {
    /// How it is watched.
    pub config: HealthConfig,
    /// Where probes go; needed where there are any.
    pub target: Option<ProbeTarget>,
}

impl Watched {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), HealthConfigError> {
        match (&self.config.probe, &self.target) {
            (Some(_), None) => Err(HealthConfigError::NoTarget),
            _ => self.config.check(),
        }
    }
}

impl From<HealthConfig> for Watched {
    fn from(config: HealthConfig) -> Self {
        Self { config, target: None }
    }
}

/// Where a backend's probes go.
#[derive(Clone)]
pub struct ProbeTarget {
    /// Its host and port as a Host field has them.
    pub authority: String,
    /// Path of its URL without a trailing slash; empty for none.
    pub base_path: String,
    /// Asked at each try, so that probes follow what the name stands for by then.
    pub addresses: Arc<Addresses>,
    /// Speaks TLS over a connection; `None` where probes go in the clear.
    pub secure: Option<Arc<Secure>>,
    /// Said ahead of everything on each connection, TLS too; mostly nothing.
    pub preamble: Vec<u8>,
}

/// Speaks TLS over an open connection, in which the protocol is offered (ALPN). An error says in words what is wrong with
/// the backend's certificate or its TLS.
pub type Secure = dyn Fn(TcpStream, ProbeProtocol) -> Securing + Send + Sync;

/// See [`Secure`].
pub type Securing = Pin<Box<dyn Future<Output = io::Result<Box<dyn ProbeStream>>> + Send>>;

/// What a probe speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection for a probe.
pub trait ProbeStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ProbeStream for S {}

/// The addresses a backend has at present, to be tried in order; empty while its name leads nowhere.
pub type Addresses = dyn Fn() -> Arc<Vec<SocketAddr>> + Send + Sync;

impl std::fmt::Debug for ProbeTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { authority, base_path, addresses: _, secure, preamble: _ } = self;
        f.debug_struct("ProbeTarget")
            .field("authority", authority)
            .field("base_path", base_path)
            .field("is_secure", &secure.is_some())
            .finish_non_exhaustive()
    }
}

/// Why a try was bad.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// This machine is short of something; the backend may be as well as ever.
    #[error("cannot probe: {0}")]
    Local(#[source] io::Error),
    #[error("its name has no address at present")]
    Unresolved,
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    #[error("the connection ended in the middle of the answer")]
    Ended,
    #[error("what came is no answer to a probe: {0}")]
    Malformed(&'static str),
    #[error("the answer is larger than {} KiB", .0 >> 10)]
    TooLarge(usize),
    #[error("{0}")]
    Grpc(String),
    #[error("status {status}, expected {expected}")]
    Status { status: u16, expected: StatusSet },
}

/// The connection on which one backend's probes are made, where they keep one.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<(SocketAddr, Connected)>>);

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Of a backend that is still there: a name may lead elsewhere by now.
    fn take(&self, addresses: &[SocketAddr]) -> Option<(SocketAddr, Connected)> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.filter(|(address, _)| addresses.contains(address))
    }

    fn put(&self, address: SocketAddr, connection: Connected) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, connection));
    }
}

/// Probes once. Dropping the future at any time is safe; its connection is closed.
pub(crate) async fn probe(watched: &Watched, kept: &Kept) -> Result<(), ProbeError> {
    let Watched { config: HealthConfig { probe: Some(config), .. }, target: Some(target) } = watched else {
        return Ok(());
    };
    let mut tries = 1;
    loop {
        let result = match tokio::time::timeout(config.timeout, once(config, target, kept)).await {
            Ok(result) => result,
            Err(_) => Err(ProbeError::Timeout(config.timeout)),
        };
        if result.is_ok() || tries >= config.tries.get() {
            return result;
        }
        tries += 1;
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn once(config: &ProbeConfig, target: &ProbeTarget, kept: &Kept) -> Result<(), ProbeError> {
    let addresses = (target.addresses)();
    match &config.kind {
        ProbeKind::Tcp => connect(&addresses, target).await.map(drop),
        ProbeKind::Grpc { service, host } => {
            // Boxed, so that the others' futures are not as large as this one.
            let host = host.as_deref().unwrap_or(&target.authority);
            let (_, stream) = connect(&addresses, target).await?;
            match secured(stream, target, ProbeProtocol::Http2).await? {
                Connected::Plain(stream) => Box::pin(grpc::probe(stream, "http", host, service)).await,
                Connected::Tls(stream) => Box::pin(grpc::probe(stream, "https", host, service)).await,
            }
        }
        ProbeKind::Http { path, host, expect } => {
            let question = Question {
                host: host.as_deref().unwrap_or(&target.authority),
                target: &format!("{}{path}", target.base_path),
                expect,
                keep_alive: config.keep_alive,
            };
            if config.keep_alive
                && let Some((address, mut connection)) = kept.take(&addresses)
            {
                match connection.ask(question).await {
                    Ok(true) => {
                        kept.put(address, connection);
                        return Ok(());
                    }
                    // Servers close what is idle for long, which says nothing of their health.
                    Err(ProbeError::Broken(_) | ProbeError::Ended) => {}
                    other => return other.map(drop),
                }
            }
            let (address, stream) = connect(&addresses, target).await?;
            let mut connection = secured(stream, target, ProbeProtocol::Http1).await?;
            if connection.ask(question).await? {
                kept.put(address, connection);
            } else {
                connection.reset();
            }
            Ok(())
        }
    }
}

/// A connection that can be asked on.
enum Connected {
    Plain(TcpStream),
    Tls(Box<dyn ProbeStream>),
}

impl Connected {
    async fn ask(&mut self, question: Question<'_>) -> Result<bool, ProbeError> {
        match self {
            Self::Plain(stream) => http::probe(stream, question).await,
            Self::Tls(stream) => http::probe(stream, question).await,
        }
    }

    /// Ends a connection on which all has been said, as the backend was told or has told: a reset spares both sides the packets of a
    /// long farewell, and this machine the minute that it would remember each one.
    fn reset(self) {
        if let Self::Plain(stream) = self {
            let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
        }
    }
}

async fn secured(
    stream: TcpStream,
    target: &ProbeTarget,
    protocol: ProbeProtocol,
) -> Result<Connected, ProbeError> {
    match &target.secure {
        None => Ok(Connected::Plain(stream)),
        Some(secure) => secure(stream, protocol).await.map(Connected::Tls).map_err(ProbeError::Tls),
    }
}

/// Connects to the first address that accepts, as requests do, and says what is to be said first.
async fn connect(
    addresses: &[SocketAddr],
    target: &ProbeTarget,
) -> Result<(SocketAddr, TcpStream), ProbeError> {
    let mut error = ProbeError::Unresolved;
    for address in addresses {
        match open(*address).await {
            Ok(mut stream) => {
                if !target.preamble.is_empty() {
                    stream.write_all(&target.preamble).await.map_err(ProbeError::Broken)?;
                }
                return Ok((*address, stream));
            }
            Err(failed) if is_local(&failed) => error = ProbeError::Local(failed),
            Err(failed) => error = ProbeError::Connect(failed),
        }
    }
    Err(error)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // The request carries the handshake's last acknowledgement (tcp(7)): a packet less, and the backend is woken once.
    let _ = rustix::net::sockopt::set_tcp_quickack(&socket, false);
    socket.connect(address).await
}

/// Whether a failed connect is this machine's own trouble: no descriptors, ports or memory left (connect(2), socket(2)).
#[must_use]
pub fn is_local(error: &io::Error) -> bool {
    const EMFILE_AND_THE_LIKE: [i32; 4] = [12, 23, 24, 105];
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || error.raw_os_error().is_some_and(|code| EMFILE_AND_THE_LIKE.contains(&code))
}
