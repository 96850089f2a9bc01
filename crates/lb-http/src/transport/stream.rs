//! What stands under a [`Transport`](super::Transport): a socket, or a stream of HTTP/2 in its stead.
//!
//! Cost: a socket pays one comparison.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use lb_h2::{ClientStream, ServerStream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::trailers::Ends;
use crate::socket;

/// What carries the bytes.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// A client's stream of HTTP/2.
    Served(Box<ServerStream>),
    /// A stream of HTTP/2 to a backend.
    Asked(Box<ClientStream>),
    /// The exchange's end of a pipe, at the other end of which is a client's stream of HTTP/3.
    Piped {
        pipe: DuplexStream,
        is_connect: bool,
        /// Where trailers pass.
        ends: Rc<Ends>,
    },
}

impl Stream {
    /// The socket, where there is one of its own.
    pub(super) fn socket(&self) -> io::Result<&TcpStream> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            Self::Served(_) | Self::Asked(_) | Self::Piped { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Stream {
    /// Reads what is there; 0 is the end.
    #[inline]
    pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => socket::poll_recv(stream, cx, scratch),
            Self::Served(stream) => stream.poll_read(cx, scratch),
            Self::Asked(stream) => stream.poll_read(cx, scratch),
            Self::Piped { pipe, .. } => {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(pipe).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// How much has been taken and not been handed over yet.
    pub(super) fn backlog(&self) -> usize {
        match self {
            Self::Served(stream) => stream.backlog(),
            Self::Asked(stream) => stream.backlog(),
            Self::Tcp(_) | Self::Piped { .. } => 0,
        }
    }

    /// Sends some of these bytes.
    #[inline]
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => socket::poll_send(stream, cx, bytes),
            Self::Served(stream) => stream.poll_write(cx, bytes),
            Self::Asked(stream) => stream.poll_write(cx, bytes),
            Self::Piped { pipe, .. } => Pin::new(pipe).poll_write(cx, bytes),
        }
    }
}

/// As TLS reads and writes it.
impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if let Self::Tcp(stream) = stream {
            return Pin::new(stream).poll_read(cx, buffer);
        }
        let count = ready!(stream.poll_recv(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            stream => stream.poll_send(cx, first(pieces)),
        }
    }

    /// A socket takes what it takes at once.
    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Piped { .. } => Poll::Ready(Ok(())),
            Self::Served(stream) => stream.poll_flush(cx),
            Self::Asked(stream) => stream.poll_flush(cx),
        }
    }

    /// A stream of HTTP/2 ends with its message, unless it has become something else.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Served(stream) => stream.poll_shutdown(cx),
            Self::Asked(stream) => stream.poll_shutdown(cx),
            Self::Piped { pipe, .. } => Pin::new(pipe).poll_shutdown(cx),
        }
    }
}

/// The first piece that holds anything.
pub(super) fn first<'a>(pieces: &'a [IoSlice<'_>]) -> &'a [u8] {
    pieces.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece)
}
