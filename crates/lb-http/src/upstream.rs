//! A connection to a backend: connecting, sending one request, and carrying the answer's body.
//!
//! The connection is driven from the task of the exchange that uses it: no second task, no wake-up between two,
//! and the head and first piece of a small answer leave in one write. Between exchanges nobody drives it; the
//! pool looks at it when it is taken out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::ClientBody;

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The name has no address at present.
    #[error("backend {backend}: its name has no address at present")]
    Unresolved {
        /// The backend's URL.
        backend: Arc<str>,
    },
    /// No address accepted within `connect_timeout`.
    #[error("backend {backend}: no connection within connect_timeout")]
    Timeout {
        /// The backend's URL.
        backend: Arc<str>,
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
    #[error("backend {backend} closed the connection before answering: {source}")]
    Closed {
        /// The backend's URL.
        backend: Arc<str>,
        /// What happened.
        source: hyper::Error,
    },
    /// What came is not an HTTP response, or its head is larger than is bearable.
    #[error("backend {backend} sent a malformed response head: {source}")]
    Malformed {
        /// The backend's URL.
        backend: Arc<str>,
        /// What is wrong.
        source: hyper::Error,
    },
    /// The head is well-formed and not acceptable.
    #[error("backend {backend} sent an unacceptable response: {what}")]
    Unacceptable {
        /// The backend's URL.
        backend: Arc<str>,
        /// What of it.
        what: &'static str,
    },
}

/// What became of a request that was given to a connection.
pub(crate) enum Sent {
    /// The response head is here.
    Answered(Response<Incoming>),
    /// Nothing of the request was sent: it may go elsewhere whatever its method.
    Unsent(Request<ClientBody>),
    /// The connection failed with the request at least begun.
    Failed(hyper::Error),
}

/// An open connection, idle or in the use of one exchange.
pub(crate) struct Connection {
    sender: http1::SendRequest<ClientBody>,
    driver: http1::Connection<TokioIo<TcpStream>, ClientBody>,
    ended: bool,
    reused: bool,
    requests: u32,
    created: Instant,
}

impl Connection {
    /// Connects to the first address that accepts. Cancel-safe; the caller bounds the time.
    pub(crate) async fn open(
        backend: &Arc<str>,
        addresses: &[SocketAddr],
    ) -> Result<Box<Self>, ConnectError> {
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Self::start(stream).await.map_err(|source| io_error(backend, source)),
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(source) => io_error(backend, source),
            None => ConnectError::Unresolved { backend: Arc::clone(backend) },
        })
    }

    async fn start(stream: TcpStream) -> io::Result<Box<Self>> {
        stream.set_nodelay(true)?;
        let handshake = http1::Builder::new()
            .writev(false)
            .max_header_size(MAX_RESPONSE_HEAD)
            .max_headers(MAX_RESPONSE_FIELDS)
            .handshake(TokioIo::new(stream));
        let (sender, driver) = handshake.await.map_err(io::Error::other)?;
        let created = Instant::now();
        Ok(Box::new(Self { sender, driver, ended: false, reused: false, requests: 0, created }))
    }

    /// Sends a request and waits for the response head. Dropped before it is ready, the connection must be
    /// dropped too.
    pub(crate) async fn send(&mut self, request: Request<ClientBody>) -> Sent {
        self.requests = self.requests.saturating_add(1);
        let mut answer = pin!(self.sender.try_send_request(request));
        let (driver, ended) = (&mut self.driver, &mut self.ended);
        let result = std::future::poll_fn(|cx| {
            if !*ended && Pin::new(&mut *driver).poll(cx).is_ready() {
                *ended = true;
            }
            answer.as_mut().poll(cx)
        });
        match result.await {
            Ok(response) => Sent::Answered(response),
            Err(mut error) => match error.take_message() {
                Some(request) => Sent::Unsent(request),
                None => Sent::Failed(error.into_error()),
            },
        }
    }

    /// Lets the connection read and write while a body is awaited from it.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.ended && Pin::new(&mut self.driver).poll(cx).is_ready() {
            self.ended = true;
        }
    }

    /// Looks at an idle connection: false where the backend has closed it or sent something unasked.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_reusable()
    }

    /// Whether both directions of the last exchange are done and another may begin.
    pub(crate) fn is_reusable(&self) -> bool {
        !self.ended && self.sender.is_ready()
    }

    /// Whether it has carried an exchange before this one, so that the backend may be closing it just now.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(crate) fn mark_reused(&mut self) {
        self.reused = true;
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }
}

/// The largest response head that is accepted, in bytes (502 above).
const MAX_RESPONSE_HEAD: usize = 64 << 10;
/// The most fields of a response head (502 above).
const MAX_RESPONSE_FIELDS: usize = 200;

fn io_error(backend: &Arc<str>, source: io::Error) -> ConnectError {
    ConnectError::Io { backend: Arc::clone(backend), source }
}
