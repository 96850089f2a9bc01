//! A body in the bytes of HTTP/1.1, sent in DATA frames as far as the peer's window lets it.

use std::io;
use std::io::IoSliceMut;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use lb_h1::{BodyDecoder, BodyFraming, BodyLimits, Decoded, ResponseFraming};

use crate::connection::StreamRef;
use crate::fault::{Fault, Reason};

/// How much of a body is taken before it has been sent, where it has to be copied.
pub const PIECE: usize = 16 << 10;

/// A trailer section that stands behind a body whose length was told, which HTTP/1.1 has no place for (RFC 9113 §8.1).
#[derive(Debug, Clone)]
pub struct Trailers(BytesMut);

impl Trailers {
    /// That of the last chunk, where there is one.
    pub(crate) fn of(last_chunk: Option<BytesMut>) -> Option<Self> {
        last_chunk.map(Self)
    }

    /// These fields, for a stream of HTTP/3, whose crates have them as a map.
    #[must_use]
    pub fn of_fields(fields: &http::HeaderMap) -> Self {
        let mut last_chunk = BytesMut::new();
        lb_h1::encode_trailers(&mut last_chunk, fields);
        Self(last_chunk)
    }

    /// The fields; none where they are no trailers.
    #[must_use]
    pub fn into_fields(mut self) -> Option<http::HeaderMap> {
        let mut decoder = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
        match decoder.decode(&mut self.0) {
            Ok(Decoded::Trailers(fields)) => Some(fields),
            _ => None,
        }
    }
}

/// One body on its way out.
#[derive(Debug)]
pub(crate) struct Outgoing {
    body: BodyDecoder,
    /// Bytes that were taken and not decoded yet.
    taken: BytesMut,
    /// What is sent next.
    piece: Bytes,
    /// What follows it.
    after: Option<Decoded>,
    is_ended: bool,
    /// Whether the end of a body that has a length is told by itself.
    is_held: bool,
    /// Whether what would be read for it waits for the peer's window.
    is_shut: bool,
}

impl Outgoing {
    /// The body of a message in this framing; a stream that its head has ended has none.
    pub(crate) fn new(framing: ResponseFraming, is_ended: bool) -> Self {
        Self {
            body: BodyDecoder::for_response(framing, BodyLimits::default()),
            taken: BytesMut::new(),
            piece: Bytes::new(),
            after: None,
            is_ended,
            is_held: false,
            is_shut: false,
        }
    }

    /// Whether all of it has been handed over, its end included.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether the end of a body that has a length is told by itself ([`finish`](Self::finish)), since trailers may come first.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Tells the end of a body all of which has gone, where it has not been told with its last piece.
    pub(crate) fn finish(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        trailers: Option<Trailers>,
    ) -> io::Result<()> {
        if std::mem::replace(&mut self.is_ended, true) {
            return Ok(());
        }
        match trailers.and_then(Trailers::into_fields) {
            Some(fields) => stream.tell_trailers(&fields).map_err(Fault::into_io),
            None => match stream.poll_send(cx, &[], true) {
                Poll::Ready(Err(fault)) => Err(fault.into_io()),
                _ => Ok(()),
            },
        }
    }

