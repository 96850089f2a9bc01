//! A record as the line it becomes. Written straight from what was kept, with the fields of [`Entry`](crate::Entry).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lb_observe::json_text::{
    Clock, push_address, push_escaped, push_milliseconds, push_number, push_string, push_text,
};

use crate::capture::{Kept, Record};
use crate::entry::make_canonical;
use crate::redact::{Content, HIDDEN, Redaction, Shown};

/// Makes lines; keeps its buffers from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    line: Vec<u8>,
    name: Vec<u8>,
    clock: Clock,
}

/// A field of a head, as it came.
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
    is_hidden: bool,
}

/// What became of a body beside the text.
#[derive(Default)]
struct Beside {
    base64: Option<String>,
    is_withheld: bool,
}

/// The comma before a field of a line, its name and the colon.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

impl Lines {
    /// The line of a record, with its end.
    pub(crate) fn line(&mut self, record: &Record) -> &[u8] {
        let Self { line: out, name, clock } = self;
        let redact = &record.rule.redact;
        let (asked, answered) = (fields(&record.request_head, redact), fields(&record.response_head, redact));
        out.clear();
        out.extend_from_slice(b"{\"timestamp\":\"");
        clock.push_to_the_microsecond(out, record.started_at);
        out.push(b'"');
        let string = |key: &[u8], value: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(key);
            push_string(out, value);
        };
        string(key!("rule"), &record.rule.name, out);
        string(key!("backend"), &record.backend, out);
        out.extend_from_slice(key!("client_ip"));
        push_address(out, record.client_ip);
        string(key!("request_id"), &record.request_id, out);
        let method = record.request_head.split(|&byte| byte == b' ').next().unwrap_or_default();
        string(key!("method"), std::str::from_utf8(method).unwrap_or_default(), out);
        string(key!("path"), record.uri.path(), out);
        string(key!("host"), std::str::from_utf8(value(&asked, "host")).unwrap_or_default(), out);
        out.extend_from_slice(key!("raw_request"));
        let request = push_raw(out, redact, &record.request_head, &asked, &record.request_body);
        out.extend_from_slice(key!("request_headers"));
        push_fields(out, name, redact, &asked);
        out.extend_from_slice(key!("status_code"));
        push_number(out, record.status.as_u16().into());
        push_duration(out, record.duration);
        out.extend_from_slice(key!("response_headers"));
        push_fields(out, name, redact, &answered);
        out.extend_from_slice(key!("raw_response"));
        let response = push_raw(out, redact, &record.response_head, &answered, &record.response_body);
        for (key, is_so) in [
            (key!("request_truncated"), record.request_body.is_truncated),
            (key!("response_truncated"), record.response_body.is_truncated),
        ] {
            out.extend_from_slice(key);
            out.extend_from_slice(if is_so { b"true" } else { b"false" });
        }
        for (key, base64) in
            [(key!("request_body_base64"), request.base64), (key!("response_body_base64"), response.base64)]
        {
            if let Some(base64) = base64 {
                string(key, &base64, out);
            }
        }
        out.extend_from_slice(key!("attempts"));
        push_number(out, record.attempts.into());
        for (key, is_so) in [
            (key!("request_withheld"), request.is_withheld),
            (key!("response_withheld"), response.is_withheld),
            (key!("aborted"), record.aborted),
        ] {
            if is_so {
                out.extend_from_slice(key);
                out.extend_from_slice(b"true");
            }
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

/// Both forms of a duration: with its unit in whole milliseconds, and as a number to the microsecond.
fn push_duration(out: &mut Vec<u8>, duration: Duration) {
    let rounded = duration + Duration::from_nanos(500);
    out.extend_from_slice(key!("duration"));
    out.push(b'"');
    let whole = Duration::from_micros(u64::try_from(rounded.as_micros()).unwrap_or(u64::MAX));
    let milliseconds = whole.saturating_add(Duration::from_micros(500)).as_millis();
    push_number(out, u64::try_from(milliseconds).unwrap_or(u64::MAX));
    out.extend_from_slice(b"ms\"");
    out.extend_from_slice(key!("duration_ms"));
    push_milliseconds(out, rounded);
}

/// Head and body in one text; what is no text stands beside it.
fn push_raw(out: &mut Vec<u8>, redact: &Redaction, head: &[u8], fields: &[Field<'_>], body: &Kept) -> Beside {
    out.push(b'"');
    push_escaped(out, &redact.head(head, fields.iter().any(|field| field.is_hidden)));
    let (kind, coding) = (value(fields, "content-type"), value(fields, "content-encoding"));
    let content = Content { kind, coding, is_truncated: body.is_truncated };
    let mut beside = Beside::default();
    match redact.body(&body.bytes, content) {
        Shown::As(shown) => match std::str::from_utf8(&shown) {
            Ok(text) => push_escaped(out, text),
            // Cut within a character: the text ends before it.
            Err(error) if body.is_truncated && error.error_len().is_none() => {
                let whole = shown.get(..error.valid_up_to()).unwrap_or_default();
                push_escaped(out, std::str::from_utf8(whole).unwrap_or_default());
            }
            Err(_) => beside.base64 = Some(BASE64.encode(&shown)),
        },
        Shown::Withheld => beside.is_withheld = true,
    }
    out.push(b'"');
    beside
}

/// The fields of a head.
fn fields<'a>(head: &'a [u8], redact: &Redaction) -> Vec<Field<'a>> {
    // As many as most heads have, so that the list seldom grows.
    let mut fields = Vec::with_capacity(16);
    fields.extend(lb_h1::fields_as_sent(head).map(|(name, value)| {
        let name = name.trim_ascii_end();
        Field { name, value, is_hidden: redact.hides_field(name) }
    }));
    fields
}

/// The first value of a field.
fn value<'a>(fields: &[Field<'a>], name: &str) -> &'a [u8] {
    let found = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
    found.map_or(b"", |field| field.value)
}

/// The fields of a head as an object: values by name in canonical case, in the order in which names first come. `room` is
/// used to write a name.
fn push_fields(out: &mut Vec<u8>, room: &mut Vec<u8>, redact: &Redaction, fields: &[Field<'_>]) {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        let is_same = |other: &&Field<'_>| other.name.eq_ignore_ascii_case(field.name);
        let (before, from_here) = fields.split_at_checked(index).unwrap_or_default();
        if before.iter().any(|other| is_same(&other)) {
            continue;
        }
        if index > 0 {
            out.push(b',');
        }
        room.clear();
        room.extend_from_slice(field.name);
        make_canonical(room);
        push_text(out, room);
        out.push(b':');
        let mut before_value = b'[';
        for field in from_here.iter().filter(is_same) {
            out.push(before_value);
            before_value = b',';
            match field.is_hidden {
                true => push_string(out, HIDDEN),
                false => push_text(out, &redact.value(field.value)),
            }
        }
        out.push(b']');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests;
