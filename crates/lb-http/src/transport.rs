//! A socket and the bytes that have been received from it and not used yet; or, in the socket's stead, one stream of an
//! HTTP/2 connection, which `lb-h2` makes look like one.
//!
//! Reading goes through the worker's one large buffer, so that a connection owns memory only for bytes that are
//! pending: an idle one owns next to none, and a long body passes through without being gathered.
//!
//! Nothing here waits by itself; dropping a future that polls it loses nothing but the socket.

mod stream;
mod trailers;

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use lb_h1::{Asked, HeadLimits, ResponseHead};
use lb_h2::{ClientStream, ServerStream};
use lb_tls::{HandshakeError, Session};
use rustix::net::{SendFlags, send};
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::{AsyncWrite, DuplexStream, Interest};
use tokio::net::TcpStream;

use self::stream::Stream;
pub(crate) use self::trailers::{Ends, FarEnds};
use crate::socket;

/// A worker's reading buffer. Small enough to stay in a core's cache, large enough for bulk.
pub(crate) const SCRATCH: usize = 64 << 10;

/// How much of a message is read while its head is awaited. What follows is bulk, which had better not be copied.
pub(crate) const HEAD_READ: usize = 8 << 10;
/// How much may be pending for a peer before it is sent without waiting for more to join it.
pub(crate) const BATCH: usize = 16 << 10;

const SPLICE: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// Steps that a body takes before other connections have their turn: a mebibyte that is read, four that are spliced, and
/// as much less as it is cheaper to send than to read, as chunks of one byte are.
pub(crate) const TURN: u32 = 16;

/// A connection, a client's or a backend's, in the clear or by TLS.
pub(crate) struct Transport {
    stream: Stream,
    /// Boxed, so that a connection without it has room for a pointer alone.
    tls: Option<Box<Session>>,
    pub(crate) inbox: BytesMut,
}

