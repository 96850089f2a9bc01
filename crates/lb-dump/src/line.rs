//! A record as the line it becomes. Written straight from what was kept, with the fields of [`Entry`](crate::Entry).

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::capture::{Kept, Record};
use crate::entry::{canonical_name, written_duration};
use crate::redact::{Content, Redaction, Shown};

/// Makes lines; keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    request: String,
    response: String,
}

/// [`Entry`](crate::Entry), borrowed.
#[derive(serde::Serialize)]
struct Line<'a> {
    timestamp: String,
    rule: &'a str,
    backend: &'a str,
    client_ip: std::net::IpAddr,
    request_id: &'a str,
    method: &'a str,
    path: &'a str,
    host: &'a str,
    raw_request: &'a str,
    request_headers: Fields<'a>,
    status_code: u16,
    duration: String,
    duration_ms: f64,
    response_headers: Fields<'a>,
    raw_response: &'a str,
    request_truncated: bool,
    response_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_body_base64: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    request_withheld: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    response_withheld: bool,
    attempts: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    aborted: bool,
}

/// What became of a body beside the text.
#[derive(Default)]
struct Beside {
    base64: Option<String>,
    is_withheld: bool,
}

impl Lines {
    /// The line of a record, with its end.
    pub(crate) fn line(&mut self, record: &Record) -> &[u8] {
        let redact = &record.rule.redact;
        let request = raw(redact, &record.request_head, &record.request_body, &mut self.request);
        let response = raw(redact, &record.response_head, &record.response_body, &mut self.response);
        let method = record.request_head.split(|&byte| byte == b' ').next().unwrap_or_default();
        let (duration, duration_ms) = written_duration(record.duration);
        let line = Line {
            timestamp: rfc3339(record.started_at),
            rule: &record.rule.name,
            backend: &record.backend,
            client_ip: record.client_ip,
            request_id: &record.request_id,
            method: std::str::from_utf8(method).unwrap_or_default(),
            path: record.uri.path(),
            host: std::str::from_utf8(field(&record.request_head, "host")).unwrap_or_default(),
            raw_request: &self.request,
            request_headers: Fields { head: &record.request_head, redact },
            status_code: record.status.as_u16(),
            duration,
            duration_ms,
            response_headers: Fields { head: &record.response_head, redact },
            raw_response: &self.response,
            request_truncated: record.request_body.is_truncated,
            response_truncated: record.response_body.is_truncated,
            request_body_base64: request.base64,
            response_body_base64: response.base64,
            request_withheld: request.is_withheld,
            response_withheld: response.is_withheld,
            attempts: record.attempts,
            aborted: record.aborted,
        };
        self.line.clear();
        // Strings and numbers always serialise.
        let _ = serde_json::to_writer(&mut self.line, &line);
        self.line.push(b'\n');
        &self.line
    }
}

/// Head and body in one text; what is no text stands beside it.
fn raw(redact: &Redaction, head: &[u8], body: &Kept, out: &mut String) -> Beside {
    out.clear();
    redact.head(head, out);
    let (kind, coding) = (field(head, "content-type"), field(head, "content-encoding"));
    let content = Content { kind, coding, is_truncated: body.is_truncated };
    let Shown::As(shown) = redact.body(&body.bytes, content) else {
        return Beside { is_withheld: true, ..Beside::default() };
    };
    match std::str::from_utf8(&shown) {
        Ok(text) => out.push_str(text),
        // Cut within a character: the text ends before it.
        Err(error) if body.is_truncated && error.error_len().is_none() => {
            let whole = shown.get(..error.valid_up_to()).unwrap_or_default();
            out.push_str(std::str::from_utf8(whole).unwrap_or_default());
        }
        Err(_) => return Beside { base64: Some(BASE64.encode(&shown)), ..Beside::default() },
    }
    Beside::default()
}

/// The first value of a field.
fn field<'a>(head: &'a [u8], name: &str) -> &'a [u8] {
    let mut fields = lb_h1::fields_as_sent(head);
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map_or(b"", |(_, value)| value)
}

/// The fields of a head: values by name in canonical case, in the order in which names first come.
struct Fields<'a> {
    head: &'a [u8],
    redact: &'a Redaction,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let fields: Vec<(&[u8], &[u8])> = lb_h1::fields_as_sent(self.head).collect();
        for (index, (name, _)) in fields.iter().enumerate() {
            let is_same = |other: &(&[u8], &[u8])| other.0.eq_ignore_ascii_case(name);
            if fields.iter().take(index).any(is_same) {
                continue;
            }
            let name = name.trim_ascii_end();
            let values = fields.iter().skip(index).filter(|other| is_same(other));
            let values = values.map(|(name, value)| self.redact.value(name, value));
            map.serialize_entry(
                &canonical_name(std::str::from_utf8(name).unwrap_or_default()),
                &values.collect::<Vec<_>>(),
            )?;
        }
        map.end()
    }
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.6}"))
}

#[cfg(test)]
mod tests;
