//! An exchange as spans: names and attributes by OpenTelemetry's semantic conventions for HTTP (1.23, stable), and what is
//! ours alone under `gatewayd.`.
//!
//! The query is not told: access log and metrics keep it out as well, since it is where secrets tend to be.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use http::uri::Authority;
use lb_observe::trace::{AttemptSpan, SpanId};
use opentelemetry::trace::{self, SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::finished::Finished;

/// Methods that are told as they are; any other is `_OTHER`, so that clients cannot make names up.
const METHODS: &[&str] =
    &["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];

/// Appends the exchange's own span and one for each attempt at a backend.
pub(crate) fn spans(finished: &Finished, scope: &InstrumentationScope, out: &mut Vec<SpanData>) {
    let state = TraceState::from_str(&finished.state).unwrap_or_default();
    let context = |span: SpanId| {
        let (trace, span) = (finished.trace.to_bytes(), span.to_bytes());
        let (trace, span) = (trace::TraceId::from_bytes(trace), trace::SpanId::from_bytes(span));
        SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state.clone())
    };
    let (began, ended) = (finished.began_at(), finished.ended_at);
    let base = SpanData {
        span_context: context(finished.span),
        parent_span_id: finished.parent.map_or(trace::SpanId::INVALID, id),
        parent_span_is_remote: finished.parent.is_some(),
        span_kind: SpanKind::Server,
        name: server_name(finished).into(),
        start_time: began,
        end_time: ended,
        attributes: server_attributes(finished),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: status(
            finished.status.is_server_error().then(|| finished.error.as_deref().unwrap_or_default()),
        ),
        instrumentation_scope: scope.clone(),
    };
    for (index, attempt) in finished.attempts.iter().enumerate() {
        let error = attempt_error(finished, attempt);
        out.push(SpanData {
            span_context: context(attempt.id),
            parent_span_id: id(finished.span),
            parent_span_is_remote: false,
            span_kind: SpanKind::Client,
            name: method(finished).unwrap_or("HTTP").into(),
            start_time: moment(began, attempt.began, ended),
            end_time: attempt.ended.map_or(ended, |offset| moment(began, offset, ended)),
            attributes: attempt_attributes(finished, index, attempt, error.as_deref()),
            status: status(error.as_deref()),
            ..base.clone()
        });
    }
    out.push(base);
}

/// `GET api-v1`: the rule is what the path is to other servers, few and known.
fn server_name(finished: &Finished) -> String {
    let method = method(finished).unwrap_or("HTTP");
    match &finished.rule {
        Some(rule) => format!("{method} {rule}"),
        None => method.to_owned(),
    }
}

fn server_attributes(finished: &Finished) -> Vec<KeyValue> {
    let mut attributes = method_attributes(finished);
    attributes.extend([
        KeyValue::new("url.path", finished.path.clone()),
        KeyValue::new("url.scheme", finished.scheme),
        KeyValue::new("http.response.status_code", i64::from(finished.status.as_u16())),
        KeyValue::new("network.protocol.name", "http"),
        KeyValue::new("client.address", finished.client_ip.to_string()),
        KeyValue::new("http.request.body.size", size(finished.bytes_in)),
        KeyValue::new("http.response.body.size", size(finished.bytes_out)),
        KeyValue::new("gatewayd.request_id", finished.request_id.clone()),
        KeyValue::new("gatewayd.attempts", size(finished.attempts.len() as u64)),
    ]);
    attributes.extend(server(&finished.host));
    attributes.extend(finished.rule.clone().map(|rule| KeyValue::new("gatewayd.rule", rule)));
    attributes.extend(finished.upstream.clone().map(|upstream| KeyValue::new("gatewayd.upstream", upstream)));
    let failed = finished.status.is_server_error() || finished.aborted;
    attributes.extend(finished.code.map(|code| KeyValue::new("gatewayd.code", code)));
    if failed {
        let kind = finished.code.map_or_else(
            || match finished.status.is_server_error() {
                true => finished.status.as_str().to_owned(),
                false => CLIENT_GONE.to_owned(),
            },
            str::to_owned,
        );
        attributes.push(KeyValue::new("error.type", kind));
    }
    attributes
}

/// What an exchange that the client left is called.
const CLIENT_GONE: &str = "client_gone";

fn attempt_attributes(
    finished: &Finished,
    index: usize,
    attempt: &AttemptSpan,
    error: Option<&str>,
) -> Vec<KeyValue> {
    let url = attempt.backend.backend();
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let mut attributes = method_attributes(finished);
    attributes.extend([
        KeyValue::new("gatewayd.backend", url.to_owned()),
        KeyValue::new("gatewayd.upstream", attempt.backend.upstream().to_owned()),
        KeyValue::new("gatewayd.attempt", size(index as u64 + 1)),
    ]);
    attributes.extend(server(authority));
    attributes.extend(finished.rule.clone().map(|rule| KeyValue::new("gatewayd.rule", rule)));
    let status = attempt.status.map(|status| i64::from(status.as_u16()));
    attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", status)));
    if let Some(reason) = attempt.reason {
        attributes.push(KeyValue::new("http.request.resend_count", size(index as u64)));
        attributes.push(KeyValue::new("gatewayd.retry.reason", reason));
    }
    if attempt.overtaken {
        attributes.push(KeyValue::new("gatewayd.overtaken", true));
    }
    attributes.extend(error.map(|error| KeyValue::new("error.type", error.to_owned())));
    attributes
}

/// What went wrong with an attempt: the code, or the status where that is an error to a client.
fn attempt_error(finished: &Finished, attempt: &AttemptSpan) -> Option<String> {
    if attempt.overtaken {
        return None;
    }
    if let Some(code) = attempt.error {
        return Some(code.to_owned());
    }
    match attempt.status {
        Some(status) => (status.as_u16() >= 400).then(|| status.as_str().to_owned()),
        None => Some(finished.code.unwrap_or(CLIENT_GONE).to_owned()),
    }
}

/// The method, where it is a known one.
fn method(finished: &Finished) -> Option<&'static str> {
    METHODS.iter().copied().find(|known| *known == finished.method)
}

fn method_attributes(finished: &Finished) -> Vec<KeyValue> {
    match method(finished) {
        Some(method) => vec![KeyValue::new("http.request.method", method)],
        None => vec![
            KeyValue::new("http.request.method", "_OTHER"),
            KeyValue::new("http.request.method_original", finished.method.clone()),
        ],
    }
}

/// `server.address` and `server.port` of an authority.
fn server(authority: &str) -> Vec<KeyValue> {
    let Ok(authority) = authority.parse::<Authority>() else { return Vec::new() };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().map(|port| KeyValue::new("server.port", i64::from(port)));
    [Some(KeyValue::new("server.address", host)), port].into_iter().flatten().collect()
}

/// An error with its description, or nothing: that all went well is not for instrumentation to say.
fn status(error: Option<&str>) -> Status {
    match error {
        Some(error) => Status::error(error.to_owned()),
        None => Status::Unset,
    }
}

/// A moment within the exchange.
fn moment(began: SystemTime, offset: Duration, ended: SystemTime) -> SystemTime {
    began.checked_add(offset).unwrap_or(ended).min(ended)
}

fn id(span: SpanId) -> trace::SpanId {
    trace::SpanId::from_bytes(span.to_bytes())
}

fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
