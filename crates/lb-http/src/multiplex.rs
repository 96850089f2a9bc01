//! HTTP/2 to a backend: one connection that the worker's exchanges share, each with a stream of its own.
//!
//! A stream looks like a connection of one exchange (`lb-h2`), so that attempts, retries and relays know no difference. The
//! connection's frames are read and written by a task of its own, which ends with the last stream once nobody holds the
//! connection any more, or when the backend closes it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use http::uri::Scheme;
use lb_h2::{BackendLimits, ClientStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::frames;
use crate::transport::Transport;

/// A connection to a backend that many exchanges share.
pub(crate) struct Multiplex {
    send: SendRequest<Bytes>,
    scheme: Scheme,
    streams: Rc<Cell<usize>>,
    /// Streams at once that we open, whatever the backend takes.
    max_streams: usize,
    settings: Rc<Settings>,
    requests: u32,
    created: Instant,
    /// When it was last given to an exchange.
    used: Instant,
}

/// A stream that is counted while it is in use.
pub(crate) struct Place {
    streams: Rc<Cell<usize>>,
    settings: Rc<Settings>,
}

impl Place {
    /// Ready once the backend has said what it takes, or can say no more.
    pub(crate) async fn settled(&self) {
        while !self.settings.are_here.get() {
            self.settings.came.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

/// Octets ahead of a frame's payload (RFC 9113 §4.1).
const FRAME_HEAD: usize = 9;

/// Whether the backend's settings have been read, which are the first frame of all (RFC 9113 §3.4).
#[derive(Default)]
struct Settings {
    /// The length of the first frame, as far as it is known.
    length: Cell<usize>,
    passed: Cell<usize>,
    are_here: Cell<bool>,
    came: Notify,
}

impl Settings {
    /// More is asked for, so that something has been made of all that came before.
    fn look(&self) {
        let passed = self.passed.get();
        if !self.are_here.get() && passed >= FRAME_HEAD && passed >= FRAME_HEAD + self.length.get() {
            self.come();
        }
    }

    /// These bytes are read.
    fn pass(&self, bytes: &[u8]) {
        if self.are_here.get() {
            return;
        }
        let first = bytes.iter().take(3_usize.saturating_sub(self.passed.get()));
        self.length.set(first.fold(self.length.get(), |length, byte| length << 8 | usize::from(*byte)));
        self.passed.set(self.passed.get().saturating_add(bytes.len()));
    }

    fn come(&self) {
        self.are_here.set(true);
        self.came.notify_waiters();
    }
}

impl Multiplex {
    /// Speaks HTTP/2 over a connection that has just been opened.
    pub(crate) async fn begin(transport: Transport, limits: BackendLimits, now: Instant) -> io::Result<Self> {
        let scheme = if transport.is_plain() { Scheme::HTTP } else { Scheme::HTTPS };
        let client = limits.client();
        let settings = Rc::<Settings>::default();
        let wire = Wire { transport, outbox: BytesMut::new(), settings: Rc::clone(&settings) };
        let io = BackendIo(Rc::new(RefCell::new(wire)));
        let (send, mut connection) =
            client.handshake::<_, Bytes>(io.clone()).await.map_err(io::Error::other)?;
        // It owns itself: what it ends by is known to its streams.
        drop(tokio::task::spawn_local(std::future::poll_fn(move |cx| {
            match Pin::new(&mut connection).poll(cx) {
                Poll::Pending if matches!(io.poll_send(cx), Poll::Ready(Err(_))) => Poll::Ready(()),
                polled => polled.map(drop),
            }
        })));
        let max_streams = limits.max_streams.map_or(usize::MAX, |most| most.get() as usize);
        Ok(Self {
            send,
            scheme,
            streams: Rc::default(),
            max_streams,
            settings,
            requests: 0,
            created: now,
            used: now,
        })
    }

    /// Whether another stream can be opened now; `None` where the connection is over.
    pub(crate) fn has_room(&mut self) -> Option<bool> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.send.poll_ready(&mut cx) {
            Poll::Ready(Err(_)) => None,
            Poll::Ready(Ok(())) => {
                Some(self.streams.get() < self.send.current_max_send_streams().min(self.max_streams))
            }
            Poll::Pending => Some(false),
        }
    }

    /// A stream on it.
    pub(crate) fn stream(&mut self, now: Instant) -> (Transport, Place) {
        self.streams.set(self.streams.get() + 1);
        self.requests = self.requests.saturating_add(1);
        self.used = now;
        let stream = ClientStream::new(self.send.clone(), self.scheme.clone());
        let (streams, settings) = (Rc::clone(&self.streams), Rc::clone(&self.settings));
        (Transport::asked(stream), Place { streams, settings })
    }

    /// Whether its streams may become another protocol (RFC 8441); `None` where the backend has not said.
    pub(crate) fn takes_connect(&self) -> Option<bool> {
        self.settings.are_here.get().then(|| self.send.is_extended_connect_protocol_enabled())
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.get()
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    pub(crate) fn used(&self) -> Instant {
        self.used
    }
}

/// A backend's transport as the `h2` crate reads and writes it. What it writes leaves with [`BackendIo::poll_send`].
#[derive(Clone)]
struct BackendIo(Rc<RefCell<Wire>>);

struct Wire {
    transport: Transport,
    outbox: BytesMut,
    settings: Rc<Settings>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.settings.come();
    }
}

impl BackendIo {
    /// Sends what has been written.
    fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Wire { transport, outbox, .. } = &mut *self.0.borrow_mut();
        frames::poll_send(cx, outbox, transport)
    }
}

impl AsyncRead for BackendIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Wire { transport, settings, .. } = &mut *self.0.borrow_mut();
        settings.look();
        let before = buffer.filled().len();
        ready!(transport.poll_read_buf(cx, buffer))?;
        settings.pass(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BackendIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Wire { transport, outbox, .. } = &mut *self.0.borrow_mut();
        frames::poll_gather(cx, outbox, transport, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// More may follow; the connection's task sends it all before it waits.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.0.borrow_mut().transport.poll_shutdown(cx)
    }
}
