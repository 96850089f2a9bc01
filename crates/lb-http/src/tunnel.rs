//! A connection that has been switched to another protocol (RFC 9110 §7.8), WebSocket mostly: bytes both ways, looked at
//! by nobody, until both sides have said all they had to say or nothing has moved for too long.
//!
//! Cost: bytes are read into the worker's buffer and offered to the other socket at once; a tunnel owns memory only for
//! what that socket did not take, and reads no more from one side until the other has taken it.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::client::Client;
use crate::conversation::Conversation;
use crate::transport::{TURN, Transport};
use crate::watch::Phase;

/// What went through a tunnel.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Carried {
    /// From the client.
    pub(crate) bytes_in: u64,
    /// To the client.
    pub(crate) bytes_out: u64,
    /// Whether both sides ended it. If not, nothing moved for too long, or a connection broke.
    pub(crate) is_ended: bool,
}

/// Carries bytes both ways until the end. What stands in the outbox (the head that switches protocols) goes first, then
/// what both sides have sent already. `idle` is how long nothing may move; once one side has said all, `rest` is how long
/// the other one may be silent. Dropping it breaks the tunnel off.
pub(crate) async fn tunnel(
    conversation: &mut Conversation,
    backend: &mut Transport,
    (idle, rest): (Duration, Duration),
) -> Carried {
    let mut up = Way { pending: conversation.transport.inbox.split(), ..Way::default() };
    up.bytes = up.pending.len() as u64;
    let mut down = Way { bytes: backend.inbox.len() as u64, ..Way::default() };
    down.pending = std::mem::take(&mut conversation.outbox);
    down.pending.unsplit(backend.inbox.split());
    let Conversation { client, transport, .. } = conversation;
    client.watch.begin(Phase::Tunnel, Instant::now(), idle);
    let is_ended = std::future::poll_fn(|cx| {
        if client.watch.is_expired() {
            return Poll::Ready(false);
        }
        let before = (up.progress, down.progress);
        let moved =
            up.step(cx, client, transport, backend).and_then(|()| down.step(cx, client, backend, transport));
        if moved.is_err() {
            return Poll::Ready(false);
        }
        if up.is_over && down.is_over {
            return Poll::Ready(true);
        }
        if before != (up.progress, down.progress) {
            let limit = if up.is_over || down.is_over { rest.min(idle) } else { idle };
            client.watch.begin(Phase::Tunnel, Instant::now(), limit);
        }
        Poll::Pending
    })
    .await;
    Carried { bytes_in: up.bytes, bytes_out: down.bytes, is_ended }
}

/// A connection broke.
struct Broken;

/// One direction.
#[derive(Default)]
struct Way {
    /// What the receiver has not taken yet.
    pending: BytesMut,
    bytes: u64,
    /// Rises with everything that moves.
    progress: u64,
    /// The sender has said all.
    is_read: bool,
    /// And the receiver has been told.
    is_over: bool,
}

impl Way {
    /// Moves what can be moved without waiting, for a turn at most.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
        from: &mut Transport,
        to: &mut Transport,
    ) -> Result<(), Broken> {
        for _ in 0..TURN {
            if self.is_over {
                return Ok(());
            }
            let owed = self.pending.len() + to.backlog();
            if owed > 0 || self.is_read {
                let flushed = to.poll_flush(cx, &mut self.pending);
                self.progress += u64::from(self.pending.len() + to.backlog() < owed);
                match flushed {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Err(_)) => return Err(Broken),
                    Poll::Ready(Ok(())) => {}
                }
            }
            if self.is_read {
                return match to.poll_shutdown(cx) {
                    Poll::Pending => Ok(()),
                    // One that is closed already needs no telling.
                    Poll::Ready(_) => {
                        self.is_over = true;
                        self.progress += 1;
                        Ok(())
                    }
                };
            }
            self.pending = BytesMut::new();
            let mut scratch = Conversation::scratch(client);
            match from.poll_read(cx, &mut scratch) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Broken),
                Poll::Ready(Ok(0)) => self.is_read = true,
                Poll::Ready(Ok(count)) => {
                    self.bytes += count as u64;
                    let piece = scratch.get(..count).unwrap_or_default();
                    to.poll_write_after(cx, &mut self.pending, piece).map_err(|_| Broken)?;
                }
            }
            self.progress += 1;
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Ok(())
    }
}
