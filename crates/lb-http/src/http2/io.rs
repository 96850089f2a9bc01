//! A client's transport as the `h2` crate reads and writes it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::conversation::Conversation;
use crate::watch::Phase;

/// The client's side of a connection, shared with whoever ends it.
pub(super) struct Io(Rc<RefCell<Conversation>>);

impl Io {
    pub(super) fn new(conversation: Rc<RefCell<Conversation>>) -> Self {
        Self(conversation)
    }

    fn write(
        &self,
        write: impl FnOnce(&mut Conversation) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let mut conversation = self.0.borrow_mut();
        let count = ready!(write(&mut conversation))?;
        // While the connection sends what is left, a slow client that takes some of it has earned more time.
        if count > 0 && conversation.client.watch.phase() == Phase::Relay {
            conversation.client.watch.progressed();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let transport = &mut self.0.borrow_mut().transport;
        let inbox = &mut transport.inbox;
        if !inbox.is_empty() {
            let count = inbox.len().min(buffer.remaining());
            buffer.put_slice(inbox.get(..count).unwrap_or_default());
            inbox.advance(count);
            return Poll::Ready(Ok(()));
        }
        let count = ready!(transport.poll_read(cx, buffer.initialize_unfilled()))?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|conversation| conversation.transport.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|conversation| conversation.transport.poll_write_pieces(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().transport.is_plain()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Conversation { transport, outbox, .. } = &mut *self.0.borrow_mut();
        transport.poll_flush(cx, outbox)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().transport.poll_shutdown(cx)
    }
}
