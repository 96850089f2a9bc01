//! HTTP/2 to a backend: one connection that the worker's exchanges share, each with a stream of its own.
//!
//! A stream looks like a connection of one exchange (`lb-h2`), so that attempts, retries and relays know no difference. The
//! connection's frames are read and written by a task of its own, which ends with the last stream once nobody holds the
//! connection any more, or when the backend closes it or is silent for too long.

mod keep_alive;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use lb_h2::{BackendLimits, Connection};
use tokio::sync::Notify;

use self::keep_alive::KeepAlive;
use crate::http2::wire::{poll_receive, poll_send};
use crate::transport::{SCRATCH, Transport};

/// How often a connection reads before its streams have their turn.
const READS: u32 = 4;

thread_local! {
    /// Room to read into, for one connection at a time.
    static ROOM: Cell<Vec<u8>> = Cell::default();
}

/// A connection to a backend that many exchanges share.
pub(crate) struct Multiplex {
    connection: Connection,
    is_secure: bool,
    streams: Rc<Cell<usize>>,
    /// Streams at once that we open, whatever the backend takes.
    max_streams: usize,
    settings: Rc<Settings>,
    /// Whether the backend owes a sign of life.
    is_silent: Rc<Cell<bool>>,
    requests: u32,
    created: Instant,
    /// When it was last given to an exchange.
    used: Instant,
}

/// A stream that is counted while it is in use.
pub(crate) struct Place {
    streams: Rc<Cell<usize>>,
    settings: Rc<Settings>,
}

impl Place {
    /// Ready once the backend has said what it takes, or can say no more.
    pub(crate) async fn settled(&self) {
        while !self.settings.are_here.get() {
            self.settings.came.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.set(self.streams.get().saturating_sub(1));
    }
}

/// Whether the backend's settings have been read, which are the first frame of all (RFC 9113 §3.4), or never will be.
#[derive(Default)]
struct Settings {
    are_here: Cell<bool>,
    came: Notify,
}

impl Settings {
    fn come(&self) {
        if !self.are_here.replace(true) {
            self.came.notify_waiters();
        }
    }
}

impl Multiplex {
    /// Speaks HTTP/2 over a connection that has just been opened.
    pub(crate) fn begin(transport: Transport, limits: BackendLimits, now: Instant) -> Self {
        let is_secure = !transport.is_plain();
        let connection = Connection::client(&limits);
        let settings = Rc::<Settings>::default();
        let is_silent = Rc::<Cell<bool>>::default();
        if let Some(pings) = limits.pings {
            transport.look_after(pings.interval, pings.timeout);
        }
        let mut driver = Driver {
            connection: connection.clone(),
            transport,
            settings: Rc::clone(&settings),
            keep_alive: limits.pings.map(|pings| KeepAlive::new(pings, Rc::clone(&is_silent))),
        };
        // It owns itself: what it ends by is known to its streams.
        drop(tokio::task::spawn_local(std::future::poll_fn(move |cx| driver.poll(cx))));
        let max_streams = limits.max_streams.map_or(usize::MAX, |most| most.get() as usize);
        Self {
            connection,
            is_secure,
            streams: Rc::default(),
            max_streams,
            settings,
            is_silent,
            requests: 0,
            created: now,
            used: now,
        }
    }

    /// Whether another stream can be opened now; `None` where the connection is over.
    pub(crate) fn has_room(&self) -> Option<bool> {
        let is_free = self.streams.get() < self.max_streams && !self.is_silent.get();
        self.connection.has_room().map(|has_room| has_room && is_free)
    }

    /// A stream on it.
    pub(crate) fn stream(&mut self, now: Instant) -> (Transport, Place) {
        self.streams.set(self.streams.get() + 1);
        self.requests = self.requests.saturating_add(1);
        self.used = now;
        let stream = self.connection.stream(self.is_secure);
        let (streams, settings) = (Rc::clone(&self.streams), Rc::clone(&self.settings));
        (Transport::asked(stream), Place { streams, settings })
    }

    /// Whether its streams may become another protocol (RFC 8441); `None` where the backend has not said.
    pub(crate) fn takes_connect(&self) -> Option<bool> {
        self.settings.are_here.get().then(|| self.connection.takes_connect())
    }

    pub(crate) fn streams(&self) -> usize {
        self.streams.get()
    }

    pub(crate) fn requests(&self) -> u32 {
        self.requests
    }

    pub(crate) fn created(&self) -> Instant {
        self.created
    }

    pub(crate) fn used(&self) -> Instant {
        self.used
    }
}

/// The connection is nobody's any more; it goes with its last stream.
impl Drop for Multiplex {
    fn drop(&mut self) {
        self.connection.release();
    }
}

/// What reads and writes the connection's frames.
struct Driver {
    connection: Connection,
    transport: Transport,
    settings: Rc<Settings>,
    keep_alive: Option<KeepAlive>,
}

impl Driver {
    /// Ready when the connection is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.drive(cx);
        let mut room = ROOM.take();
        room.resize(SCRATCH, 0);
        let ended = self.poll_input(cx, &mut room);
        ROOM.set(room);
        if let Some(keep_alive) = &mut self.keep_alive
            && keep_alive.poll(cx, &self.connection).is_ready()
        {
            self.connection
                .close(&io::Error::new(io::ErrorKind::TimedOut, "a PING was not answered in time"));
            // What the system still holds for it must not arrive once it has been asked elsewhere.
            self.transport.reset_at_close();
            return Poll::Ready(());
        }
        let is_blocked = !self.connection.wants_input();
        let sent = poll_send(cx, &self.connection, &mut self.transport);
        let is_over = match sent {
            Poll::Ready(Err(_)) => true,
            Poll::Ready(Ok(())) => self.connection.is_done() || ended.is_ready(),
            // What was said last of streams that are over need not arrive.
            Poll::Pending => self.connection.is_done() || ended.is_ready(),
        };
        if is_over {
            return Poll::Ready(());
        }
        if is_blocked && self.connection.wants_input() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_input(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Error> {
        for _ in 0..READS {
            if !self.connection.wants_input() {
                return Poll::Pending;
            }
            let received = std::task::ready!(poll_receive(cx, &self.connection, &mut self.transport, room));
            if self.connection.is_introduced() {
                self.settings.come();
            }
            if let Err(error) = received {
                return Poll::Ready(error);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.connection.close(&io::Error::new(io::ErrorKind::ConnectionReset, "the connection is over"));
        self.settings.come();
        let mut cx = Context::from_waker(Waker::noop());
        self.transport.say_goodbye();
        _ = self.transport.poll_shutdown(&mut cx);
    }
}
