//! What the data path keeps of an exchange that is dumped.
//!
//! Cost: the heads and bodies are copied as they pass, and nothing else is done to them here: reading, hiding and
//! writing are the writer's thread's. An exchange that is not dumped has no capture. Dropping one writes nothing.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
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
    dump: Arc<Dump>,
    max_body_size: Option<usize>,
    /// Nothing once it has been handed over, or there was no memory for it.
    record: RefCell<Option<Box<Record>>>,
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

/// An exchange as the writer needs it. What is known only at its end is filled in then.
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
    pub(crate) held: Reservation,
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
        let mut record = Box::new(Record {
            rule: Arc::clone(&self.rule),
            backend: String::new(),
            client_ip: Ipv4Addr::UNSPECIFIED.into(),
            request_id: String::new(),
            uri: Uri::default(),
            status: StatusCode::OK,
            attempts: 0,
            aborted: false,
            started_at: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            request_head: Vec::new(),
            request_body: Kept::default(),
            response_head: Vec::new(),
            response_body: Kept::default(),
            held: self.dump.reserve(),
        });
        let has_room = record.held.grow(head.len());
        if has_room {
            record.request_head.extend_from_slice(head);
        }
        Some(Rc::new(Capture {
            dump: Arc::clone(&self.dump),
            max_body_size: self.max_body_size,
            record: RefCell::new(has_room.then_some(record)),
        }))
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
        self.keep(head.len(), |record| record.response_head = head.to_vec());
    }

    /// A piece of a body that has just passed.
    pub fn body(&self, side: Side, piece: &[u8]) {
        let Some(limit) = self.max_body_size else { return };
        let room = self.record.borrow_mut().as_mut().map(|record| {
            let kept = record.body(side);
            let room = limit.saturating_sub(kept.bytes.len());
            kept.is_truncated |= room < piece.len();
            room
        });
        let part = piece.get(..room.unwrap_or_default()).unwrap_or(piece);
        if !part.is_empty() {
            self.keep(part.len(), |record| record.body(side).bytes.extend_from_slice(part));
        }
    }

    /// Hands the exchange over to the writer, or counts it as dropped. To be called once.
    pub fn end(&self, ending: &Ending<'_>) {
        let Some(mut record) = self.record.take() else {
            self.dump.dropped(1);
            return;
        };
        ending.backend.clone_into(&mut record.backend);
        record.client_ip = ending.client_ip;
        ending.request_id.clone_into(&mut record.request_id);
        record.uri = ending.uri.clone();
        record.status = ending.status;
        record.attempts = ending.attempts;
        record.aborted = ending.aborted;
        record.started_at = ending.ended_at.checked_sub(ending.duration).unwrap_or(ending.ended_at);
        record.duration = ending.duration;
        self.dump.submit(record);
    }

    /// Keeps so many bytes more; where there is no room for them, gives up what was kept.
    fn keep(&self, bytes: usize, keep: impl FnOnce(&mut Record)) {
        let mut record = self.record.borrow_mut();
        let Some(kept) = record.as_mut() else { return };
        if kept.held.grow(bytes) {
            keep(kept);
        } else {
            *record = None;
        }
    }
}

impl Record {
    fn body(&mut self, side: Side) -> &mut Kept {
        match side {
            Side::Request => &mut self.request_body,
            Side::Response => &mut self.response_body,
        }
    }
}

impl Tee {
    /// A piece of the body has passed.
    pub fn push(&self, piece: &[u8]) {
        self.capture.body(self.side, piece);
    }
}
