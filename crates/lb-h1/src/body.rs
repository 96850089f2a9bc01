//! Bodies as they arrive: pieces of data without framing, then trailers, then the end.
//!
//! Data is split off the receive buffer, never copied, but that chunks too small to be worth a piece each
//! are moved together inside the buffer.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use crate::error::BodyError;
use crate::framing::{BodyFraming, ResponseFraming};
use crate::limits::BodyLimits;

mod chunk_line;
mod chunked;
mod trailers;

use chunked::Chunked;

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A piece of the data, never empty.
    Data(Bytes),
    /// The trailers that may be passed on. [`End`](Self::End) follows.
    Trailers(HeaderMap),
    /// The body is complete; what is in the buffer belongs to the next message. Said again if asked again.
    End,
    /// More bytes are needed.
    NeedMore,
}

/// Reads one body out of a receive buffer.
///
/// ```
/// use bytes::BytesMut;
/// use lb_h1::{BodyDecoder, BodyFraming, BodyLimits, Decoded};
///
/// let mut body = BodyDecoder::for_request(BodyFraming::Length(5), BodyLimits::default());
/// let mut buf = BytesMut::from("helloGET /next");
/// assert_eq!(body.decode(&mut buf)?, Decoded::Data("hello".into()));
/// assert_eq!(body.decode(&mut buf)?, Decoded::End);
/// assert_eq!(buf, "GET /next");
/// # Ok::<(), lb_h1::BodyError>(())
/// ```
#[derive(Debug)]
pub struct BodyDecoder(Kind);

#[derive(Debug)]
enum Kind {
    /// How many bytes are still to come.
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose {
        closed: bool,
    },
}

impl BodyDecoder {
    /// For the body behind a request head. Chunked allocates its state, once a message.
    pub fn for_request(framing: BodyFraming, limits: BodyLimits) -> Self {
        Self::for_response(framing.into(), limits)
    }

    /// For the body behind a response head. A tunnel is read until it is closed, like a body without a
    /// length.
    pub fn for_response(framing: ResponseFraming, limits: BodyLimits) -> Self {
        Self(match framing {
            ResponseFraming::None => Kind::Length(0),
            ResponseFraming::Length(length) => Kind::Length(length),
            ResponseFraming::Chunked => Kind::Chunked(Box::new(Chunked::new(limits))),
            ResponseFraming::UntilClose | ResponseFraming::Tunnel => Kind::UntilClose { closed: false },
        })
    }

    /// The next step, taken from the front of `buf`.
    ///
    /// # Errors
    /// When the framing is broken. Where the next message begins is then not known, so that the connection
    /// must be closed, and what was passed on of this body must not look complete.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BodyError> {
        match &mut self.0 {
            Kind::Length(0) => Ok(Decoded::End),
            Kind::Length(remaining) => Ok(take(buf, remaining)),
            Kind::Chunked(chunked) => chunked.decode(buf),
            Kind::UntilClose { closed } if buf.is_empty() => {
                Ok(if *closed { Decoded::End } else { Decoded::NeedMore })
            }
            Kind::UntilClose { .. } => Ok(Decoded::Data(buf.split().freeze())),
        }
    }

    /// How many bytes at the front of a piece of a chunked body may be passed on as they stand, framing and all, to
    /// a peer that gets it chunked too; and how many of them are data. They count as read: hand in what has not been
    /// decoded yet, and what is left to [`decode`](Self::decode). A chunk of which a part was passed on is passed on
    /// to its end, so that `decode` gives no data before that. `None` for a body in any other framing.
    ///
    /// ```
    /// use lb_h1::{BodyDecoder, BodyFraming, BodyLimits};
    ///
    /// let mut body = BodyDecoder::for_request(BodyFraming::Chunked, BodyLimits::default());
    /// let piece = [b"800\r\n", &[b'x'; 0x800][..], b"\r\n0;last\r\n\r\n"].concat();
    /// assert_eq!(body.pass_chunks(&piece), Some((piece.len() - "0;last\r\n\r\n".len(), 0x800)));
    /// ```
    pub fn pass_chunks(&mut self, piece: &[u8]) -> Option<(usize, usize)> {
        match &mut self.0 {
            Kind::Chunked(chunked) => Some(chunked.pass(piece)),
            Kind::Length(_) | Kind::UntilClose { .. } => None,
        }
    }

    /// Says that the peer has closed and that nothing will be added to the buffer any more. To be called
    /// when `decode` wants more.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] unless the body may end here.
    pub fn close(&mut self) -> Result<(), BodyError> {
        if let Kind::UntilClose { closed } = &mut self.0 {
            *closed = true;
        }
        if self.is_complete() { Ok(()) } else { Err(BodyError::Truncated) }
    }

    /// Whether nothing is left to read. A chunked body is complete only behind its last empty line.
    pub fn is_complete(&self) -> bool {
        match &self.0 {
            Kind::Length(remaining) => *remaining == 0,
            Kind::Chunked(chunked) => chunked.is_done(),
            Kind::UntilClose { closed } => *closed,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match &self.0 {
            Kind::Length(remaining) => Some(*remaining),
            Kind::Chunked(_) | Kind::UntilClose { .. } => None,
        }
    }

    /// Notes that `count` bytes of a body with a length went past the buffer, by `splice` for instance.
    /// More than [`remaining`](Self::remaining) count as all of them; without a length it does nothing.
    pub fn skip(&mut self, count: u64) {
        if let Kind::Length(remaining) = &mut self.0 {
            *remaining = remaining.saturating_sub(count);
        }
    }
}

/// As much of the buffer as belongs to the data.
#[inline]
fn take(buf: &mut BytesMut, remaining: &mut u64) -> Decoded {
    if buf.is_empty() {
        return Decoded::NeedMore;
    }
    let count = usize::try_from(*remaining).unwrap_or(usize::MAX).min(buf.len());
    *remaining -= count as u64;
    Decoded::Data(buf.split_to(count).freeze())
}

/// Drops `count` bytes from the front, or as many as there are.
fn drop_front(buf: &mut BytesMut, count: usize) {
    buf.advance(count.min(buf.len()));
}
