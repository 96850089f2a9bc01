//! A body in the bytes of HTTP/1.1, sent in DATA frames as far as the peer's window lets it.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::{Reason, SendStream};
use lb_h1::{BodyDecoder, BodyLimits, Decoded, ResponseFraming};

use crate::fault::broken;

/// How much of a body is taken before it has been sent, where it has to be copied.
pub const PIECE: usize = 16 << 10;

/// One body on its way out. Dropped before its end, it resets its stream.
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    body: BodyDecoder,
    /// Bytes that were taken and not decoded yet.
    taken: BytesMut,
    /// What is sent next.
    piece: Bytes,
    /// What follows it.
    after: Option<Decoded>,
    is_ended: bool,
}

impl Outgoing {
    /// The body of a message in this framing; a stream that its head has ended has none.
    pub(crate) fn new(stream: SendStream<Bytes>, framing: ResponseFraming, is_ended: bool) -> Self {
        Self {
            stream,
            body: BodyDecoder::for_response(framing, BodyLimits::default()),
            taken: BytesMut::new(),
            piece: Bytes::new(),
            after: None,
            is_ended,
        }
    }

    /// Whether all of it has been handed over, its end included.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Takes some bytes, once those before have gone.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        if self.is_ended {
            // Nothing may follow the end: whoever writes on has lost count.
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        let count = bytes.len().min(PIECE);
        self.taken.extend_from_slice(bytes.get(..count).unwrap_or_default());
        // They have been taken, whether they can go yet or not.
        match self.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Takes a piece as it is, without a copy, where all before it has gone and the body has a length; gives it back otherwise.
    pub(crate) fn take(&mut self, cx: &mut Context<'_>, piece: Bytes) -> io::Result<Option<Bytes>> {
        let flushed = self.poll_flush(cx)?;
        let is_next = flushed.is_ready() && self.taken.is_empty() && self.after.is_none() && !self.is_ended;
        let left = self.body.remaining().unwrap_or(0);
        if !is_next || piece.is_empty() || left < piece.len() as u64 {
            return Ok(Some(piece));
        }
        self.body.skip(piece.len() as u64);
        self.after = self.body.is_complete().then_some(Decoded::End);
        self.piece = piece;
        let _ = self.poll_flush(cx)?;
        Ok(None)
    }

    /// How many bytes have been taken and not been handed over.
    pub(crate) fn backlog(&self) -> usize {
        let ahead = match &self.after {
            Some(Decoded::Data(data)) => data.len(),
            _ => 0,
        };
        self.taken.len() + self.piece.len() + ahead
    }

    /// Hands over what has been taken.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
                    Some(Decoded::Trailers(trailers)) => {
                        self.is_ended = true;
                        self.stream.send_trailers(trailers).map_err(broken)?;
                    }
                    Some(_) => self.send(Bytes::new(), true)?,
                }
            } else {
                let room = ready!(self.poll_room(cx))?;
                let piece = self.piece.split_to(room.min(self.piece.len()));
                let is_last = self.piece.is_empty() && matches!(self.after, Some(Decoded::End));
                self.send(piece, is_last)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends a body that ends with its sender's side, once all of it has gone.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        if !self.is_ended && self.body.close().is_ok() {
            return self.poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> io::Result<()> {
        self.is_ended = is_last;
        self.stream.send_data(data, is_last).map_err(broken)
    }

    /// How much of the piece the peer's window has room for.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.stream.reserve_capacity(self.piece.len());
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(room) => drop(room.map_err(broken)?),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    /// Ready when the peer has reset the stream or its connection is over.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        self.stream.poll_reset(cx).map(|reset| match reset {
            Ok(reason) => crate::fault::reset(reason),
            Err(error) => broken(error),
        })
    }

    /// Ends the stream in the middle, so that nobody takes the part for the whole.
    pub(crate) fn break_off(&mut self, reason: Reason) {
        if !self.is_ended {
            self.is_ended = true;
            self.stream.send_reset(reason);
        }
    }
}

/// The gateway's own framing is broken; it cannot be, but nothing goes on if it is.
fn malformed() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
