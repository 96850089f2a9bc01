//! One TLS connection over a socket that someone else owns, driven from that one's task.
//!
//! rustls is used without its buffers. Ciphertext passes through the thread's scratch; the session keeps only what is pending:
//! a piece of a record, plaintext that found no room, ciphertext that the socket did not take. An idle session owns none.
//!
//! Cost over plain: one copy of the plaintext each way and the cipher. What is sent in one call leaves in one write and as few
//! records as it needs. Nothing here waits by itself; dropping a future that polls it loses nothing but the connection.

mod side;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::EncryptError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::side::{Side, Step, Traffic};
use crate::failure::HandshakeError;
use crate::scratch::{self, BATCH, RECEIVED};
use crate::sink::{Append, Fill, Sink};

/// Ciphertext that may wait for plaintext to leave with it: tickets, the end of a handshake.
const COALESCE: usize = 8 << 10;
/// Reads in one turn that bring no plaintext, before other connections have theirs.
const TURN: u32 = 16;

/// See the module.
pub struct Session {
    side: Side,
    /// Received and not whole yet.
    incoming: Vec<u8>,
    /// Decrypted and not taken yet.
    plain: Vec<u8>,
    /// Encrypted and not sent yet.
    outgoing: Vec<u8>,
    /// The handshake is over.
    is_open: bool,
    /// The peer has said that nothing more will come.
    is_ended: bool,
    /// We have said so.
    is_closed: bool,
    /// Nothing has come yet.
    is_new: bool,
    /// The protocol has been broken: nothing more can be read or sealed.
    is_broken: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("is_open", &self.is_open).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn server(connection: UnbufferedServerConnection) -> Self {
        Self::new(Side::Server(Box::new(connection)))
    }

    pub(crate) fn client(connection: UnbufferedClientConnection) -> Self {
        Self::new(Side::Client(Box::new(connection)))
    }

    fn new(side: Side) -> Self {
        Self {
            side,
            incoming: Vec::new(),
            plain: Vec::new(),
            outgoing: Vec::new(),
            is_open: false,
            is_ended: false,
            is_closed: false,
            is_new: true,
            is_broken: false,
        }
    }

