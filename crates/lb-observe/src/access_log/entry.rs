//! Exchanges, copied out of the data path into memory that is used again, and the lines they become.

use std::iter::Peekable;
use std::net::IpAddr;
use std::slice;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::field::Field;
use crate::json_text::{Clock, push_address, push_milliseconds, push_number, push_string};
use crate::trace::TraceId;
use crate::write_behind::Batch;
use crate::{Exchange, FailureKind, Protocol, Trace};

/// No text is kept longer than this, so that the memory of what waits is bounded whatever clients send.
const MAX_TEXT_BYTES: usize = 2048;
/// Texts of a worker's entries that may wait.
const MAX_TEXTS_BYTES: usize = 4 << 20;

/// The texts of an entry, in the order in which they are kept.
#[derive(Debug, Clone, Copy)]
enum Text {
    Rule,
    Upstream,
    Backend,
    Strategy,
    Method,
    Path,
    Host,
    RequestId,
    Listener,
    Error,
}

const TEXTS: usize = Text::Error as usize + 1;

/// The entries of a worker that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: Vec<Entry>,
    /// The texts of all of them, one behind the other.
    texts: String,
}

/// What a line needs of an exchange beside its texts.
#[derive(Debug)]
struct Entry {
    /// How long each text is.
    lengths: [u16; TEXTS],
    has_rule: bool,
    has_backend: bool,
    protocol: Protocol,
    trace: Option<TraceId>,
    client_ip: IpAddr,
    status: StatusCode,
    broken: bool,
    bytes_in: u64,
    bytes_out: u64,
    attempts: u32,
    ended_at: SystemTime,
    duration: Duration,
    upstream_latency: Option<Duration>,
    backend_active: u32,
    backend_healthy: bool,
}

impl Batch for Waiting {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.texts.clear();
    }
}

impl Waiting {
    /// Keeps what a line needs; false where as many as may wait already, or too much text.
    pub(super) fn push(&mut self, exchange: &Exchange<'_>, most: usize) -> bool {
        if self.entries.len() >= most || self.texts.len() >= MAX_TEXTS_BYTES {
            return false;
        }
        let broken = exchange.code.and_then(FailureKind::of_code).is_some();
        let left = exchange.aborted.then_some("the client left before the answer was complete");
        let texts: [&str; TEXTS] = [
            exchange.rule.map_or("", |rule| rule.name()),
            exchange.upstream.unwrap_or(""),
            exchange.backend.map_or("", |backend| backend.backend()),
            exchange.strategy.unwrap_or(""),
            exchange.method,
            exchange.path,
            exchange.host,
            exchange.request_id,
            exchange.listener,
            exchange.error.or(exchange.code).or(left).unwrap_or(""),
        ];
        let lengths = texts.map(|text| {
            let kept = clipped(text, MAX_TEXT_BYTES);
            self.texts.push_str(kept);
            u16::try_from(kept.len()).unwrap_or(u16::MAX)
        });
        self.entries.push(Entry {
            lengths,
            has_rule: exchange.rule.is_some(),
            has_backend: exchange.backend.is_some(),
            protocol: exchange.protocol,
            trace: exchange.trace.map(Trace::id),
            client_ip: exchange.client_ip,
            status: exchange.status,
            broken,
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            attempts: exchange.attempts,
            ended_at: exchange.ended_at,
            duration: exchange.duration,
            upstream_latency: exchange.upstream_latency,
            backend_active: exchange.backend_active,
            backend_healthy: exchange.backend_healthy,
        });
        true
    }

    /// From the first on.
    pub(super) fn read(&self) -> Reader<'_> {
        Reader { entries: self.entries.iter().peekable(), texts: &self.texts }
    }
}

/// The longest part of a text, from its start, that takes at most so many bytes.
fn clipped(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
}

/// Entries of a worker, one by one.
pub(super) struct Reader<'a> {
    entries: Peekable<slice::Iter<'a, Entry>>,
    /// Those of the entries that are left.
    texts: &'a str,
}

impl Reader<'_> {
    /// When the next one ended.
    pub(super) fn next_ended_at(&mut self) -> Option<SystemTime> {
        self.entries.peek().map(|entry| entry.ended_at)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Told<'a>;

    fn next(&mut self) -> Option<Told<'a>> {
        let entry = self.entries.next()?;
        let texts = entry.lengths.map(|length| {
            let (text, rest) = self.texts.split_at_checked(length.into()).unwrap_or_default();
            self.texts = rest;
            text
        });
        Some(Told { entry, texts })
    }
}

/// An entry with its texts.
pub(super) struct Told<'a> {
    entry: &'a Entry,
    texts: [&'a str; TEXTS],
}

