//! How the bytes of an HTTP/2 connection come and go, with a client as with a backend.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use lb_h2::{Connection, Ended};

use crate::transport::Transport;

/// Reads what is there, and takes it in. An end of the connection is an error; of one that its peer has broken the rules of, the
/// peer has been told.
pub(crate) fn poll_receive(
    cx: &mut Context<'_>,
    connection: &Connection,
    transport: &mut Transport,
    scratch: &mut [u8],
) -> Poll<io::Result<()>> {
    if !transport.inbox.is_empty() {
        let ahead = std::mem::take(&mut transport.inbox);
        return Poll::Ready(connection.receive(&ahead).map_err(|Ended| io::ErrorKind::InvalidData.into()));
    }
    let came = match ready!(transport.poll_read(cx, scratch)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::ConnectionReset, "the connection was closed")),
        came => came,
    };
    Poll::Ready(match came {
        Ok(count) => connection
            .receive(scratch.get(..count).unwrap_or_default())
            .map_err(|Ended| io::ErrorKind::InvalidData.into()),
        Err(error) => {
            connection.close(&error);
            Err(error)
        }
    })
}

/// Sends all that is to be sent.
pub(crate) fn poll_send(
    cx: &mut Context<'_>,
    connection: &Connection,
    transport: &mut Transport,
) -> Poll<io::Result<()>> {
    while connection.pending() > 0 {
        let sent = connection.with_pending(|bytes| match transport.poll_write(cx, bytes) {
            Poll::Ready(Ok(count)) => (count, Poll::Ready(Ok(count))),
            other => (0, other),
        });
        match ready!(sent) {
            Ok(1..) => {}
            Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) => {
                connection.close(&error);
                return Poll::Ready(Err(error));
            }
        }
    }
    transport.poll_flush(cx, &mut BytesMut::new())
}
