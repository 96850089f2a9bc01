//! What gRPC asks of whoever stands between: deadlines that calls bring along, and failures told by trailers
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use lb_h1::Fields;

use crate::reject::Reject;

static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a call.
pub(crate) fn is_call(headers: &Fields) -> bool {
    headers.get(&header::CONTENT_TYPE).is_some_and(|kind| {
        let rest = kind.strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// How long the caller waits, where it says so: at most eight digits and a unit.
pub(crate) fn deadline(headers: &Fields) -> Option<Duration> {
    let (unit, digits) = headers.get_named("grpc-timeout")?.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The answer of a call that no backend answers, and the status that any other request would have got.
pub(crate) fn refusal(rejected: &Reject, request_id: &HeaderValue) -> (Response<Bytes>, StatusCode) {
    let status = rejected.response(request_id).status();
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(&STATUS, HeaderValue::from_static(code(status)));
    if let Ok(message) = HeaderValue::try_from(encoded(&rejected.detail())) {
        headers.insert(&MESSAGE, message);
    }
    (response, status)
}

/// The number of a failure.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 | 431 => "13",       // INTERNAL
        401 => "16",             // UNAUTHENTICATED
        403 => "7",              // PERMISSION_DENIED
        404 | 405 | 501 => "12", // UNIMPLEMENTED
        408 | 504 => "4",        // DEADLINE_EXCEEDED
        413 | 429 => "8",        // RESOURCE_EXHAUSTED
        502 | 503 => "14",       // UNAVAILABLE
        _ => "2",                // UNKNOWN
    }
}

/// Percent-encoded as gRPC has it: what is not visible ASCII or a space, and `%`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn fields(name: &'static str, value: &'static str) -> Fields {
        let mut map = HeaderMap::new();
        map.insert(name, HeaderValue::from_static(value));
        Fields::from(&map)
    }

    #[test]
    fn calls_are_told_by_their_content_type() {
        for (kind, is_one) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_call(&fields("content-type", kind)), is_one, "{kind}");
        }
    }

    #[test]
    fn deadlines_have_eight_digits_and_a_unit() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("100m", Some(Duration::from_millis(100))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000m", None),
            ("1", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(deadline(&fields("grpc-timeout", text)), expected, "{text}");
        }
    }

    #[test]
    fn messages_are_percent_encoded() {
        assert_eq!(encoded("50 % é"), "50 %25 %C3%A9");
    }
}