    /// Whether the peers knew each other from an earlier connection; of meaning once the handshake is over.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.side.is_resumed()
    }

    /// The application protocol that was agreed on, if one was (RFC 7301).
    #[must_use]
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.side.alpn_protocol()
    }

    /// The peer's own certificate, in DER.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        self.side.peer_certificate()
    }

    /// Takes what someone else has read of the peer's first bytes, ahead of the handshake.
    pub fn feed(&mut self, received: &[u8]) {
        self.incoming.extend_from_slice(received);
    }

    /// Bytes of ciphertext that the socket has not taken yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.outgoing.len()
    }

    /// Runs the handshake to its end. What ends it on our side may still be pending then: it leaves with the first plaintext,
    /// or as soon as the peer is waited for.
    ///
    /// # Errors
    /// Why there will be no session. The peer has been told, where it could be.
    pub fn poll_handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<Result<(), HandshakeError>> {
        if self.is_new && self.side.speaks_first() {
            self.is_new = false;
            self.advance(&mut [], &mut Vec::new()).1?;
        }
        while !self.is_open {
            ready!(self.poll_flush(cx, socket))?;
            let mut early = std::mem::take(&mut self.plain);
            let received = self.poll_receive(cx, socket, RECEIVED, &mut early);
            self.plain = early;
            match ready!(received) {
                // Who ends what has just begun has still begun it.
                Ok(true) if self.is_open || !self.is_ended => {}
                Ok(_) => return Poll::Ready(Err(HandshakeError::Closed)),
                Err(error) => {
                    // The alert, as far as the socket takes it.
                    let _ = self.poll_flush(cx, socket);
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what is there into `slice`, from at most so many bytes of ciphertext; 0 is the end.
    ///
    /// # Errors
    /// The socket's; [`io::ErrorKind::UnexpectedEof`] where the peer is gone without having ended the session;
    /// [`io::ErrorKind::InvalidData`] where it breaks the protocol.
    pub fn poll_read<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        slice: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if !self.plain.is_empty() {
            let count = self.plain.len().min(slice.len());
            if let (Some(slice), Some(plain)) = (slice.get_mut(..count), self.plain.get(..count)) {
                slice.copy_from_slice(plain);
            }
            self.plain.drain(..count);
            self.shrink_plain();
            return Poll::Ready(Ok(count));
        }
        let limit = slice.len();
        let mut rest = std::mem::take(&mut self.plain);
        let mut fill = Fill { slice, filled: 0, rest: &mut rest };
        let read = self.poll_plain(cx, socket, limit, &mut fill);
        self.plain = rest;
        read
    }

    /// Reads what is there to the end of a buffer, from at most so many bytes of ciphertext; 0 is the end.
    ///
    /// # Errors
    /// As [`poll_read`](Self::poll_read).
    pub fn poll_append<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        limit: usize,
        buffer: &mut bytes::BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut append = Append::to(buffer);
        if !self.plain.is_empty() {
            append.put(&self.plain);
            self.plain = Vec::new();
            return Poll::Ready(Ok(append.taken()));
        }
        self.poll_plain(cx, socket, limit, &mut append)
    }

    /// Whether the peer of an idle session has kept still: neither ended it nor sent anything but tickets.
    pub fn is_still<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> bool {
        let mut nothing = bytes::BytesMut::new();
        self.plain.is_empty() && self.poll_append(cx, socket, RECEIVED, &mut nothing).is_pending()
    }

    /// Seals some of these bytes and sends what the socket takes; the rest is pending, up to one batch.
    ///
    /// # Errors
    /// The socket's, and [`io::ErrorKind::BrokenPipe`] where the session is over.
    pub fn poll_write<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.outgoing.len() > COALESCE {
            ready!(self.poll_flush(cx, socket))?;
        }
        let piece = bytes.get(..bytes.len().min(BATCH)).unwrap_or_default();
        scratch::with(|scratch| {
            let sealed = &mut scratch.sealed;
            let waiting = self.outgoing.len();
            if let Some(head) = sealed.get_mut(..waiting) {
                head.copy_from_slice(&self.outgoing);
            }
            self.outgoing.clear();
            let count = waiting + self.seal(piece, sealed.get_mut(waiting..).unwrap_or_default())?;
            let sealed = sealed.get(..count).unwrap_or_default();
            let sent = match Pin::new(socket).poll_write(cx, sealed) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => 0,
            };
            self.keep_unsent(sealed.get(sent..).unwrap_or_default());
            Poll::Ready(Ok(piece.len()))
        })
    }

    /// Sends all the ciphertext that is pending.
    ///
    /// # Errors
    /// The socket's.
    pub fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
    ) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            match ready!(Pin::new(&mut *socket).poll_write(cx, &self.outgoing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count if count >= self.outgoing.len() => self.outgoing = Vec::new(),
                count => drop(self.outgoing.drain(..count)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more will be sent; to be flushed after that.
    pub fn close(&mut self) {
        if !self.is_open || self.is_broken || std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let mut notice = [0; 256];
        if let Ok(count) = self.seal_with(&mut notice, |traffic, room| traffic.close_notify(room)) {
            self.outgoing.extend_from_slice(notice.get(..count).unwrap_or_default());
        }
    }

    /// Reads until there is plaintext, or the end, or nothing.
    fn poll_plain<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        limit: usize,
        sink: &mut impl Sink,
    ) -> Poll<io::Result<usize>> {
        for _ in 0..TURN {
            if self.is_broken {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if self.is_ended {
                return Poll::Ready(Ok(0));
            }
            match self.poll_receive(cx, socket, limit, sink) {
                Poll::Pending => {
                    // Nothing will join what is pending.
                    return match self.poll_flush(cx, socket) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        _ => Poll::Pending,
                    };
                }
                Poll::Ready(Ok(true)) if sink.taken() > 0 => return Poll::Ready(Ok(sink.taken())),
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Err(HandshakeError::Io(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    let _ = self.poll_flush(cx, socket);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once, but for what was read by someone else, and decrypts what is whole; false where the peer has closed its connection.
    fn poll_receive<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut S,
        limit: usize,
        sink: &mut impl Sink,
    ) -> Poll<Result<bool, HandshakeError>> {
        scratch::with(|scratch| {
            let waiting = self.incoming.len();
            let end = waiting.saturating_add(limit).min(RECEIVED);
            let Some(room) = scratch.received.get_mut(waiting..end).filter(|room| !room.is_empty()) else {
                return Poll::Ready(Err(HandshakeError::TooLong));
            };
            let mut room = ReadBuf::new(room);
            let is_fed = self.is_new && waiting > 0;
            if !is_fed {
                ready!(Pin::new(socket).poll_read(cx, &mut room))?;
            }
            let count = room.filled().len();
            if count == 0 && !is_fed {
                return Poll::Ready(Ok(false));
            }
            if self.is_new {
                self.is_new = false;
                let first = self.incoming.first().or(room.filled().first());
                if first.is_some_and(u8::is_ascii_uppercase) {
                    return Poll::Ready(Err(HandshakeError::PlainHttp));
                }
            }
            if let Some(head) = scratch.received.get_mut(..waiting) {
                head.copy_from_slice(&self.incoming);
            }
            let received = scratch.received.get_mut(..waiting + count).unwrap_or_default();
            let (used, result) = self.advance(received, sink);
            let rest = received.get(used..).unwrap_or_default();
            match rest.is_empty() {
                true => self.incoming = Vec::new(),
                false => {
                    self.incoming.clear();
                    self.incoming.extend_from_slice(rest);
                }
            }
            if let Err(HandshakeError::Tls(_)) = &result
                && self.side.speaks_first()
                && !self.is_open
                && received.starts_with(b"HTTP/")
            {
                return Poll::Ready(Err(HandshakeError::PlainHttp));
            }
            Poll::Ready(result.map(|()| true))
        })
    }

    /// Has rustls look at what was received; how much of it is done with, and what it came to.
    fn advance(&mut self, received: &mut [u8], sink: &mut impl Sink) -> (usize, Result<(), HandshakeError>) {
        let mut used = 0;
        loop {
            let rest = received.get_mut(used..).unwrap_or_default();
            let (discard, step) = self.side.read(rest, &mut self.outgoing, sink);
            used += discard;
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Blocked) => return (used, Ok(())),
                Ok(Step::Open) => {
                    self.is_open = true;
                    return (used, Ok(()));
                }
                Ok(Step::Ended) => self.is_ended = true,
                Ok(Step::Closed) => {
                    self.is_ended = true;
                    return (used, Ok(()));
                }
                Err(error) => {
                    self.collect_alert();
                    return (used, Err(HandshakeError::Tls(error)));
                }
            }
        }
    }

    /// What is to be told the peer after an error. rustls must not look at anything else after one.
    fn collect_alert(&mut self) {
        self.is_broken = true;
        while self.side.wants_write() {
            let _ = self.side.read(&mut [], &mut self.outgoing, &mut Vec::new());
        }
    }

    fn seal(&mut self, plaintext: &[u8], room: &mut [u8]) -> io::Result<usize> {
        self.seal_with(room, |traffic, room| traffic.encrypt(plaintext, room))
    }

    /// Has rustls write into `room`, and before that what it has pending itself.
    fn seal_with(
        &mut self,
        room: &mut [u8],
        write: impl Fn(&mut dyn Traffic, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        let mut count = 0;
        loop {
            let room = room.get_mut(count..).unwrap_or_default();
            let done = self.side.write(&mut self.incoming, room, &mut self.plain, &mut self.is_ended, &write);
            let done = done.inspect_err(|_| self.is_broken = true)?;
            count += done.written;
            if done.discard > 0 {
                self.incoming.drain(..done.discard.min(self.incoming.len()));
            }
            if done.is_last {
                return Ok(count);
            }
        }
    }

    /// Keeps what the socket did not take.
    fn keep_unsent(&mut self, rest: &[u8]) {
        match rest.is_empty() {
            true => self.outgoing = Vec::new(),
            false => self.outgoing.extend_from_slice(rest),
        }
    }

    fn shrink_plain(&mut self) {
        if self.plain.is_empty() {
            self.plain = Vec::new();
        }
    }
}
