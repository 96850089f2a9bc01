//! What the data path keeps of an exchange that is dumped.
//!
//! Cost: the heads and bodies are copied as they pass, and nothing else is done to them here: reading, hiding and
//! writing are the writer's thread's. An exchange that is not dumped has no capture. Dropping one writes nothing.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{StatusCode, Uri};

use crate::budget::Reservation;
use crate::config::DumpConfig;
use crate::dump::Dump;
use crate::redact::Redaction;

/// The dump of one rule, in force.
#[derive(Debug)]
pub struct RuleDump {
    rule: Arc<RuleText>,
    sample_rate: f64,
    /// Bytes kept of each body; none where bodies are left out.
    max_body_size: Option<usize>,
    dump: Arc<Dump>,
}

/// What the writer needs of a rule.
#[derive(Debug)]
pub(crate) struct RuleText {
    pub(crate) name: String,
    pub(crate) redact: Redaction,
}

/// One exchange as far as it has come.
#[derive(Debug)]
pub struct Capture {
    rule: Arc<RuleText>,
    dump: Arc<Dump>,
    max_body_size: Option<usize>,
    request_head: Vec<u8>,
    response_head: RefCell<Vec<u8>>,
    request_body: RefCell<Kept>,
    response_body: RefCell<Kept>,
    held: RefCell<Reservation>,
    /// There was no memory for it: it is counted instead of written.
    is_lost: Cell<bool>,
}

/// Which of the two bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Request,
    /// What the client is answered.
    Response,
}

/// Takes down a body as it passes.
#[derive(Debug)]
pub struct Tee {
    capture: Rc<Capture>,
    side: Side,
}

/// A body as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_truncated: bool,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// The URL of the backend of the last attempt; empty where there was none.
    pub backend: &'a str,
    /// The client's address.
    pub client_ip: IpAddr,
    /// The value of `X-Request-Id`.
    pub request_id: &'a str,
    /// The target as received.
    pub uri: &'a Uri,
    /// What the client was answered; 499 where it left before.
    pub status: StatusCode,
    /// Attempts at backends.
    pub attempts: u32,
    /// Either side broke off before the answer was complete.
    pub aborted: bool,
    /// When it ended.
    pub ended_at: SystemTime,
    /// From the request's first byte to the answer's last.
    pub duration: Duration,
}

/// A finished exchange on its way to the writer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) rule: Arc<RuleText>,
    pub(crate) backend: String,
    pub(crate) client_ip: IpAddr,
    pub(crate) request_id: String,
    pub(crate) uri: Uri,
    pub(crate) status: StatusCode,
    pub(crate) attempts: u32,
    pub(crate) aborted: bool,
    pub(crate) started_at: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) request_head: Vec<u8>,
    pub(crate) request_body: Kept,
    pub(crate) response_head: Vec<u8>,
    pub(crate) response_body: Kept,
    /// Given back when the record has been written or dropped.
    pub(crate) _held: Reservation,
}

impl RuleDump {
    /// For a rule of this name, to the dump of its directory.
    #[must_use]
    pub fn new(rule: &str, config: &DumpConfig, dump: Arc<Dump>) -> Self {
        Self {
            rule: Arc::new(RuleText { name: rule.to_owned(), redact: config.redact.clone() }),
            sample_rate: config.sample_rate,
            max_body_size: config.include_body.then_some(config.max_body_size),
            dump,
        }
    }

    /// Begins to keep an exchange, where the dice want it dumped. `head` is the request's head as received.
    #[must_use]
    pub fn begin(&self, head: &[u8]) -> Option<Rc<Capture>> {
        // 0 and 1 are exact: the dice are never asked about them.
        if self.sample_rate <= 0.0 || (self.sample_rate < 1.0 && fastrand::f64() >= self.sample_rate) {
            return None;
        }
        let mut capture = Capture {
            rule: Arc::clone(&self.rule),
            max_body_size: self.max_body_size,
            request_head: Vec::new(),
            response_head: RefCell::default(),
            request_body: RefCell::default(),
            response_body: RefCell::default(),
            held: RefCell::new(self.dump.reserve()),
            is_lost: Cell::new(false),
            dump: Arc::clone(&self.dump),
        };
        if capture.hold(head.len()) {
            capture.request_head = head.to_vec();
        }
        Some(Rc::new(capture))
    }
}

impl Capture {
    /// A tee for one of the bodies; none where bodies are left out.
    #[must_use]
    pub fn tee(self: &Rc<Self>, side: Side) -> Option<Tee> {
        self.max_body_size?;
        Some(Tee { capture: Rc::clone(self), side })
    }

    /// The head that the client is sent.
    pub fn response_head(&self, head: &[u8]) {
        if self.hold(head.len()) {
            self.response_head.replace(head.to_vec());
        }
    }

    /// A piece of a body that has just passed.
    pub fn body(&self, side: Side, piece: &[u8]) {
        let Some(limit) = self.max_body_size else { return };
        let body = match side {
            Side::Request => &self.request_body,
            Side::Response => &self.response_body,
        };
        let mut kept = body.borrow_mut();
        let room = limit.saturating_sub(kept.bytes.len());
        let part = piece.get(..room).unwrap_or(piece);
        kept.is_truncated |= part.len() < piece.len();
        if !part.is_empty() && self.hold(part.len()) {
            kept.bytes.extend_from_slice(part);
        }
    }

    /// Hands the exchange over to the writer, or counts it as dropped. To be called once.
    pub fn end(&self, ending: &Ending<'_>) {
        if self.is_lost.get() {
            self.dump.dropped(1);
            return;
        }
        let held = self.held.replace(self.dump.reserve());
        self.dump.submit(Box::new(Record {
            rule: Arc::clone(&self.rule),
            backend: ending.backend.to_owned(),
            client_ip: ending.client_ip,
            request_id: ending.request_id.to_owned(),
            uri: ending.uri.clone(),
            status: ending.status,
            attempts: ending.attempts,
            aborted: ending.aborted,
            started_at: ending.ended_at.checked_sub(ending.duration).unwrap_or(ending.ended_at),
            duration: ending.duration,
            request_head: self.request_head.clone(),
            request_body: self.request_body.take(),
            response_head: self.response_head.take(),
            response_body: self.response_body.take(),
            _held: held,
        }));
    }

    /// Counts bytes in; where there is no room for them, gives up what was kept.
    fn hold(&self, bytes: usize) -> bool {
        if self.is_lost.get() {
            return false;
        }
        let has_room = self.held.borrow_mut().grow(bytes);
        if !has_room {
            self.is_lost.set(true);
        }
        has_room
    }
}

impl Tee {
    /// A piece of the body has passed.
    pub fn push(&self, piece: &[u8]) {
        self.capture.body(self.side, piece);
    }
}
