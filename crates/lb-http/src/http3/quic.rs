//! quinn's connections and streams as the `h3` crate reads and writes them, with the sequence of frames looked at on its way in.
//!
//! `h3` gathers any frame but DATA whole before it looks at it, however long it says it is, takes a stream that ends inside a frame for
//! one that has ended, and an empty frame of DATA for the end of a body. It also reads on ahead of each frame that it hands out, so of many
//! small ones it has more and more. So frames are bounded here and come whole, such an end is an error (RFC 9114 §7.1), empty DATA is left
//! out, and nothing more is given to `h3` before it has used what it was given.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h3::error::Code;
use h3::quic::{self, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf};
use quinn::{ConnectionError, ReadError, VarInt, WriteError};

use super::frames::Frames;
use super::protocol::{IsWebSocket, Lead};

/// How much of a stream is read at a time.
const READ: usize = 16 << 10;

thread_local! {
    /// Where what is read arrives, so that a stream has memory for what is pending alone.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

type Later<T> = Pin<Box<dyn Future<Output = Result<T, ConnectionError>>>>;

/// Ready when the client wants no more of an answer, or has taken all of it.
pub(super) type Stopped = Pin<Box<dyn Future<Output = bool>>>;

/// What a request's stream tells beside what `h3` reads of it.
pub(super) struct Aside {
    pub(super) stopped: Stopped,
    pub(super) is_websocket: IsWebSocket,
}

/// The same of the stream that was accepted last, until who serves it has taken it: one is taken or refused before the next comes.
#[derive(Clone, Default)]
pub(super) struct Asides(Rc<RefCell<Option<(StreamId, Aside)>>>);

impl Asides {
    pub(super) fn take(&self, id: StreamId) -> Option<Aside> {
        self.0.borrow_mut().take_if(|(of, _)| *of == id).map(|(_, aside)| aside)
    }
}

/// A connection.
pub(super) struct Connection {
    quic: quinn::Connection,
    max_frame: u64,
    asides: Asides,
    bidi: Option<Later<(quinn::SendStream, quinn::RecvStream)>>,
    uni: Option<Later<quinn::RecvStream>>,
    open: Opener,
}

impl Connection {
    /// `max_frame` bounds frames other than DATA.
    pub(super) fn new(quic: quinn::Connection, max_frame: u64) -> (Self, Asides) {
        let asides = Asides::default();
        let open = Opener::new(quic.clone());
        (Self { quic, max_frame, asides: asides.clone(), bidi: None, uni: None, open }, asides)
    }
}

impl quic::Connection<Bytes> for Connection {
    type RecvStream = RecvStream;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::RecvStream, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let accept = self.uni.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.accept_uni().await })
        });
        let accepted = ready!(accept.as_mut().poll(cx));
        self.uni = None;
        Poll::Ready(match accepted {
            Ok(stream) => Ok(RecvStream::new(stream, Frames::of_control(self.max_frame), None)),
            Err(error) => Err(lost(error)),
        })
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::BidiStream, ConnectionErrorIncoming>> {
        let quic = &self.quic;
        let accept = self.bidi.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.accept_bi().await })
        });
        let accepted = ready!(accept.as_mut().poll(cx));
        self.bidi = None;
        Poll::Ready(match accepted {
            Ok((send, recv)) => {
                let stopped = send.stopped();
                let stopped: Stopped = Box::pin(async move { !matches!(stopped.await, Ok(None)) });
                let lead = Lead::default();
                let aside = Aside { stopped, is_websocket: lead.is_websocket() };
                *self.asides.0.borrow_mut() = Some((id(send.id()), aside));
                let recv = RecvStream::new(recv, Frames::of_request(self.max_frame), Some(lead));
                Ok(BidiStream { send: SendStream { stream: send, writing: None }, recv })
            }
            Err(error) => Err(lost(error)),
        })
    }

    fn opener(&self) -> Self::OpenStreams {
        Opener::new(self.quic.clone())
    }
}

impl quic::OpenStreams<Bytes> for Connection {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, cx: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        self.open.poll_open_bidi(cx)
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        self.open.poll_open_send(cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.open.close(code, reason);
    }
}

/// Opens streams. A server has only its own control streams to open.
pub(super) struct Opener {
    quic: quinn::Connection,
    uni: Option<Later<quinn::SendStream>>,
}

impl Opener {
    fn new(quic: quinn::Connection) -> Self {
        Self { quic, uni: None }
    }
}

impl quic::OpenStreams<Bytes> for Opener {
    type BidiStream = BidiStream;
    type SendStream = SendStream;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<BidiStream, StreamErrorIncoming>> {
        // A server opens none (RFC 9114 §6.1).
        Poll::Ready(Err(StreamErrorIncoming::Unknown("a server opens no stream of this kind".into())))
    }

    fn poll_open_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<SendStream, StreamErrorIncoming>> {
        let quic = &self.quic;
        let open = self.uni.get_or_insert_with(|| {
            let quic = quic.clone();
            Box::pin(async move { quic.open_uni().await })
        });
        let opened = ready!(open.as_mut().poll(cx));
        self.uni = None;
        Poll::Ready(match opened {
            Ok(stream) => Ok(SendStream { stream, writing: None }),
            Err(error) => Err(StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }),
        })
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.quic.close(number(code.value()), reason);
    }
}

