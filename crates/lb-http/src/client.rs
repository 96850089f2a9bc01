//! A client connection as its task and its exchanges see it, within one worker's thread.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::HeaderValue;
use lb_h1::HeadLimits;
use lb_observe::ListenerStats;

use crate::admission::Seat;
use crate::config::ListenerConfig;
use crate::forwarded;
use crate::listeners::Gate;
use crate::watch::{Phase, Watch};
use crate::worker::Worker;

/// A listener as one worker sees it.
pub(crate) struct Listener {
    pub(crate) config: ListenerConfig,
    pub(crate) head_limits: HeadLimits,
    pub(crate) stats: Arc<ListenerStats>,
    pub(crate) gate: Rc<Gate>,
}

impl Listener {
    pub(crate) fn new(config: ListenerConfig, stats: Arc<ListenerStats>, gate: Rc<Gate>) -> Self {
        let head_limits = HeadLimits {
            max_head_bytes: config.limits.max_header_bytes,
            max_line_bytes: config.limits.max_header_bytes.min(HeadLimits::default().max_line_bytes),
            max_fields: config.limits.max_headers,
            ..HeadLimits::default()
        };
        Self { config, head_limits, stats, gate }
    }
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
    /// Its place among its address's connections, where those are counted.
    _seat: Option<Seat>,
}

impl Client {
    pub(crate) fn new(
        worker: Rc<Worker>,
        listener: Rc<Listener>,
        peer: IpAddr,
        seat: Option<Seat>,
    ) -> Rc<Self> {
        listener.stats.opened(worker.index);
        let peer = peer.to_canonical();
        let limits = listener.config.limits;
        Rc::new(Self {
            peer,
            peer_value: forwarded::address_value(peer),
            watch: Watch::new(Instant::now(), limits.header_timeout),
            worker,
            listener,
            _seat: seat,
        })
    }

    /// Whether this connection takes no new requests: its listener has been closed.
    pub(crate) fn is_draining(&self) -> bool {
        self.listener.gate.is_closing()
    }

    /// The first bytes of a request have come.
    pub(crate) fn begin_head(&self) {
        self.watch.begin(Phase::Head, Instant::now(), self.listener.config.limits.header_timeout);
    }

    /// The exchange is over; the connection waits for the next one.
    pub(crate) fn begin_idle(&self, now: Instant) {
        self.watch.begin(Phase::Idle, now, self.listener.config.limits.keep_alive_timeout);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.listener.stats.closed(self.worker.index);
        self.worker.closed();
    }
}