impl Transport {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Tcp(stream), tls: None, inbox: BytesMut::new() }
    }

    /// Writes all of these bytes, ahead of anything that is to be encrypted.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = BytesMut::from(bytes);
        std::future::poll_fn(|cx| self.poll_flush(cx, &mut left)).await
    }

    /// A client's stream of HTTP/2, and what is to be read ahead of its request's body.
    pub(crate) fn served(stream: ServerStream, inbox: BytesMut) -> Self {
        Self { stream: Stream::Served(Box::new(stream)), tls: None, inbox }
    }

    /// A client's stream that takes the answer's head as it is, in the place of its bytes.
    pub(crate) fn answered(&mut self) -> Option<&mut ServerStream> {
        match &mut self.stream {
            Stream::Served(stream) => Some(&mut **stream).filter(|stream| stream.takes_head()),
            _ => None,
        }
    }

    /// A stream to a backend that takes the request's head as it is, in the place of its bytes.
    pub(crate) fn opened(&mut self) -> Option<&mut ClientStream> {
        match &mut self.stream {
            Stream::Asked(stream) => Some(stream),
            _ => None,
        }
    }

    /// A backend's head that comes as it is, where nothing has come as bytes; `None` where bytes are to be read.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        asked: Asked<'_>,
    ) -> Poll<Option<ResponseHead>> {
        match &mut self.stream {
            Stream::Asked(stream) if self.inbox.is_empty() => stream.poll_head(cx, limits, asked),
            _ => Poll::Ready(None),
        }
    }

    /// The near end of a pipe to a client's stream of HTTP/3, whose request's head has been read. `is_connect` where the client
    /// waits for the consent to speak another protocol.
    pub(crate) fn piped(pipe: DuplexStream, head: BytesMut, is_connect: bool, ends: Rc<Ends>) -> Self {
        Self { stream: Stream::Piped { pipe, is_connect, ends }, tls: None, inbox: head }
    }

    /// A stream of HTTP/2 to a backend.
    pub(crate) fn asked(stream: ClientStream) -> Self {
        Self { stream: Stream::Asked(Box::new(stream)), tls: None, inbox: BytesMut::new() }
    }

    /// Whether it is one of many streams of a connection.
    pub(crate) fn is_multiplexed(&self) -> bool {
        self.stream.socket().is_err()
    }

    /// Whether a client waits for the consent to speak another protocol, and would take any success for it.
    pub(crate) fn is_connect(&self) -> bool {
        match &self.stream {
            Stream::Served(stream) => stream.is_connect(),
            Stream::Piped { is_connect, .. } => *is_connect,
            Stream::Tcp(_) | Stream::Asked(_) => false,
        }
    }

    /// Whether what it carries may become another protocol: a connection of its own may, and a stream where the backend has said so.
    pub(crate) fn takes_connect(&self) -> bool {
        match &self.stream {
            Stream::Asked(stream) => stream.takes_connect(),
            Stream::Tcp(_) | Stream::Served(_) | Stream::Piped { .. } => true,
        }
    }

    /// Ready once the peer has reset its stream, also behind its end. Of other connections it is not told.
    pub(crate) fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<()> {
        match &mut self.stream {
            Stream::Served(stream) => stream.poll_reset(cx),
            Stream::Asked(stream) => stream.poll_reset(cx),
            Stream::Tcp(_) | Stream::Piped { .. } => Poll::Pending,
        }
    }

    /// Whether a client has reset its stream.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(&self.stream, Stream::Served(stream) if stream.is_reset())
    }

    /// Speaks TLS from now on; the handshake comes first, with what has been read already.
    pub(crate) fn secure(&mut self, mut session: Session) {
        if !self.inbox.is_empty() {
            session.feed(&std::mem::take(&mut self.inbox));
        }
        self.tls = Some(Box::new(session));
    }

    /// Runs the handshake, where there is TLS.
    pub(crate) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HandshakeError>> {
        match &mut self.tls {
            None => Poll::Ready(Ok(())),
            Some(session) => session.poll_handshake(cx, &mut self.stream),
        }
    }

    /// Whether the peer has broken the connection off. That it has merely ended its side is not told.
    pub(crate) fn is_broken(&self) -> bool {
        self.stream.socket().is_ok_and(|socket| !matches!(socket.take_error(), Ok(None)))
    }

    /// Goes on in the clear with a peer that has never spoken TLS.
    pub(crate) fn give_tls_up(&mut self) {
        self.tls = None;
    }

    /// What is known of the TLS, where there is any.
    pub(crate) fn session(&self) -> Option<&Session> {
        self.tls.as_deref()
    }

    /// Whether bytes may pass the kernel's way, unseen.
    pub(crate) fn is_plain(&self) -> bool {
        self.tls.is_none() && !self.is_multiplexed()
    }

    /// What has been taken for the peer and the socket has not taken yet, or its window has no room for.
    pub(crate) fn backlog(&self) -> usize {
        self.tls.as_ref().map_or_else(|| self.stream.backlog(), |session| session.backlog())
    }

    /// Whether [`poll_fill_frames`](Self::poll_fill_frames) may spare a copy.
    pub(crate) fn fills_frames_of(&self, client: &Self) -> bool {
        self.is_plain() && matches!(client.stream, Stream::Served(_))
    }

    /// Reads what is there into the frames of a client's stream, where the body that comes has a length and nothing of it waits; `None`
    /// where it has to be read and written. 0 is the end.
    ///
    /// The outer error is the client's, who has gone.
    pub(crate) fn poll_fill_frames(
        &self,
        cx: &mut Context<'_>,
        client: &mut Self,
    ) -> Option<Poll<io::Result<io::Result<usize>>>> {
        let Stream::Served(stream) = &mut client.stream else { return None };
        let socket = self.stream.socket().ok().filter(|_| self.tls.is_none())?;
        stream.poll_fill(cx, |cx, pieces| socket::poll_readv(socket, cx, pieces))
    }

    /// Whether the peer of an idle connection has kept still: neither closed it nor sent anything.
    pub(crate) fn is_still(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        match &mut self.tls {
            None => self.poll_read(&mut cx, &mut [0; 1]).is_pending(),
            Some(session) => session.is_still(&mut cx, &mut self.stream),
        }
    }

    /// Tells a peer by TLS that all has been said, so that it can tell the end from a loss; as far as that can be sent at
    /// once.
    pub(crate) fn say_goodbye(&mut self) {
        if let Some(session) = &mut self.tls {
            session.close();
            let _ = session.poll_flush(&mut Context::from_waker(Waker::noop()), &mut self.stream);
        }
    }

    /// Reads what is there into `scratch`; 0 is the end.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(session) = &mut self.tls {
            return session.poll_read(cx, &mut self.stream, scratch);
        }
        self.stream.poll_recv(cx, scratch)
    }

    /// Reads the beginning of what is there and keeps it in the inbox; 0 is the end.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(session) = &mut self.tls {
            return session.poll_append(cx, &mut self.stream, HEAD_READ, &mut self.inbox);
        }
        let scratch = scratch.get_mut(..HEAD_READ).unwrap_or_default();
        let count = ready!(self.poll_read(cx, scratch))?;
        self.inbox.extend_from_slice(scratch.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }

    /// Writes some of these bytes.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.tls {
            None => self.stream.poll_send(cx, bytes),
            Some(session) => session.poll_write(cx, &mut self.stream, bytes),
        }
    }

    /// Writes what is pending and then `piece`, in one go; what the socket does not take is pending after that.
    pub(crate) fn poll_write_after(
        &mut self,
        cx: &mut Context<'_>,
        pending: &mut BytesMut,
        piece: &[u8],
    ) -> io::Result<()> {
        if pending.is_empty() && self.is_multiplexed() {
            return self.write_all_of(cx, pending, piece);
        }
        if self.tls.is_some() && !pending.is_empty() {
            return self.write_joined(cx, pending, piece);
        }
        let written = if pending.is_empty() {
            self.poll_write(cx, piece)
        } else {
            Pin::new(&mut self.stream).poll_write_vectored(cx, &[IoSlice::new(pending), IoSlice::new(piece)])
        };
        let written = match written {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        let (of_pending, of_piece) = (written.min(pending.len()), written.saturating_sub(pending.len()));
        pending.advance(of_pending);
        pending.extend_from_slice(piece.get(of_piece..).unwrap_or_default());
        Ok(())
    }

    /// The same on a stream of HTTP/2, which takes a long piece bit by bit: what it takes at once need not be pending first.
    fn write_all_of(&mut self, cx: &mut Context<'_>, pending: &mut BytesMut, piece: &[u8]) -> io::Result<()> {
        let mut left = piece;
        while !left.is_empty() {
            match self.poll_write(cx, left) {
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(written) => left = left.get(written?..).unwrap_or_default(),
            }
        }
        pending.extend_from_slice(left);
        Ok(())
    }

    /// The same by TLS, where both had better be in one record.
    fn write_joined(&mut self, cx: &mut Context<'_>, pending: &mut BytesMut, piece: &[u8]) -> io::Result<()> {
        pending.extend_from_slice(piece);
        while !pending.is_empty() {
            match self.poll_write(cx, pending) {
                Poll::Ready(written) => pending.advance(written?),
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Writes all that is pending.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        pending: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        while !pending.is_empty() {
            let count = ready!(self.poll_write(cx, pending))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            pending.advance(count);
        }
        match &mut self.tls {
            None => Pin::new(&mut self.stream).poll_flush(cx),
            Some(session) => session.poll_flush(cx, &mut self.stream),
        }
    }

    /// Writes all that is pending ahead of bulk, with which the system may let it leave in one packet.
    pub(crate) fn poll_flush_ahead(
        &mut self,
        cx: &mut Context<'_>,
        pending: &mut BytesMut,
    ) -> Poll<io::Result<()>> {
        if !self.is_plain() {
            return self.poll_flush(cx, pending);
        }
        let socket = self.stream.socket()?;
        while !pending.is_empty() {
            ready!(socket.poll_write_ready(cx))?;
            match socket.try_io(Interest::WRITABLE, || {
                Ok(send(socket, pending, SendFlags::MORE | SendFlags::NOSIGNAL)?)
            }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => pending.advance(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Moves up to `limit` bytes of what is there into a pipe that has room for them; 0 is the end.
    pub(crate) fn poll_splice_to(
        &self,
        cx: &mut Context<'_>,
        pipe: &OwnedFd,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = self.stream.socket()?;
        loop {
            ready!(socket.poll_read_ready(cx))?;
            let moved =
                socket.try_io(Interest::READABLE, || Ok(splice(socket, None, pipe, None, limit, SPLICE)?));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Sends some of what is in a pipe, which holds at least `held` bytes.
    pub(crate) fn poll_splice_from(
        &self,
        cx: &mut Context<'_>,
        pipe: &OwnedFd,
        held: usize,
    ) -> Poll<io::Result<usize>> {
        let socket = self.stream.socket()?;
        loop {
            ready!(socket.poll_write_ready(cx))?;
            let moved =
                socket.try_io(Interest::WRITABLE, || Ok(splice(pipe, None, socket, None, held, SPLICE)?));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => return Poll::Ready(moved),
            }
        }
    }

    /// Has the socket reset when it is closed, and what it still holds for the peer thrown away.
    pub(crate) fn reset_at_close(&self) {
        if let Ok(socket) = self.stream.socket() {
            let _ = rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
    }

    /// Has the system look whether the peer's machine is still there: by a probe where nothing has come for `quiet`, and whether what is
    /// sent arrives. Where neither is acknowledged for `patience` more, the connection breaks. The peer's program is told of none of it.
    pub(crate) fn look_after(&self, quiet: Duration, patience: Duration) {
        use rustix::net::sockopt;
        /// Probes within `patience`.
        const PROBES: u32 = 2;
        let Ok(socket) = self.stream.socket() else { return };
        // The system counts in seconds (tcp(7)).
        let whole = |time: Duration| Duration::from_secs(time.as_secs().clamp(1, 32_767));
        let _ = sockopt::set_tcp_keepidle(socket, whole(quiet));
        let _ = sockopt::set_tcp_keepintvl(socket, whole(patience / PROBES));
        let _ = sockopt::set_tcp_keepcnt(socket, PROBES);
        let _ = sockopt::set_socket_keepalive(socket, true);
        let all = quiet.saturating_add(patience).max(Duration::from_secs(1)).as_millis();
        let _ = sockopt::set_tcp_user_timeout(socket, u32::try_from(all).unwrap_or(u32::MAX));
    }

    /// Ends the sending side; what the peer still sends can be read.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(session) = &mut self.tls {
            session.close();
            ready!(session.poll_flush(cx, &mut self.stream))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
