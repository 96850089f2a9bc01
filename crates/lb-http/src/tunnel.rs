//! A connection that carries a protocol which nobody here looks at: one that has been switched to another (RFC 9110 §7.8),
//! WebSocket mostly, or one of a TCP listener. Bytes go both ways until both sides have said all they had to say, or nothing
//! has moved for too long. Each side's end is passed on by itself, so that the other one may go on.
//!
//! Cost: bytes are read into the worker's buffer and offered to the other socket at once; a tunnel owns memory only for
//! what that socket did not take, and reads no more from one side until the other has taken it. Where bytes come in bulk and both
//! sides are sockets in the clear, they stay in the kernel (`splice.rs`).

use std::io;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::client::Client;
use crate::conversation::Conversation;
use crate::splice::{Splice, is_bulk};
use crate::transport::{TURN, Transport};
use crate::watch::Phase;

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both sides have said all.
    Over,
    /// Nothing moved for too long.
    Idle,
    /// This side's connection broke.
    Broken(Side),
}

/// One of the two that a tunnel joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who connected to us.
    Client,
    /// Whom we connected to.
    Backend,
}

/// A tunnel between a client and a backend. Dropping it drops what is on its way.
pub(crate) struct Tunnel {
    up: Way,
    down: Way,
    /// How long nothing may move.
    idle: Duration,
    /// The same once one side has said all.
    rest: Duration,
}

impl Tunnel {
    /// What stands in the outbox (a head that switches protocols) goes first, then what both sides have sent already.
    pub(crate) fn new(
        conversation: &mut Conversation,
        backend: &mut Transport,
        (idle, rest): (Duration, Duration),
    ) -> Self {
        let mut up = Way::between(Side::Client, Side::Backend);
        up.pending = conversation.transport.inbox.split();
        up.bytes = up.pending.len() as u64;
        let mut down = Way::between(Side::Backend, Side::Client);
        down.bytes = backend.inbox.len() as u64;
        down.pending = std::mem::take(&mut conversation.outbox);
        down.pending.unsplit(backend.inbox.split());
        conversation.client.watch.begin(Phase::Tunnel, Instant::now(), idle);
        Self { up, down, idle, rest }
    }

    /// A client by TLS that closes its connection without having said so has said all: many do, and what they sent is not to be lost.
    pub(crate) fn takes_any_end(mut self) -> Self {
        self.up.takes_any_end = true;
        self
    }

    /// Moves what can be moved; ready at the end.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        conversation: &mut Conversation,
        backend: &mut Transport,
    ) -> Poll<End> {
        let Conversation { client, transport, .. } = conversation;
        if client.watch.is_expired() {
            return Poll::Ready(End::Idle);
        }
        let (up, down) = (&mut self.up, &mut self.down);
        let before = (up.progress, down.progress);
        let moved = up.step(cx, client, (transport, backend), down.is_over);
        let moved = moved.and_then(|()| down.step(cx, client, (backend, transport), up.is_over));
        if let Err(side) = moved {
            return Poll::Ready(End::Broken(side));
        }
        if up.is_over && down.is_over {
            return Poll::Ready(End::Over);
        }
        // Nothing is read any more of a side that has said all, and it may break off all the same.
        if up.is_over && transport.poll_reset(cx).is_ready() {
            return Poll::Ready(End::Broken(Side::Client));
        }
        if down.is_over && backend.poll_reset(cx).is_ready() {
            return Poll::Ready(End::Broken(Side::Backend));
        }
        if before != (up.progress, down.progress) {
            let limit = if up.is_over || down.is_over { self.rest.min(self.idle) } else { self.idle };
            client.watch.begin(Phase::Tunnel, Instant::now(), limit);
        }
        Poll::Pending
    }

    /// Bytes that came from the client.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.up.bytes
    }

    /// Bytes that came from the backend.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.down.bytes
    }

    /// Whether this side has been told that the other one has said all.
    pub(crate) fn is_told(&self, side: Side) -> bool {
        match side {
            Side::Client => self.down.is_over,
            Side::Backend => self.up.is_over,
        }
    }
}

