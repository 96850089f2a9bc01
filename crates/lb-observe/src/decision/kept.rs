//! A record as it lies in a ring: all texts in one buffer, which is used anew.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::Trail;
use crate::Exchange;

/// The most that is kept of one text, in bytes.
const MAX_TEXT: usize = 512;

/// An exchange that has ended.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    texts: Texts,
    pub(super) trail: Trail,
    pub(super) ended_at: SystemTime,
    pub(super) duration: Duration,
    pub(super) status: StatusCode,
    pub(super) code: Option<&'static str>,
    pub(super) address: IpAddr,
    pub(super) scheme: &'static str,
    pub(super) bytes: (u64, u64),
    pub(super) attempts: u32,
    pub(super) aborted: bool,
}

/// Texts one behind the other. They are read in the order in which they were written.
#[derive(Debug, Clone, Default)]
struct Texts {
    all: String,
    ends: Vec<u32>,
}

/// Reads a record's texts.
pub(super) struct Reading<'a> {
    texts: &'a Texts,
    next: usize,
}

impl Kept {
    pub(super) fn new(exchange: &Exchange<'_>) -> Self {
        Self {
            texts: Texts::default(),
            trail: Trail::default(),
            ended_at: exchange.ended_at,
            duration: Duration::ZERO,
            status: exchange.status,
            code: None,
            address: exchange.client_ip,
            scheme: "",
            bytes: (0, 0),
            attempts: 0,
            aborted: false,
        }
    }

    /// Becomes the record of this exchange, whose upstream and backends have these names. The trail is changed for the one that
    /// lay here.
    pub(super) fn write<'n>(
        &mut self,
        exchange: &Exchange<'_>,
        trail: &mut Trail,
        upstream: Option<(&str, &str)>,
        backend: impl Fn(usize) -> &'n str,
    ) {
        std::mem::swap(&mut self.trail, trail);
        let (name, strategy) = upstream.unwrap_or_default();
        let texts = &mut self.texts;
        texts.all.clear();
        texts.ends.clear();
        for text in [
            exchange.request_id,
            exchange.method,
            exchange.host,
            exchange.path,
            exchange.rule.map_or("", |rule| rule.name()),
            name,
            strategy,
            exchange.error.unwrap_or_default(),
        ] {
            texts.push(text);
        }
        let places = self.trail.steps.iter().map(|step| step.backend);
        for place in places.chain(self.trail.seen.iter().map(|seen| seen.backend)) {
            texts.push(backend(place));
        }
        self.ended_at = exchange.ended_at;
        self.duration = exchange.duration;
        self.status = exchange.status;
        self.code = exchange.code;
        self.address = exchange.client_ip;
        self.scheme = exchange.scheme;
        self.bytes = (exchange.bytes_in, exchange.bytes_out);
        self.attempts = exchange.attempts;
        self.aborted = exchange.aborted;
    }

    pub(super) fn is_of(&self, id: &str) -> bool {
        self.read().text() == id
    }

    /// Its texts, from the first on.
    pub(super) fn read(&self) -> Reading<'_> {
        Reading { texts: &self.texts, next: 0 }
    }
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.all.push_str(text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default());
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }
}

impl<'a> Reading<'a> {
    /// The next text; nothing behind the last.
    pub(super) fn text(&mut self) -> &'a str {
        let end = |place: usize| self.texts.ends.get(place).map(|end| *end as usize);
        let begin = self.next.checked_sub(1).and_then(end).unwrap_or(0);
        let text = end(self.next).and_then(|end| self.texts.all.get(begin..end));
        self.next += 1;
        text.unwrap_or_default()
    }

    /// The same, where there is one.
    pub(super) fn some(&mut self) -> Option<String> {
        Some(self.text()).filter(|text| !text.is_empty()).map(str::to_owned)
    }
}
