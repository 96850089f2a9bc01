//! A client connection as its task and its exchanges see it, within one worker's thread.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{ALT_SVC, HeaderName, HeaderValue};
use lb_h1::{Fields, HeadLimits};
use lb_observe::ListenerStats;
use lb_tls::ServerTls;

use crate::admission::Seat;
use crate::config::ListenerConfig;
use crate::forwarded;
use crate::listeners::Gate;
use crate::proxy_protocol::Ends;
use crate::watch::{Phase, Watch};
use crate::worker::Worker;

/// A listener as one worker sees it.
pub(crate) struct Listener {
    pub(crate) config: ListenerConfig,
    pub(crate) head_limits: HeadLimits,
    pub(crate) stats: Arc<ListenerStats>,
    pub(crate) gate: Rc<Gate>,
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// What clients over TCP are told of HTTP/3, where it is spoken (RFC 7838).
    alt_svc: Option<HeaderValue>,
}

impl Listener {
    pub(crate) fn new(
        config: ListenerConfig,
        stats: Arc<ListenerStats>,
        gate: Rc<Gate>,
        tls: Option<Arc<ServerTls>>,
        port: u16,
    ) -> Self {
        let head_limits = HeadLimits {
            max_head_bytes: config.limits.max_header_bytes,
            max_line_bytes: config.limits.max_header_bytes.min(HeadLimits::default().max_line_bytes),
            max_fields: config.limits.max_headers,
            ..HeadLimits::default()
        };
        if config.tcp.is_some() {
            stats.carries_connections();
        }
        if config.forward_proxy.is_some() {
            stats.forwards();
        }
        if config.proxy_protocol.is_some() {
            stats.expects_preambles();
        }
        let alt_svc = config.limits.http3.and_then(|http3| {
            let (port, age) = (http3.advertised_port.unwrap_or(port), http3.advertised_for.as_secs());
            HeaderValue::try_from(format!("h3=\":{port}\"; ma={age}")).ok()
        });
        Self { config, head_limits, stats, gate, tls, alt_svc }
    }

    /// Tells a client that it can have this listener by HTTP/3, in the place of what a backend says of itself.
    pub(crate) fn advertise(&self, headers: &mut Fields) {
        if let Some(alt_svc) = &self.alt_svc {
            headers.insert(&ALT_SVC, alt_svc);
        }
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
    /// Both ends of the connection, where backends may have to be told of them.
    ends: Option<Box<Ends>>,
    place: Place,
}

/// What a client stands for.
enum Place {
    /// A connection, with its place among its address's connections, where those are counted.
    Connection { _seat: Option<Seat> },
    /// One stream of a connection, which stays for as long as its streams.
    Stream { connection: Rc<Client> },
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
            ends: None,
            worker,
            listener,
            place: Place::Connection { _seat: seat },
        })
    }

    /// One stream of this connection: it has deadlines of its own, and is no connection more.
    pub(crate) fn stream(connection: &Rc<Self>) -> Rc<Self> {
        let limits = connection.listener.config.limits;
        Rc::new(Self {
            worker: Rc::clone(&connection.worker),
            listener: Rc::clone(&connection.listener),
            peer: connection.peer,
            peer_value: connection.peer_value.clone(),
            watch: Watch::new(Instant::now(), limits.header_timeout),
            secured: OnceCell::new(),
            ends: connection.ends.clone(),
            place: Place::Stream { connection: Rc::clone(connection) },
        })
    }

    /// These are the ends of its connection.
    pub(crate) fn joins(&mut self, ends: Ends) {
        self.ends = Some(Box::new(ends));
    }

    /// A peer that is believed says where the connection comes from, which has this place among that address's connections.
    pub(crate) fn comes_from(&mut self, ends: Ends, seat: Option<Seat>) {
        self.peer = ends.source.ip().to_canonical();
        self.peer_value = forwarded::address_value(self.peer);
        self.place = Place::Connection { _seat: seat };
        self.joins(ends);
    }

    /// The ends of its connection, for a backend that is to take the client to be at this address. Whoever sent it on by HTTP
    /// said no port.
    pub(crate) fn ends_as(&self, address: IpAddr) -> Ends {
        let unknown = || Ends { source: (self.peer, 0).into(), destination: self.listener.config.address };
        let ends = self.ends.as_deref().copied().unwrap_or_else(unknown);
        match address == self.peer {
            true => ends,
            false => Ends { source: (address, 0).into(), ..ends },
        }
    }

    /// Whether clients are to go elsewhere with their next request.
    pub(crate) fn is_leaving(&self) -> bool {
        self.listener.gate.is_leaving() || self.worker.is_leaving()
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
        let secured = match &self.place {
            Place::Connection { .. } => self.secured.get(),
            Place::Stream { connection } => connection.secured.get(),
        };
        if let (Some(field), Some(secured)) = (field, secured) {
            headers.insert(field, &secured.subject);
        }
    }

    /// The first bytes of a request have come.
    pub(crate) fn begin_head(&self) {
        self.watch.begin(Phase::Head, Instant::now(), self.listener.config.limits.header_timeout);
    }

    /// The exchange is over; the connection waits for the next one.
    pub(crate) fn begin_idle(&self, now: Instant) {
        self.watch.end_by(None);
        self.watch.begin(Phase::Idle, now, self.listener.config.limits.keep_alive_timeout);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if matches!(self.place, Place::Stream { .. }) {
            return;
        }
        self.listener.stats.closed(self.worker.index);
        self.worker.closed();
    }
}