    /// Takes some bytes, once those before have gone.
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx, stream))?;
        if self.is_ended {
            // Nothing may follow the end: whoever writes on has lost count.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        if let Some(count) = self.send_plain(cx, stream, bytes)? {
            return Poll::Ready(Ok(count));
        }
        let count = bytes.len().min(PIECE);
        self.taken.extend_from_slice(bytes.get(..count).unwrap_or_default());
        // They have been taken, whether they can go yet or not.
        match self.poll_flush(cx, stream) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Takes all of these, which came with the head. They are few.
    pub(crate) fn write_all(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.poll_write(cx, stream, bytes) {
                Poll::Ready(count) => bytes = bytes.get(count?..).unwrap_or_default(),
                Poll::Pending => {
                    self.taken.extend_from_slice(bytes);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends bytes of a body that has a length as they are, as far as there is room.
    fn send_plain(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        bytes: &[u8],
    ) -> io::Result<Option<usize>> {
        let Some(left) = self.plain_left() else { return Ok(None) };
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let Some(piece) = bytes.get(..bytes.len().min(most)).filter(|piece| !piece.is_empty()) else {
            return Ok(None);
        };
        match stream.poll_send(cx, piece, piece.len() as u64 == left && !self.is_held) {
            Poll::Ready(sent) => {
                let count = sent.map_err(Fault::into_io)?;
                self.passed(count);
                Ok(Some(count))
            }
            Poll::Pending => Ok(None),
        }
    }

    /// What a body that has a length still has to send, where nothing of it waits.
    fn plain_left(&self) -> Option<u64> {
        let is_next =
            self.taken.is_empty() && self.piece.is_empty() && self.after.is_none() && !self.is_ended;
        self.body.remaining().filter(|left| is_next && *left > 0)
    }

    /// So much of such a body has been sent.
    fn passed(&mut self, count: usize) {
        self.body.skip(count as u64);
        self.is_ended = self.body.is_complete() && !self.is_held;
    }

    /// Has `read` fill the frames of a body that has a length, where nothing of it waits; `None` where it has to be written. 0 where
    /// nothing was read.
    pub(crate) fn poll_fill<E>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &StreamRef,
        read: impl FnOnce(&mut Context<'_>, &mut [IoSliceMut<'_>]) -> Poll<Result<usize, E>>,
    ) -> Option<Poll<io::Result<Result<usize, E>>>> {
        let left = self.plain_left()?;
        // More than there is ever room for is not asked for.
        let (limit, ends) = match usize::try_from(left) {
            Ok(left) if left <= 1 << 20 => (left, !self.is_held),
            _ => (1 << 20, false),
        };
        let mut is_shut = true;
        let filled = stream.poll_fill(cx, (limit, ends), |cx, pieces| {
            is_shut = false;
            read(cx, pieces)
        });
        self.is_shut = is_shut;
        Some(match filled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into_io())),
            Poll::Ready(Ok(Err(error))) => Poll::Ready(Ok(Err(error))),
            Poll::Ready(Ok(Ok(count))) => {
                self.passed(count);
                Poll::Ready(Ok(Ok(count)))
            }
        })
    }

    /// How many bytes have been taken and not been handed over, or one where none would be.
    pub(crate) fn backlog(&self) -> usize {
        let ahead = match &self.after {
            Some(Decoded::Data(data)) => data.len(),
            _ => 0,
        };
        self.taken.len() + self.piece.len() + ahead + usize::from(self.is_shut)
    }

    /// Hands over what has been taken.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>, stream: &StreamRef) -> Poll<io::Result<()>> {
        while !self.is_ended {
            // One look ahead, so that the end goes with the last piece.
            if self.after.is_none() {
                self.after = match self.body.decode(&mut self.taken).map_err(|_| malformed())? {
                    Decoded::NeedMore => None,
                    decoded => Some(decoded),
                };
            }
            if self.piece.is_empty() {
                match self.after.take() {
                    None => return Poll::Ready(Ok(())),
                    Some(Decoded::Data(data)) => self.piece = data,
                    Some(end @ Decoded::End) if self.is_held => {
                        self.after = Some(end);
                        return Poll::Ready(Ok(()));
                    }
                    Some(Decoded::Trailers(trailers)) => {
                        self.is_ended = true;
                        stream.tell_trailers(&trailers).map_err(Fault::into_io)?;
                    }
                    Some(_) => {
                        self.is_ended = true;
                        _ = stream.poll_send(cx, &[], true).map_err(Fault::into_io)?;
                    }
                }
            } else {
                let is_last = matches!(self.after, Some(Decoded::End)) && !self.is_held;
                let count = ready!(stream.poll_send(cx, &self.piece, is_last)).map_err(Fault::into_io)?;
                self.piece.advance(count);
                self.is_ended = is_last && self.piece.is_empty();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a body that ends with its sender's side, once all of it has gone.
    pub(crate) fn poll_close(&mut self, cx: &Context<'_>, stream: &StreamRef) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx, stream))?;
        if !self.is_ended && self.body.close().is_ok() {
            return self.poll_flush(cx, stream);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the stream in the middle, so that nobody takes the part for the whole.
    pub(crate) fn break_off(&mut self, stream: &StreamRef, reason: Reason) {
        if !std::mem::replace(&mut self.is_ended, true) {
            stream.reset(reason);
        }
    }
}

/// The gateway's own framing is broken; it cannot be, but nothing goes on if it is.
fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