/// One direction.
struct Way {
    from: Side,
    to: Side,
    /// What the receiver has not taken yet.
    pending: BytesMut,
    /// The same of what stays in the kernel.
    splice: Splice,
    /// The sender sends so much at a time that it had better stay there.
    is_bulk: bool,
    /// The sender need not say that it has said all.
    takes_any_end: bool,
    bytes: u64,
    /// Rises with everything that moves.
    progress: u64,
    /// The sender has said all.
    is_read: bool,
    /// And the receiver has been told.
    is_over: bool,
}

impl Way {
    fn between(from: Side, to: Side) -> Self {
        Self {
            from,
            to,
            pending: BytesMut::new(),
            splice: Splice::default(),
            is_bulk: false,
            takes_any_end: false,
            bytes: 0,
            progress: 0,
            is_read: false,
            is_over: false,
        }
    }

    /// Moves what can be moved without waiting, for a turn at most. An error is the side that broke. `is_last` where the other way is
    /// over: once this one is, both sockets are closed at once.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
        (from, to): (&mut Transport, &mut Transport),
        is_last: bool,
    ) -> Result<(), Side> {
        for _ in 0..TURN {
            if self.is_over || self.give(cx, client, to)?.is_pending() {
                return Ok(());
            }
            if self.is_read {
                // A socket's close tells it as well, and one that is closed already needs no telling.
                if (is_last && to.is_plain()) || to.poll_shutdown(cx).is_ready() {
                    self.is_over = true;
                    self.progress += 1;
                }
                return Ok(());
            }
            if self.take(cx, client, from, to)?.is_pending() {
                return Ok(());
            }
            self.progress += 1;
        }
        // Others have their turn.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Gives on what has been taken; ready when the receiver has all of it.
    fn give(&mut self, cx: &mut Context<'_>, client: &Client, to: &mut Transport) -> Result<Poll<()>, Side> {
        let owed = self.pending.len() + to.backlog() + self.splice.held();
        if owed == 0 && !self.is_read {
            return Ok(Poll::Ready(()));
        }
        let mut given = to.poll_flush(cx, &mut self.pending);
        if matches!(given, Poll::Ready(Ok(()))) && !self.splice.is_empty() {
            given = self.splice.poll_give(cx, &client.worker.pipes, to);
        }
        self.progress += u64::from(self.pending.len() + to.backlog() + self.splice.held() < owed);
        match given {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Err(_)) => Err(self.to),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
        }
    }

    /// Takes what has come, once all before it has been given on.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        client: &Client,
        from: &mut Transport,
        to: &mut Transport,
    ) -> Result<Poll<()>, Side> {
        self.pending = BytesMut::new();
        if self.is_bulk && self.splice.suits(u64::MAX) && from.is_plain() && to.is_plain() {
            match self.splice.poll_take(cx, &client.worker.pipes, from, u64::MAX) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Err(_)) => return Err(self.from),
                Poll::Ready(Ok(Some(count))) => {
                    self.took(count);
                    return Ok(Poll::Ready(()));
                }
                // It cannot be done here.
                Poll::Ready(Ok(None)) => {}
            }
        }
        let mut scratch = Conversation::scratch(client);
        match from.poll_read(cx, &mut scratch) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Err(error)) if self.takes_any_end && error.kind() == io::ErrorKind::UnexpectedEof => {
                self.took(0);
            }
            Poll::Ready(Err(_)) => return Err(self.from),
            Poll::Ready(Ok(count)) => {
                self.took(count);
                let piece = scratch.get(..count).unwrap_or_default();
                if !piece.is_empty() {
                    to.poll_write_after(cx, &mut self.pending, piece).map_err(|_| self.to)?;
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// So much has come; nothing is the end.
    fn took(&mut self, count: usize) {
        self.is_read = count == 0;
        self.is_bulk = is_bulk(count);
        self.bytes += count as u64;
    }
}
