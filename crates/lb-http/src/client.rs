//! A client connection as its task and its exchanges see it, within one worker's thread.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use lb_h1::{Fields, HeadLimits};
use lb_observe::ListenerStats;
use lb_tls::ServerTls;

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
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Listener {
    pub(crate) fn new(
        config: ListenerConfig,
        stats: Arc<ListenerStats>,
        gate: Rc<Gate>,
        tls: Option<Arc<ServerTls>>,
    ) -> Self {
        let head_limits = HeadLimits {
            max_head_bytes: config.limits.max_header_bytes,
            max_line_bytes: config.limits.max_header_bytes.min(HeadLimits::default().max_line_bytes),
            max_fields: config.limits.max_headers,
            ..HeadLimits::default()
        };
        Self { config, head_limits, stats, gate, tls }
    }
}

/// What a client's certificate says.
pub(crate) struct Secured {
    pub(crate) subject: HeaderValue,
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
    /// Who it has shown to be, where it was asked.
    secured: OnceCell<Box<Secured>>,
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
            secured: OnceCell::new(),
            worker,
            listener,
            _seat: seat,
        })
    }

    /// Whether this connection takes no new requests: its listener has been closed.
    pub(crate) fn is_draining(&self) -> bool {
        self.listener.gate.is_closing()
    }

    /// Whether it speaks TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.listener.tls.is_some()
    }

    /// The scheme of what it asks for.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.is_secure() { "https" } else { "http" }
    }

    /// It has shown who it is.
    pub(crate) fn introduce(&self, secured: Secured) {
        // Once a connection: there is no renegotiation.
        let _ = self.secured.set(Box::new(secured));
    }

    /// Says in a request who the client has shown to be. What it says of that itself, in any of these fields and at
    /// whichever listener, is dropped.
    pub(crate) fn tell_identity(&self, fields: &[HeaderName], headers: &mut Fields) {
        for field in fields {
            headers.remove(field);
        }
        let field = self.listener.config.tls.as_ref().and_then(|tls| tls.subject_header.as_ref());
        if let (Some(field), Some(secured)) = (field, self.secured.get()) {
            headers.insert(field, &secured.subject);
        }
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