/// A stream both ways.
pub(super) struct BidiStream {
    send: SendStream,
    recv: RecvStream,
}

impl quic::BidiStream<Bytes> for BidiStream {
    type SendStream = SendStream;
    type RecvStream = RecvStream;

    fn split(self) -> (SendStream, RecvStream) {
        (self.send, self.recv)
    }
}

impl quic::RecvStream for BidiStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.recv.poll_data(cx)
    }

    fn stop_sending(&mut self, error_code: u64) {
        self.recv.stop_sending(error_code);
    }

    fn recv_id(&self) -> StreamId {
        self.recv.recv_id()
    }
}

impl quic::SendStream<Bytes> for BidiStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_ready(cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.send.send_data(data)
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.send.poll_finish(cx)
    }

    fn reset(&mut self, reset_code: u64) {
        self.send.reset(reset_code);
    }

    fn send_id(&self) -> StreamId {
        self.send.send_id()
    }
}

/// The way in of a stream.
pub(super) struct RecvStream {
    stream: quinn::RecvStream,
    frames: Frames,
    /// Of a request.
    lead: Option<Lead>,
    /// What has come and was not given on.
    kept: BytesMut,
    /// What was given on last. It is nobody else's once it has been used.
    given: Bytes,
    is_ended: bool,
}

impl RecvStream {
    fn new(stream: quinn::RecvStream, frames: Frames, lead: Option<Lead>) -> Self {
        Self { stream, frames, lead, kept: BytesMut::new(), given: Bytes::new(), is_ended: false }
    }

    /// Reads some and looks at it.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let from = self.kept.len();
        let read = ROOM.with_borrow_mut(|room| {
            let count = ready!(self.stream.poll_read(cx, room));
            self.kept.extend_from_slice(room.get(..*count.as_ref().unwrap_or(&0)).unwrap_or_default());
            Poll::Ready(count)
        });
        let count = ready!(read).map_err(|error| match error {
            ReadError::Reset(code) => StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() },
            ReadError::ConnectionLost(error) => {
                StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
            }
            error => StreamErrorIncoming::Unknown(Box::new(error)),
        })?;
        self.is_ended = count == 0;
        let framed = if self.is_ended { self.frames.end() } else { self.frames.pass(&mut self.kept, from) };
        Poll::Ready(framed.map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    /// Takes what may be given on.
    fn take(&mut self) -> Bytes {
        let whole = self.kept.len().saturating_sub(self.frames.begun());
        if whole == 0 {
            return Bytes::new();
        }
        let rest = self.kept.get(whole..).map(BytesMut::from).unwrap_or_default();
        let mut piece = std::mem::replace(&mut self.kept, rest);
        piece.truncate(whole);
        piece.freeze()
    }
}

impl quic::RecvStream for RecvStream {
    type Buf = Bytes;

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let is_used = self.given.is_empty() || self.given.is_unique();
        if !is_used && !self.frames.has_none() {
            // There is a frame in it, which is used without any more. Nobody is to be woken for that.
            return Poll::Pending;
        }
        self.given = Bytes::new();
        loop {
            let mut piece = self.take();
            if let Some(lead) = &mut self.lead {
                piece = lead.pass(piece);
            }
            if !piece.is_empty() {
                self.given = piece.clone();
                return Poll::Ready(Ok(Some(piece)));
            }
            if self.is_ended {
                return Poll::Ready(Ok(None));
            }
            ready!(self.poll_read(cx))?;
        }
    }

    fn stop_sending(&mut self, error_code: u64) {
        // One that is over needs no telling.
        let _ = self.stream.stop(number(error_code));
    }

    fn recv_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

/// The way out of a stream.
pub(super) struct SendStream {
    stream: quinn::SendStream,
    writing: Option<WriteBuf<Bytes>>,
}

impl quic::SendStream<Bytes> for SendStream {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        while let Some(left) = self.writing.as_mut().filter(|left| Buf::has_remaining(*left)) {
            let count =
                ready!(Pin::new(&mut self.stream).poll_write(cx, left.chunk())).map_err(
                    |error| match error {
                        WriteError::Stopped(code) => {
                            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
                        }
                        WriteError::ConnectionLost(error) => {
                            StreamErrorIncoming::ConnectionErrorIncoming { connection_error: lost(error) }
                        }
                        error => StreamErrorIncoming::Unknown(Box::new(error)),
                    },
                )?;
            left.advance(count);
        }
        self.writing = None;
        Poll::Ready(Ok(()))
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        if self.writing.is_some() {
            return Err(StreamErrorIncoming::Unknown("what was sent before has not gone yet".into()));
        }
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        Poll::Ready(self.stream.finish().map_err(|error| StreamErrorIncoming::Unknown(Box::new(error))))
    }

    fn reset(&mut self, reset_code: u64) {
        // One that is over needs no telling.
        let _ = self.stream.reset(number(reset_code));
    }

    fn send_id(&self) -> StreamId {
        id(self.stream.id())
    }
}

fn lost(error: ConnectionError) -> ConnectionErrorIncoming {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

fn number(code: u64) -> VarInt {
    VarInt::from_u64(code).unwrap_or(VarInt::MAX)
}

#[expect(clippy::expect_used, reason = "an identifier of QUIC has 62 bits, which is all that is asked of it")]
fn id(id: quinn::StreamId) -> StreamId {
    VarInt::from(id).into_inner().try_into().expect("62 bits")
}
