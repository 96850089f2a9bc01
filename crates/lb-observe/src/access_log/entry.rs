//! An exchange, copied out of the data path in one allocation, and the line it becomes.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::StatusCode;

use super::field::Field;
use super::json::{Clock, Line, clipped};
use crate::trace::TraceId;
use crate::{Exchange, FailureKind, Protocol, Trace};

/// No text is kept longer than this, so that the queue's memory is bounded whatever clients send.
const MAX_TEXT_BYTES: usize = 2048;

/// The texts of an entry, in the order they stand in its arena.
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

/// What a line needs of an exchange.
#[derive(Debug)]
pub(super) struct Entry {
    arena: String,
    ends: [u32; TEXTS],
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

impl Entry {
    pub(super) fn copy(exchange: &Exchange<'_>) -> Self {
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
        ]
        .map(|text| clipped(text, MAX_TEXT_BYTES));
        let mut arena = String::with_capacity(texts.iter().map(|text| text.len()).sum());
        let ends = texts.map(|text| {
            arena.push_str(text);
            u32::try_from(arena.len()).unwrap_or(u32::MAX)
        });
        Self {
            arena,
            ends,
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
        }
    }

    /// Appends the line, with its newline.
    pub(super) fn write_line(&self, fields: &[Field], clock: &mut Clock, out: &mut Vec<u8>) {
        let mut line = Line::open(out);
        line.time("time", self.ended_at, clock);
        line.text("level", self.level());
        line.text("msg", self.message());
        line.text("component", "proxy");
        for field in fields {
            self.write_field(*field, &mut line);
        }
        if !self.text(Text::Error).is_empty() {
            line.text("error", self.text(Text::Error));
        }
        line.close();
    }

    fn write_field(&self, field: Field, line: &mut Line<'_>) {
        let key = field.name();
        match field {
            Field::Rule if self.has_rule => line.text(key, self.text(Text::Rule)),
            Field::Backend if self.has_backend => line.text(key, self.text(Text::Backend)),
            Field::Upstream if self.has_text(Text::Upstream) => line.text(key, self.text(Text::Upstream)),
            Field::LoadBalancing if self.has_text(Text::Strategy) => {
                line.text(key, self.text(Text::Strategy));
            }
            Field::BackendHealthy if self.has_backend => line.literal(key, Some(self.backend_healthy)),
            Field::Rule | Field::Backend | Field::Upstream | Field::LoadBalancing | Field::BackendHealthy => {
                line.literal(key, None);
            }
            Field::Method => line.text(key, self.text(Text::Method)),
            Field::Path => line.text(key, self.text(Text::Path)),
            Field::Host => line.text(key, self.text(Text::Host)),
            Field::RequestId => line.text(key, self.text(Text::RequestId)),
            Field::StatusCode => line.number(key, self.status.as_u16().into()),
            Field::DurationMs => line.milliseconds(key, self.duration),
            Field::UpstreamMs => match self.upstream_latency {
                Some(latency) => line.milliseconds(key, latency),
                None => line.literal(key, None),
            },
            Field::TraceId => match self.trace {
                Some(id) => line.safe_text(key, id),
                None => line.literal(key, None),
            },
            Field::Protocol => line.text(key, self.protocol.name()),
            Field::Listener => line.text(key, self.text(Text::Listener)),
            Field::BackendConnections => line.number(key, self.backend_active.into()),
            Field::ClientIp => line.safe_text(key, self.client_ip),
            Field::BytesIn => line.number(key, self.bytes_in),
            Field::BytesOut => line.number(key, self.bytes_out),
            Field::Attempts => line.number(key, self.attempts.into()),
        }
    }

    fn message(&self) -> &'static str {
        match self.protocol {
            Protocol::Http => "proxy request",
            Protocol::Tcp => "proxy connection",
        }
    }

    fn level(&self) -> &'static str {
        match self.status.as_u16() {
            500.. => "error",
            _ if self.broken => "error",
            400..500 => "warn",
            _ => "info",
        }
    }

    fn has_text(&self, text: Text) -> bool {
        !self.text(text).is_empty()
    }

    fn text(&self, text: Text) -> &str {
        let end_of = |index: usize| self.ends.get(index).map_or(0, |end| *end as usize);
        let start = (text as usize).checked_sub(1).map_or(0, end_of);
        self.arena.get(start..end_of(text as usize)).unwrap_or("")
    }
}
