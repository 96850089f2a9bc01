//! What a client connection's task, its exchange and both of its bodies share, within one worker's thread.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use lb_observe::ListenerStats;

use crate::config::{ListenerConfig, Timeouts};
use crate::forwarded;
use crate::watch::{Phase, Watch};
use crate::worker::Worker;

/// A listener as one worker sees it.
pub(crate) struct Listener {
    pub(crate) config: ListenerConfig,
    pub(crate) stats: Arc<ListenerStats>,
}

/// One client connection.
pub(crate) struct Client {
    pub(crate) worker: Rc<Worker>,
    pub(crate) listener: Rc<Listener>,
    /// The peer's address, IPv4 in IPv6 as IPv4.
    pub(crate) peer: IpAddr,
    /// The same as a field value.
    pub(crate) peer_value: HeaderValue,
    pub(crate) watch: Watch,
    pub(crate) upload: Upload,
}

impl Client {
    pub(crate) fn new(worker: Rc<Worker>, listener: Rc<Listener>, peer: IpAddr) -> Rc<Self> {
        listener.stats.opened(worker.index);
        let peer = peer.to_canonical();
        let limits = listener.config.limits;
        Rc::new(Self {
            peer,
            peer_value: forwarded::address_value(peer),
            watch: Watch::new(Instant::now(), limits.header_timeout),
            upload: Upload::default(),
            worker,
            listener,
        })
    }

    /// The first bytes of a request have come.
    pub(crate) fn begin_head(&self) {
        self.watch.begin(Phase::Head, Instant::now(), self.listener.config.limits.header_timeout);
    }

    /// The exchange is over; the connection waits for the next one.
    pub(crate) fn begin_idle(&self, now: Instant) {
        self.watch.begin(Phase::Idle, now, self.listener.config.limits.keep_alive_timeout);
    }

    /// Begins the part of an exchange in which the request goes out: its body first, if it has one, then the
    /// wait for the response head.
    pub(crate) fn begin_forwarding(&self, now: Instant, timeouts: Timeouts, response_head: Duration) {
        self.upload.idle.set(timeouts.idle);
        self.upload.response_head.set(response_head);
        let (phase, limit) = match self.upload.state.get() {
            UploadState::Done => (Phase::Wait, response_head),
            _ => (Phase::Upload, timeouts.idle),
        };
        self.watch.begin(phase, now, limit);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.listener.stats.closed(self.worker.index);
        self.worker.closed();
    }
}

/// How far the request body of the present exchange has come.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    state: Cell<UploadState>,
    bytes: Cell<u64>,
    idle: Cell<Duration>,
    response_head: Cell<Duration>,
}

/// What the request body is waiting for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadState {
    /// There is none, or its last piece has been taken.
    #[default]
    Done,
    /// The next piece is the client's to send.
    Client,
    /// The next piece is the backend's to take.
    Backend,
    /// The client broke off, or what it sent is no body.
    Broken,
}

impl Upload {
    /// A new exchange begins.
    pub(crate) fn begin(&self, has_body: bool) {
        self.state.set(if has_body { UploadState::Client } else { UploadState::Done });
        self.bytes.set(0);
    }

    pub(crate) fn state(&self) -> UploadState {
        self.state.get()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// The client has nothing for us at present.
    pub(crate) fn starved(&self) {
        self.state.set(UploadState::Client);
    }

    pub(crate) fn broke(&self) {
        self.state.set(UploadState::Broken);
    }

    /// A piece has been taken by the backend's side: the deadline moves on, to that of the response head after
    /// the last piece. An answer that is under way already keeps its own.
    pub(crate) fn took(&self, bytes: usize, is_last: bool, watch: &Watch) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
        self.state.set(if is_last { UploadState::Done } else { UploadState::Backend });
        if watch.phase() != Phase::Upload {
            return;
        }
        let now = Instant::now();
        match is_last {
            true => watch.begin(Phase::Wait, now, self.response_head.get()),
            false => watch.begin(Phase::Upload, now, self.idle.get()),
        }
    }
}
