//! A body that comes in DATA frames, as the bytes of an HTTP/1.1 body. The peer's window opens as its bytes are read.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use lb_h1::{CHUNK_END, LAST_CHUNK, chunk_head, encode_trailers};

use crate::fault::broken;

/// One body on its way in.
pub(crate) struct Incoming {
    stream: RecvStream,
    is_chunked: bool,
    /// Framing that is read ahead of the piece.
    lead: BytesMut,
    piece: Bytes,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next piece is fetched when the one before has been read.
    Data,
    Trailers,
    Ended,
}

impl Incoming {
    /// The body of a message that was announced in chunks, with a length, or not at all.
    pub(crate) fn new(stream: RecvStream, is_chunked: bool) -> Self {
        let stage = if stream.is_end_stream() && !is_chunked { Stage::Ended } else { Stage::Data };
        Self { stream, is_chunked, lead: BytesMut::new(), piece: Bytes::new(), stage }
    }

    /// Whether everything has been read.
    pub(crate) fn is_ended(&self) -> bool {
        self.stage == Stage::Ended && self.lead.is_empty() && self.piece.is_empty()
    }

    /// Fills `out` as far as there is something; at the end there is nothing any more.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, out: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        while filled < out.len() {
            let free = out.get_mut(filled..).unwrap_or_default();
            if !self.lead.is_empty() {
                filled += take(&mut self.lead, free);
            } else if !self.piece.is_empty() {
                let count = take(&mut self.piece, free);
                filled += count;
                self.stream.flow_control().release_capacity(count).map_err(broken)?;
                if self.is_chunked && self.piece.is_empty() {
                    self.lead.extend_from_slice(CHUNK_END);
                }
            } else {
                match self.poll_next(cx) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) => break,
                    Poll::Ready(Err(_)) | Poll::Pending if filled > 0 => break,
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }
        Poll::Ready(Ok(filled))
    }

    /// Fetches the next piece, or what ends the body. False once that has been read.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self.stage {
            Stage::Ended => return Poll::Ready(Ok(false)),
            Stage::Data => match ready!(self.stream.poll_data(cx)) {
                Some(piece) => {
                    self.piece = piece.map_err(broken)?;
                    if self.is_chunked && !self.piece.is_empty() {
                        self.lead.extend_from_slice(chunk_head(self.piece.len()).as_ref());
                    }
                }
                None => self.stage = Stage::Trailers,
            },
            Stage::Trailers => {
                let trailers = ready!(self.stream.poll_trailers(cx)).map_err(broken)?;
                self.stage = Stage::Ended;
                match trailers {
                    _ if !self.is_chunked => {}
                    Some(trailers) => encode_trailers(&mut self.lead, &trailers),
                    None => self.lead.extend_from_slice(LAST_CHUNK),
                }
            }
        }
        Poll::Ready(Ok(true))
    }
}

/// Moves what fits.
fn take(from: &mut impl Buf, to: &mut [u8]) -> usize {
    let count = from.remaining().min(to.len());
    from.copy_to_slice(to.get_mut(..count).unwrap_or_default());
    count
}