/// A field of every line.
#[derive(Debug)]
pub(super) struct Column {
    field: Field,
    /// The comma before it, its name and the colon.
    key: String,
}

impl From<Field> for Column {
    fn from(field: Field) -> Self {
        Self { field, key: format!(",\"{}\":", field.name()) }
    }
}

impl Told<'_> {
    /// Appends the line, with its newline.
    pub(super) fn write_line(&self, columns: &[Column], clock: &mut Clock, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        clock.push_to_the_millisecond(out, self.entry.ended_at);
        out.extend_from_slice(self.level_and_message().as_bytes());
        for column in columns {
            out.extend_from_slice(column.key.as_bytes());
            self.write_value(column.field, out);
        }
        if self.has_text(Text::Error) {
            out.extend_from_slice(b",\"error\":");
            push_string(out, self.text(Text::Error));
        }
        out.extend_from_slice(b"}\n");
    }

    fn write_value(&self, field: Field, out: &mut Vec<u8>) {
        let entry = self.entry;
        let text = |of: Text, is_there: bool, out: &mut Vec<u8>| match is_there {
            true => push_string(out, self.text(of)),
            false => out.extend_from_slice(b"null"),
        };
        match field {
            Field::Rule => text(Text::Rule, entry.has_rule, out),
            Field::Backend => text(Text::Backend, entry.has_backend, out),
            Field::Upstream => text(Text::Upstream, self.has_text(Text::Upstream), out),
            Field::LoadBalancing => text(Text::Strategy, self.has_text(Text::Strategy), out),
            Field::BackendHealthy => {
                out.extend_from_slice(match (entry.has_backend, entry.backend_healthy) {
                    (true, true) => b"true",
                    (true, false) => b"false",
                    (false, _) => b"null",
                });
            }
            Field::Method => text(Text::Method, true, out),
            Field::Path => text(Text::Path, true, out),
            Field::Host => text(Text::Host, true, out),
            Field::RequestId => text(Text::RequestId, true, out),
            Field::Listener => text(Text::Listener, true, out),
            Field::Protocol => push_string(out, entry.protocol.name()),
            Field::StatusCode => push_number(out, entry.status.as_u16().into()),
            Field::DurationMs => push_milliseconds(out, entry.duration),
            Field::UpstreamMs => match entry.upstream_latency {
                Some(latency) => push_milliseconds(out, latency),
                None => out.extend_from_slice(b"null"),
            },
            Field::TraceId => match entry.trace {
                Some(id) => push_string(out, &id.to_string()),
                None => out.extend_from_slice(b"null"),
            },
            Field::BackendConnections => push_number(out, entry.backend_active.into()),
            Field::ClientIp => push_address(out, entry.client_ip),
            Field::BytesIn => push_number(out, entry.bytes_in),
            Field::BytesOut => push_number(out, entry.bytes_out),
            Field::Attempts => push_number(out, entry.attempts.into()),
        }
    }

    /// What every line says behind its time.
    fn level_and_message(&self) -> &'static str {
        macro_rules! said {
            ($level:literal, $message:literal) => {
                concat!("\",\"level\":\"", $level, "\",\"msg\":\"", $message, "\",\"component\":\"proxy\"")
            };
        }
        let level = match self.entry.status.as_u16() {
            500.. => 2,
            _ if self.entry.broken => 2,
            400..500 => 1,
            _ => 0,
        };
        match (self.entry.protocol, level) {
            (Protocol::Http, 0) => said!("info", "proxy request"),
            (Protocol::Http, 1) => said!("warn", "proxy request"),
            (Protocol::Http, _) => said!("error", "proxy request"),
            (Protocol::Tcp, 0) => said!("info", "proxy connection"),
            (Protocol::Tcp, 1) => said!("warn", "proxy connection"),
            (Protocol::Tcp, _) => said!("error", "proxy connection"),
        }
    }

    fn has_text(&self, text: Text) -> bool {
        !self.text(text).is_empty()
    }

    fn text(&self, text: Text) -> &str {
        self.texts.get(text as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_never_cuts_a_character() {
        assert_eq!(clipped("aé", 2), "a");
        assert_eq!(clipped("aé", 3), "aé");
    }

    #[test]
    fn texts_that_wait_are_bounded_together() {
        let mut waiting = Waiting::default();
        let path = "/".repeat(MAX_TEXT_BYTES);
        let exchange = Exchange { path: &path, ..Exchange::new(0) };
        let kept = (0..10_000).take_while(|_| waiting.push(&exchange, usize::MAX)).count();
        assert_eq!(kept, MAX_TEXTS_BYTES / MAX_TEXT_BYTES);
        waiting.clear();
        assert!(waiting.is_empty() && waiting.push(&exchange, 1) && !waiting.push(&exchange, 1));
    }
}
