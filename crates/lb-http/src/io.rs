//! A client's socket as hyper reads and writes it, telling the connection's watch what it sees.
//!
//! Cost: one branch a call. Cancel-safe: it holds no data.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::watch::Phase;

/// The client's end of a connection.
pub(crate) struct ClientIo {
    stream: TokioIo<TcpStream>,
    client: Rc<Client>,
}

impl ClientIo {
    pub(crate) fn new(stream: TcpStream, client: Rc<Client>) -> Self {
        Self { stream: TokioIo::new(stream), client }
    }

    /// The socket itself, to be written to when hyper has been given up.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream.into_inner()
    }

    fn wrote(&self, written: usize, offered: usize) {
        if written < offered {
            self.client.watch.progressed();
        }
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if self.client.watch.phase() == Phase::Idle {
            self.client.begin_head();
        }
        Poll::Ready(result)
    }
}

impl Write for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.wrote(written, buf.len());
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.wrote(written, bufs.iter().map(|buf| buf.len()).sum());
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
