//! An exchange that has ended, copied out of the data path.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use lb_observe::Exchange;
use lb_observe::trace::{AttemptSpan, SpanId, Trace, TraceId};

/// No text is kept longer than this, so that the queue's memory is bounded whatever clients send.
const MAX_TEXT_BYTES: usize = 2048;

/// What the spans of an exchange are made of.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) parent: Option<SpanId>,
    pub(crate) state: String,
    pub(crate) attempts: Vec<AttemptSpan>,
    pub(crate) rule: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) scheme: &'static str,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) request_id: String,
    pub(crate) client_ip: IpAddr,
    pub(crate) status: StatusCode,
    pub(crate) code: Option<&'static str>,
    pub(crate) error: Option<String>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) ended_at: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) aborted: bool,
}

impl Finished {
    pub(crate) fn copy(exchange: &Exchange<'_>, trace: &Trace) -> Self {
        Self {
            trace: trace.id(),
            span: trace.span(),
            parent: trace.parent(),
            state: kept_state(trace.state()),
            attempts: trace.attempts().to_vec(),
            rule: exchange.rule.map(|rule| rule.name().to_owned()),
            upstream: exchange.upstream.map(str::to_owned),
            scheme: exchange.scheme,
            method: clipped(exchange.method),
            path: clipped(exchange.path),
            host: clipped(exchange.host),
            request_id: clipped(exchange.request_id),
            client_ip: exchange.client_ip,
            status: exchange.status,
            code: exchange.code,
            error: exchange.error.map(clipped),
            bytes_in: exchange.bytes_in,
            bytes_out: exchange.bytes_out,
            ended_at: exchange.ended_at,
            duration: exchange.duration,
            aborted: exchange.aborted,
        }
    }

    /// When it began.
    pub(crate) fn began_at(&self) -> SystemTime {
        self.ended_at.checked_sub(self.duration).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// A `tracestate`, or nothing of one that is longer than any has to be passed on (W3C Trace Context §3.3.1.5 has 512 characters): half of
/// one is none.
fn kept_state(state: &str) -> String {
    if state.len() <= MAX_TEXT_BYTES { state.to_owned() } else { String::new() }
}

fn clipped(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or(text).to_owned()
}
