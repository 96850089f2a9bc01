//! Frames of HTTP/2 on their way out of a connection, gathered until it has no more to say at once.
//!
//! `h2` writes and flushes each frame with a body by itself. Streams that are answered together then cost a system call each, and
//! by TLS a record each. Here they wait until the connection's task has nothing left to do, which is before it waits for anything.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use crate::transport::Transport;

/// How much is gathered before it is sent at all events: as much as TLS seals in one go.
const FULL: usize = 64 << 10;

thread_local! {
    /// Room that the last connection has left: one for all of a worker's, which stays in the core's cache.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// Takes some of these pieces.
pub(crate) fn poll_gather(
    cx: &mut Context<'_>,
    outbox: &mut BytesMut,
    transport: &mut Transport,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if outbox.len() >= FULL {
        ready!(poll_send(cx, outbox, transport))?;
    }
    if outbox.is_empty() {
        *outbox = SPARE.take();
        outbox.reserve(FULL);
    }
    let before = outbox.len();
    for piece in pieces {
        let count = piece.len().min(FULL.saturating_sub(outbox.len()));
        outbox.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    Poll::Ready(Ok(outbox.len() - before))
}

/// Sends all that was gathered; its room is for whoever comes next.
pub(crate) fn poll_send(
    cx: &mut Context<'_>,
    outbox: &mut BytesMut,
    transport: &mut Transport,
) -> Poll<io::Result<()>> {
    let is_used = !outbox.is_empty();
    ready!(transport.poll_flush(cx, outbox))?;
    if is_used {
        let mut room = std::mem::take(outbox);
        // What was sent stood at its front, and is room again.
        room.reserve(FULL);
        SPARE.set(room);
    }
    Poll::Ready(Ok(()))
}
