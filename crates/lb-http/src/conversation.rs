//! The client's side of a connection: heads come in, answers go out, one exchange after the other.

use std::cell::RefMut;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use lb_h1::{ParseState, RequestError, RequestHead, parse_request};

use crate::client::Client;
use crate::exchange::Switched;
use crate::transport::Transport;
use crate::watch::Phase;

/// Bytes of further requests that are read ahead while one is being answered, to notice that the client leaves.
const MAX_READ_AHEAD: usize = 64 << 10;
/// After a last answer: how long, and how much, is still read of what the client is sending, so that the answer
/// is not lost to a reset (RFC 9112 §9.6).
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

/// One client connection and what is pending on it.
pub(crate) struct Conversation {
    pub(crate) client: Rc<Client>,
    pub(crate) transport: Transport,
    /// Bytes for the client that its socket has not taken yet.
    pub(crate) outbox: BytesMut,
    parse: ParseState,
}

/// What is to become of the connection.
pub(crate) enum Next {
    /// Another request may come.
    KeepAlive,
    /// Nothing more will be read or said: all has been said that was to be.
    Close,
    /// It is broken off: the client must not take what it has for the whole.
    Break,
    /// It is reset: its end would be taken for that of the answer, or a client that stands still would keep what the kernel
    /// holds for it.
    Reset,
    /// The last word has been said to a client that may still be talking.
    Linger,
    /// It speaks another protocol from here on.
    Switched(Box<Switched>),
}

/// Why there is no next request.
pub(crate) enum NoHead {
    /// The client is done, or has been idle for too long, or the worker drains.
    Over,
    /// A head was begun and not finished within its time.
    Slow,
    /// What came is no acceptable request.
    Refused(RequestError),
}

/// The client has closed or broken its connection.
#[derive(Debug)]
pub(crate) struct Gone;

impl Conversation {
    pub(crate) fn new(transport: Transport, client: Rc<Client>) -> Self {
        Self { client, transport, outbox: BytesMut::new(), parse: ParseState::default() }
    }

    /// The worker's reading buffer. Not to be held while anything waits.
    pub(crate) fn scratch(client: &Client) -> RefMut<'_, Box<[u8]>> {
        client.worker.scratch.borrow_mut()
    }

    /// Waits for the next request's head.
    pub(crate) async fn read_head(&mut self) -> Result<Box<RequestHead>, NoHead> {
        if self.transport.inbox.is_empty() {
            // An idle connection owns no buffers: they are cheaper made anew than kept by ten thousand.
            self.transport.inbox = BytesMut::new();
        }
        self.outbox = BytesMut::new();
        std::future::poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<RequestHead>, NoHead>> {
        let client = &*self.client;
        loop {
            if !self.transport.inbox.is_empty() {
                match parse_request(&mut self.transport.inbox, &client.listener.head_limits, &mut self.parse)
                {
                    Ok(Some(head)) => return Poll::Ready(Ok(Box::new(head))),
                    // Heads that come whole need no time of their own.
                    Ok(None) if client.watch.phase() == Phase::Idle => client.begin_head(),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Err(NoHead::Refused(error))),
                }
            }
            let is_idle = self.parse.is_idle();
            if client.watch.is_expired() {
                return Poll::Ready(Err(if is_idle { NoHead::Over } else { NoHead::Slow }));
            }
            let mut scratch = Self::scratch(client);
            let filled = self.transport.poll_fill(cx, &mut scratch);
            // What has come already is served before the connection ends.
            if filled.is_pending() && is_idle && client.is_draining() {
                return Poll::Ready(Err(NoHead::Over));
            }
            match ready!(filled) {
                Ok(0) | Err(_) => return Poll::Ready(Err(NoHead::Over)),
                Ok(_) => {}
            }
        }
    }

    /// Looks whether the client is still there, while it has nothing to send that is wanted. What it sends all the
    /// same is kept for later, up to a bound.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        let mut scratch = Self::scratch(&self.client);
        while self.transport.inbox.len() < MAX_READ_AHEAD {
            match ready!(self.transport.poll_fill(cx, &mut scratch)) {
                Ok(0) | Err(_) => return Poll::Ready(Gone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }

    /// Sends what is pending. A slow client that takes some of it has earned more time.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_out(cx, Transport::poll_flush)
    }

    /// Sends what is pending when more is to follow at once.
    pub(crate) fn poll_flush_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.poll_out(cx, Transport::poll_flush_ahead)
    }

    /// What the client's socket has not taken yet.
    pub(crate) fn pending(&self) -> usize {
        self.outbox.len() + self.transport.backlog()
    }

    fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        flush: fn(&mut Transport, &mut Context<'_>, &mut BytesMut) -> Poll<io::Result<()>>,
    ) -> Poll<Result<(), Gone>> {
        let before = self.pending();
        let flushed = flush(&mut self.transport, cx, &mut self.outbox);
        if flushed.is_pending() && self.pending() < before {
            self.client.watch.progressed();
        }
        flushed.map_err(|_: io::Error| Gone)
    }

    /// Sends everything, within the time that the watch gives.
    pub(crate) async fn flush(&mut self) -> Result<(), Gone> {
        std::future::poll_fn(|cx| {
            if self.client.watch.is_expired() {
                return Poll::Ready(Err(Gone));
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Ends the sending side and reads on for a while, so that the last answer arrives.
    pub(crate) async fn linger(&mut self) {
        self.client.watch.begin(Phase::Linger, Instant::now(), LINGER_TIME);
        let mut left = LINGER_BYTES;
        let mut is_shut = false;
        std::future::poll_fn(|cx| {
            if !is_shut {
                is_shut = self.transport.poll_shutdown(cx).is_ready();
            }
            let mut scratch = Self::scratch(&self.client);
            while !self.client.watch.is_expired() {
                match ready!(self.transport.poll_read(cx, &mut scratch)) {
                    Ok(count) if count > 0 && count < left => left -= count,
                    Ok(_) | Err(_) => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}
