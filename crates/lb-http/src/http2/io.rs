//! A client's transport as the `h2` crate reads and writes it. What it writes leaves with [`Io::poll_send`].

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conversation::Conversation;
use crate::frames;
use crate::transport::SCRATCH;
use crate::watch::Phase;

/// The client's side of a connection, shared with whoever ends it.
#[derive(Clone)]
pub(super) struct Io(Rc<RefCell<Conversation>>);

impl Io {
    pub(super) fn new(conversation: Rc<RefCell<Conversation>>) -> Self {
        Self(conversation)
    }

    /// Sends what has been written.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut conversation = self.0.borrow_mut();
        let before = conversation.pending();
        let Conversation { transport, outbox, .. } = &mut *conversation;
        let sent = frames::poll_send(cx, outbox, transport);
        // While the connection sends what is left, a slow client that takes some of it has earned more time.
        if conversation.pending() < before && conversation.client.watch.phase() == Phase::Relay {
            conversation.client.watch.progressed();
        }
        sent
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Conversation { client, transport, .. } = &mut *self.0.borrow_mut();
        let inbox = &mut transport.inbox;
        if !inbox.is_empty() {
            let count = inbox.len().min(buffer.remaining());
            buffer.put_slice(inbox.get(..count).unwrap_or_default());
            inbox.advance(count);
            return Poll::Ready(Ok(()));
        }
        if transport.session().is_none() {
            return transport.poll_read_buf(cx, buffer);
        }
        // A few bytes that are copied cost less than room for many that is cleared.
        let mut scratch = Conversation::scratch(client);
        let room = scratch.get_mut(..buffer.remaining().min(SCRATCH)).unwrap_or_default();
        let count = ready!(transport.poll_read(cx, room))?;
        buffer.put_slice(room.get(..count).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Conversation { transport, outbox, .. } = &mut *self.0.borrow_mut();
        frames::poll_gather(cx, outbox, transport, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// More may follow; the connection's task sends it all before it waits.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.0.borrow_mut().transport.poll_shutdown(cx)
    }
}
