//! Trailers behind a body whose length was told. HTTP/2 has them (RFC 9113 §8.1) and HTTP/1.1 does not, so they pass aside of its bytes,
//! from one stream to another.
//!
//! Cost: nothing where either side is a socket. Between streams the end waits for the sender's, which mostly comes with the last piece.

use std::io;
use std::task::{Context, Poll};

use lb_h2::Trailers;

use super::Transport;
use super::stream::Stream;

impl Transport {
    /// Whether such trailers have a way from here to `to`.
    pub(crate) fn passes_trailers_to(&self, to: &Self) -> bool {
        let is_stream = |it: &Self| matches!(it.stream, Stream::Served(_) | Stream::Asked(_));
        is_stream(self) && is_stream(to)
    }

    /// Whether some may still come.
    pub(crate) fn may_bring_trailers(&self) -> bool {
        match &self.stream {
            Stream::Served(stream) => stream.may_bring_trailers(),
            Stream::Asked(stream) => stream.may_bring_trailers(),
            Stream::Tcp(_) | Stream::Piped { .. } => false,
        }
    }

    /// Waits for the sender's end.
    pub(crate) fn poll_trailers(&self, cx: &Context<'_>) -> Poll<Option<Trailers>> {
        match &self.stream {
            Stream::Served(stream) => stream.poll_trailers(cx),
            Stream::Asked(stream) => stream.poll_trailers(cx),
            Stream::Tcp(_) | Stream::Piped { .. } => Poll::Ready(None),
        }
    }

    /// Whether the end of what is written is told by [`finish`](Self::finish) alone.
    pub(crate) fn hold(&mut self, is_held: bool) {
        match &mut self.stream {
            Stream::Served(stream) => stream.hold(is_held),
            Stream::Asked(stream) => stream.hold(is_held),
            Stream::Tcp(_) | Stream::Piped { .. } => {}
        }
    }

    /// Tells the end, where it has not been told with the last piece.
    pub(crate) fn finish(&mut self, cx: &Context<'_>, trailers: Option<Trailers>) -> io::Result<()> {
        match &mut self.stream {
            Stream::Served(stream) => stream.finish(cx, trailers),
            Stream::Asked(stream) => stream.finish(cx, trailers),
            Stream::Tcp(_) | Stream::Piped { .. } => Ok(()),
        }
    }
}
