//! A body that comes in DATA frames, as the bytes of an HTTP/1.1 body. The peer's window opens as its bytes are read.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use lb_h1::{CHUNK_END, LAST_CHUNK, chunk_head};

use crate::connection::StreamRef;
use crate::fault::Fault;

/// One body on its way in.
#[derive(Debug)]
pub(crate) struct Incoming {
    is_chunked: bool,
    /// Framing that is read ahead of the piece.
    lead: BytesMut,
    /// What is left of the chunk that has been begun.
    chunk: usize,
    is_ended: bool,
}

impl Incoming {
    /// The body of a message that was announced in chunks, with a length, or not at all.
    pub(crate) fn new(is_chunked: bool, is_ended: bool) -> Self {
        Self { is_chunked, lead: BytesMut::new(), chunk: 0, is_ended: is_ended && !is_chunked }
    }

    /// Whether everything has been read.
    pub(crate) fn is_ended(&self) -> bool {
        self.is_ended && self.lead.is_empty()
    }

    /// Fills `out` as far as there is something; at the end there is nothing any more.
    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        while filled < out.len() {
            let free = out.get_mut(filled..).unwrap_or_default();
            if !self.lead.is_empty() {
                let count = self.lead.len().min(free.len());
                free.get_mut(..count).unwrap_or_default().copy_from_slice(&self.lead.split_to(count));
                filled += count;
                continue;
            }
            if self.is_ended {
                break;
            }
            match self.poll_piece(cx, stream, free) {
                Poll::Ready(Ok(count)) => filled += count,
                Poll::Ready(Err(_)) | Poll::Pending if filled > 0 => break,
                Poll::Ready(Err(fault)) => return Poll::Ready(Err(fault.into_io())),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(filled))
    }

    /// Reads some of the body, or what stands ahead of or behind it into `lead`.
    fn poll_piece(
        &mut self,
        cx: &Context<'_>,
        stream: &StreamRef,
        out: &mut [u8],
    ) -> Poll<Result<usize, Fault>> {
        if self.is_chunked && self.chunk == 0 && stream.body_len() > 0 {
            // All that is here is one chunk, however many frames it came in.
            self.chunk = stream.body_len();
            self.lead.extend_from_slice(chunk_head(self.chunk).as_ref());
            return Poll::Ready(Ok(0));
        }
        let limit = if self.chunk > 0 { self.chunk } else { usize::MAX };
        let length = out.len().min(limit);
        let count = ready!(stream.poll_body(cx, out.get_mut(..length).unwrap_or_default()))?;
        if self.chunk > 0 {
            self.chunk = self.chunk.saturating_sub(count);
            if self.chunk == 0 {
                self.lead.extend_from_slice(CHUNK_END);
            }
        } else if count == 0 {
            self.is_ended = true;
            // Those behind a body that has a length have no place among its bytes.
            if self.is_chunked {
                match stream.take_trailers() {
                    Some(trailers) => self.lead = trailers,
                    None => self.lead.extend_from_slice(LAST_CHUNK),
                }
            }
        }
        Poll::Ready(Ok(count))
    }
}
