//! Connecting with no call more than it takes, and `recv` and `send` on a stream of tokio's by the system call itself: the C library's make every call a point where a thread
//! could be cancelled, which costs both about a hundredth of a small request and which nobody uses.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use rustix::io::{Errno, readv};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Connects. What became of it is told by what epoll says, and asked for only where that is no good. Cancel-safe.
///
/// # Errors
/// Nobody is there, or nobody who takes the connection, or no descriptor is left.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from_std(socket.into())?;
    if stream.ready(Interest::WRITABLE).await?.is_write_closed()
        && let Some(error) = stream.take_error()?
    {
        return Err(error);
    }
    Ok(stream)
}

/// Reads what is there; 0 is the end.
pub(crate) fn poll_recv(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let length = buffer.len();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let called =
            call(
                stream,
                Interest::READABLE,
                length,
                || Ok(recv(stream, &mut *buffer, RecvFlags::empty())?.0),
            );
        if let Some(done) = called {
            return Poll::Ready(done);
        }
    }
}

/// Reads what is there into these pieces, one after the other; 0 is the end.
pub(crate) fn poll_readv(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    pieces: &mut [IoSliceMut<'_>],
) -> Poll<io::Result<usize>> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    loop {
        ready!(stream.poll_read_ready(cx))?;
        let called = call(stream, Interest::READABLE, length, || Ok(readv(stream, pieces)?));
        if let Some(done) = called {
            return Poll::Ready(done);
        }
    }
}

/// Sends some of these bytes.
pub(crate) fn poll_send(stream: &TcpStream, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    loop {
        ready!(stream.poll_write_ready(cx))?;
        let called =
            call(stream, Interest::WRITABLE, bytes.len(), || Ok(send(stream, bytes, SendFlags::NOSIGNAL)?));
        if let Some(done) = called {
            return Poll::Ready(done);
        }
    }
}

/// Makes a call that would move `length` bytes; `None` where the stream was not ready after all.
///
/// A call that moved fewer has emptied or filled the socket, of whose next change epoll tells (epoll(7), question 9): so the
/// readiness is over, and no further call has to find that out.
fn call(
    stream: &TcpStream,
    interest: Interest,
    length: usize,
    make: impl FnOnce() -> io::Result<usize>,
) -> Option<io::Result<usize>> {
    let mut moved = None;
    let called = stream.try_io(interest, || {
        let count = make()?;
        moved = Some(count);
        if count > 0 && count < length { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match (moved, called) {
        (Some(count), _) => Some(Ok(count)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => None,
        (None, Err(error)) => Some(Err(error)),
        (None, Ok(())) => None,
    }
}
