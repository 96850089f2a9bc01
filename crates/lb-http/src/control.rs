//! A small HTTP server for the control side: the admin address and the echo backends of demo and trials.
//!
//! Not the data path: it runs on the control runtime, one task a connection, and favours plain code over speed.

mod patience;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lb_tls::{ServerTls, TlsError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior};

use self::patience::Patient;
use crate::config::ListenerTls;

/// Connections served at once on one address.
const MAX_CONNECTIONS: usize = 4096;
/// From the first byte of a head to its last.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long accepting rests when no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a client may take nothing of what is written to it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two pieces of a request's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// The most of a request body that a handler is shown; the rest is read and counted.
const MAX_KEPT_BODY: usize = 1 << 20;

/// A request with its body read.
#[derive(Debug)]
pub struct ControlRequest {
    /// The head.
    pub head: request::Parts,
    /// The first mebibyte of the body.
    pub body: Bytes,
    /// How long the body was.
    pub body_bytes: u64,
    /// Who sent it.
    pub peer: SocketAddr,
    /// Whose certificate its connection has shown (RFC 4514), where that is asked for.
    pub subject: Option<Arc<str>>,
}

/// The TLS of an address.
#[derive(Debug, Clone)]
pub struct Secured {
    tls: Arc<ServerTls>,
    handshake_timeout: Duration,
}

impl Secured {
    /// Reads its files.
    ///
    /// # Errors
    /// Which one is wrong, and how to mend it.
    pub fn new(config: &ListenerTls) -> Result<Self, TlsError> {
        // What an operator should know of them was said when the configuration was read.
        let (tls, _) = ServerTls::new(config.options.clone(), None)?;
        Ok(Self { tls: Arc::new(tls), handshake_timeout: config.handshake_timeout })
    }

    /// Takes up files that change, for as long as it is polled.
    pub async fn follow_files(self, name: &'static str) {
        crate::tls::follow_files(name, &self.tls).await;
    }
}

/// A response body: what is there, a number of filler bytes that need no memory, or one that goes on.
#[derive(Debug)]
pub enum ControlBody {
    /// These bytes.
    Full(Bytes),
    /// So many bytes of filler.
    Filler(u64),
    /// A piece now and then, until there is none or the client leaves.
    Periodic(Periodic),
}

/// Makes a body's pieces when they are due.
///
/// A piece is made when the client has taken those before it, so one that reads slowly gets fewer pieces, not older ones, and
/// nothing piles up; one that reads nothing is cut off.
pub struct Periodic {
    interval: Interval,
    next: Box<dyn FnMut() -> Option<Bytes> + Send + Sync>,
}

impl ControlBody {
    /// A body of which `next` makes a piece now and one each `period`, until it makes none.
    pub fn periodic(period: Duration, next: impl FnMut() -> Option<Bytes> + Send + Sync + 'static) -> Self {
        let mut interval = tokio::time::interval(period);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Periodic(Periodic { interval, next: Box::new(next) })
    }
}

impl std::fmt::Debug for Periodic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Periodic").field("period", &self.interval.period()).finish_non_exhaustive()
    }
}

impl From<Bytes> for ControlBody {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

/// Serves an address until the future is dropped.
pub async fn serve<H, F>(listener: TcpListener, secured: Option<Secured>, handler: H)
where
    H: Fn(ControlRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ControlBody>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (handler, secured) = (Arc::clone(&handler), secured.clone());
                tokio::spawn(async move {
                    let _ = stream.set_nodelay(true);
                    match secured {
                        None => connection(stream, peer, None, handler).await,
                        Some(secured) => secure_connection(stream, peer, &secured, handler).await,
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a control connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn secure_connection<H, F>(stream: TcpStream, peer: SocketAddr, secured: &Secured, handler: Arc<H>)
where
    H: Fn(ControlRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ControlBody>> + Send + 'static,
{
    let shaken = tokio::time::timeout(secured.handshake_timeout, secured.tls.wrap(stream)).await;
    match shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok((stream, certificate)) => {
            // One that has been believed is somebody's, also where its subject is empty.
            let subject = certificate.map(|it| lb_tls::subject(&it).unwrap_or_default().into());
            connection(stream, peer, subject, handler).await;
        }
        Err(error) => tracing::debug!(%peer, %error, "no TLS on a control connection"),
    }
}

async fn connection<S, H, F>(stream: S, peer: SocketAddr, subject: Option<Arc<str>>, handler: Arc<H>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(ControlRequest) -> F + Send + Sync + 'static,
    F: Future<Output = Response<ControlBody>> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, subject) = (Arc::clone(&handler), subject.clone());
        async move { Ok::<_, Infallible>(answer(&*handler, request, peer, subject).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(Patient::new(stream, WRITE_TIMEOUT)), service);
    if let Err(error) = served.await {
        tracing::debug!(%peer, %error, "control connection ended");
    }
}

async fn answer<H, F>(
    handler: &H,
    request: Request<Incoming>,
    peer: SocketAddr,
    subject: Option<Arc<str>>,
) -> Response<ControlBody>
where
    H: Fn(ControlRequest) -> F,
    F: Future<Output = Response<ControlBody>>,
{
    let (head, mut incoming) = request.into_parts();
    let (mut kept, mut body_bytes) = (Vec::new(), 0);
    loop {
        // Half a request is not acted on.
        let frame = match tokio::time::timeout(BODY_TIMEOUT, incoming.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => break,
            Ok(Some(Err(_))) => return unread(StatusCode::BAD_REQUEST),
            Err(_) => return unread(StatusCode::REQUEST_TIMEOUT),
        };
        if let Some(piece) = frame.data_ref() {
            body_bytes += piece.len() as u64;
            let room = MAX_KEPT_BODY - kept.len();
            kept.extend(piece.iter().take(room));
        }
    }
    handler(ControlRequest { head, body: Bytes::from(kept), body_bytes, peer, subject }).await
}

/// The answer to a request whose body does not come.
fn unread(status: StatusCode) -> Response<ControlBody> {
    let mut response = Response::new(ControlBody::from(Bytes::new()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Body for ControlBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static FILLER: [u8; 64 << 10] = [b'x'; 64 << 10];
        let piece = match &mut *self {
            Self::Full(bytes) => std::mem::take(bytes),
            Self::Filler(left) => {
                let size = (*left).min(FILLER.len() as u64);
                *left -= size;
                Bytes::from_static(
                    FILLER.get(..usize::try_from(size).unwrap_or_default()).unwrap_or_default(),
                )
            }
            Self::Periodic(Periodic { interval, next }) => {
                std::task::ready!(interval.poll_tick(cx));
                return Poll::Ready(next().map(|piece| Ok(Frame::data(piece))));
            }
        };
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl ControlBody {
    /// How much is to come, where that is known.
    fn left(&self) -> Option<u64> {
        match self {
            Self::Full(bytes) => Some(bytes.len() as u64),
            Self::Filler(left) => Some(*left),
            Self::Periodic(_) => None,
        }
    }
}
