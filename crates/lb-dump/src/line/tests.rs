//! Lines, read back as entries.

use super::*;
use std::sync::Arc;
use std::time::SystemTime;

use crate::Entry;
use crate::budget::Budget;
use crate::capture::RuleText;

fn record(redact: &[&str], request: &str, body: &[u8], response: &str, answer: &[u8]) -> Record {
    let redact = Redaction::parse(redact.iter().copied()).unwrap();
    let kept = |bytes: &[u8]| Kept { bytes: bytes.to_vec(), is_truncated: false };
    Record {
        rule: Arc::new(RuleText { name: "api".into(), redact }),
        backend: "http://10.0.0.1:80".into(),
        client_ip: [192, 0, 2, 1].into(),
        request_id: "r-1".into(),
        uri: "/users?a=1".parse().unwrap(),
        status: http::StatusCode::CREATED,
        attempts: 1,
        aborted: false,
        started_at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_701_945_045_123),
        duration: Duration::from_micros(15_250),
        request_head: request.as_bytes().to_vec(),
        request_body: kept(body),
        response_head: response.as_bytes().to_vec(),
        response_body: kept(answer),
        held: Budget::new(1).reserve(),
    }
}

fn entry(record: &Record) -> Entry {
    let mut lines = Lines::default();
    let line = lines.line(record);
    assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(line).unwrap()
}

#[test]
fn every_documented_field_has_its_value() {
    let request =
        "POST /users?a=1 HTTP/1.1\r\nhost: api.example\r\nuser-agent: curl\r\nx-a: 1\r\nX-A: 2\r\n\r\n";
    let response = "HTTP/1.1 201 Created\r\ncontent-type: text/plain\r\n\r\n";
    let entry = entry(&record(&[], request, b"hello", response, b"made"));
    assert_eq!(entry.timestamp, "2023-12-07T10:30:45.123000Z");
    assert_eq!((entry.rule.as_str(), entry.backend.as_str()), ("api", "http://10.0.0.1:80"));
    assert_eq!((entry.client_ip.as_str(), entry.request_id.as_str()), ("192.0.2.1", "r-1"));
    assert_eq!(
        (entry.method.as_str(), entry.path.as_str(), entry.target()),
        ("POST", "/users", "/users?a=1")
    );
    assert_eq!(entry.host, "api.example");
    assert_eq!((entry.status_code, entry.duration.as_str(), entry.duration_ms), (201, "15ms", 15.25));
    assert_eq!(entry.request_headers["User-Agent"], ["curl"]);
    assert_eq!(entry.request_headers["X-A"], ["1", "2"]);
    assert_eq!(entry.response_headers["Content-Type"], ["text/plain"]);
    assert_eq!(entry.raw_request, format!("{request}hello"));
    assert_eq!(entry.raw_response, format!("{response}made"));
    assert_eq!((&*entry.request_body(), &*entry.response_body()), (&b"hello"[..], &b"made"[..]));
}

#[test]
fn a_body_that_is_no_text_is_exact_all_the_same() {
    let bytes: Vec<u8> = (0..=255).collect();
    let entry = entry(&record(&[], "PUT / HTTP/1.1\r\n\r\n", &bytes, "HTTP/1.1 200 OK\r\n\r\n", &bytes));
    assert_eq!((&*entry.request_body(), &*entry.response_body()), (&bytes[..], &bytes[..]));
    assert_eq!(entry.raw_request, "PUT / HTTP/1.1\r\n\r\n");
}

#[test]
fn a_text_cut_within_a_character_stays_text() {
    let mut cut = record(&[], "PUT / HTTP/1.1\r\n\r\n", "hé".as_bytes(), "HTTP/1.1 200 OK\r\n\r\n", b"");
    cut.request_body.bytes.pop();
    cut.request_body.is_truncated = true;
    let entry = entry(&cut);
    assert_eq!((&*entry.request_body(), entry.request_truncated), (&b"h"[..], true));
}

#[test]
fn secrets_are_in_no_part_of_the_line() {
    let record = record(
        &["X-Key", "$.password"],
        "POST /?x-key=s3cret HTTP/1.1\r\nAuthorization: s3cret\r\nx-key: s3cret\r\nContent-Type: application/json\r\n\r\n",
        br#"{"password":"s3cret"}"#,
        "HTTP/1.1 200 OK\r\nSet-Cookie: s3cret\r\nContent-Type: application/json\r\n\r\n",
        br#"{"password":"s3cret""#,
    );
    let mut lines = Lines::default();
    let line = String::from_utf8(lines.line(&record).to_vec()).unwrap();
    assert!(!line.contains("s3cret"), "{line}");
    let entry: Entry = serde_json::from_str(&line).unwrap();
    assert_eq!((entry.request_withheld, entry.response_withheld), (false, true));
    assert_eq!(entry.request_headers["Authorization"], ["[redacted]"]);
}

/// A backend's head is kept as it came, also where it is malformed.
#[test]
fn a_space_before_the_colon_uncovers_no_secret() {
    let response = "HTTP/1.1 200 OK\r\nSet-Cookie : s3cret\r\nX-Key\t: s3cret\r\n\r\n";
    let record = record(&["X-Key"], "GET / HTTP/1.1\r\nCookie : s3cret\r\n\r\n", b"", response, b"");
    let mut lines = Lines::default();
    let line = String::from_utf8(lines.line(&record).to_vec()).unwrap();
    assert!(!line.contains("s3cret"), "{line}");
    let entry: Entry = serde_json::from_str(&line).unwrap();
    assert_eq!(entry.response_headers["Set-Cookie"], ["[redacted]"]);
}

#[test]
fn a_duration_is_rounded_as_the_entry_has_it() {
    for nanoseconds in [0, 499, 500, 1_500, 499_499, 499_500, 15_250_000, 15_499_999, 1_999_999_999] {
        let mut record = record(&[], "GET / HTTP/1.1\r\n\r\n", b"", "HTTP/1.1 200 OK\r\n\r\n", b"");
        record.duration = Duration::from_nanos(nanoseconds);
        let (read, expected) = (entry(&record), Entry::default().lasting(record.duration));
        assert_eq!((read.duration, read.duration_ms), (expected.duration, expected.duration_ms));
    }
}

#[test]
fn a_value_cannot_leave_its_place() {
    let response = "HTTP/1.1 200 OK\r\nx-a: \"],\"b\":[\"\\\u{1b}[2J\r\nX-A: \u{e9}\r\n\r\n";
    let entry = entry(&record(&[], "GET / HTTP/1.1\r\n\r\n", b"", response, b"\"}\n{"));
    assert_eq!(entry.response_headers.len(), 1);
    assert_eq!(entry.response_headers["X-A"], ["\"],\"b\":[\"\\\u{1b}[2J", "\u{e9}"]);
    assert_eq!(entry.raw_response, format!("{response}\"}}\n{{"));
}
