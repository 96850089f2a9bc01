//! Lines, read back as entries.

use super::*;
use std::sync::Arc;
use std::time::Duration;

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
        _held: Budget::new(1).reserve(),
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
