//! Heads in parts and heads in bytes are one: what is put together is read as its bytes would be, and what is given away in parts is
//! what the reader of the bytes would find.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use lb_h1::{
    Asked, BodyFraming, ConnectionHeader, Draft, Fields, HeadLimits, KnownName, ParseState, RequestLine,
    ResponseFraming, ResponseLine, encode_request_head, encode_response_head, parse_request, parse_response,
    request_parts, response_parts,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const NAMES: [&str; 22] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-connection",
    "http2-settings",
    "cookie",
    "date",
    "x-request-id",
    "x-forwarded-for",
    "traceparent",
    "grpc-timeout",
    "content-type",
    "user-agent",
    "x_under",
    "x-odd",
    "a",
    "authorization",
];

/// Values that mean something to the codec, such as are cut at their ends, and any bytes whatever.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"a.example",
        b"a.example:8080",
        b"user@a.example",
        b"0",
        b"5",
        b"05",
        b"5, 5",
        b"chunked",
        b"gzip, chunked",
        b"close",
        b"keep-alive, x-odd",
        b"upgrade",
        b"host",
        b"trailers",
        b"100-continue",
        b"websocket",
        b"h2c",
        b"  spaces \t",
        b"",
        b" ",
        b"caf\xc3\xa9",
    ];
    prop_oneof![8 => select(known).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..8)]
}

fn lines() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let host = (Just("host"), select(vec![b"a.example".to_vec(), b"[::1]:80".to_vec()]));
    (prop::option::weighted(0.9, host), vec((select(&NAMES[..]), value()), 0..8))
        .prop_map(|(host, others)| host.into_iter().chain(others).collect())
}

fn target() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 11] = [
        "/",
        "/a/b?c=d",
        "*",
        "",
        "http://a.example/x",
        "a.example:443",
        "/a b",
        "/#",
        "/\\",
        "/?\"",
        "/%2e",
    ];
    prop_oneof![8 => select(&KNOWN[..]).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn method() -> impl Strategy<Value = &'static str> {
    select(&["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "TRACE", "get", "BREW", "G ET"][..])
}

/// Small enough that some heads are too large.
fn limits() -> impl Strategy<Value = HeadLimits> {
    (20..300usize, 10..60usize, 1..8usize).prop_map(|(max_head_bytes, max_line_bytes, max_fields)| {
        HeadLimits { max_head_bytes, max_line_bytes, max_fields, max_empty_lines: 0 }
    })
}

fn text(first_line: &[u8], lines: &[(&str, Vec<u8>)]) -> BytesMut {
    let mut text = BytesMut::from(first_line);
    text.extend_from_slice(b"\r\n");
    for (name, value) in lines {
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn draft(mut draft: Draft, lines: &[(&str, Vec<u8>)]) -> Draft {
    for (name, value) in lines {
        draft.line(&HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    draft
}

/// A head of good fields, as it would have been received.
fn fields(lines: &[(&str, Vec<u8>)]) -> Option<Fields> {
    let mut text = text(b"HTTP/1.1 204 ", lines);
    let asked = Asked { method: &Method::GET, upgrade: None };
    Some(parse_response(&mut text, &HeadLimits::default(), asked, &mut ParseState::default()).ok()??.headers)
}

/// What does not end at this hop, as a map.
fn passed(fields: &Fields) -> HeaderMap {
    let mut map = fields.to_map();
    for name in [
        "connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "keep-alive",
        "proxy-connection",
        "http2-settings",
        "expect",
    ] {
        map.remove(name);
    }
    map
}

/// What is given away, as a map.
fn given(fields: &Fields, length: Option<u64>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (known, name, value) in fields.passed() {
        assert_eq!(known, KnownName::find(&name.to_ascii_lowercase()));
        map.append(HeaderName::from_bytes(name).unwrap(), HeaderValue::from_bytes(value).unwrap());
    }
    if let Some(length) = length {
        map.insert(header::CONTENT_LENGTH, length.into());
    }
    map
}

proptest! {
    #[test]
    fn a_request_in_parts_is_the_request_in_bytes(
        method in method(), target in target(), lines in lines(), small in prop::option::weighted(0.3, limits()),
    ) {
        let limits = small.unwrap_or_default();
        let mut text = text(format!("{method} {target} HTTP/1.1").as_bytes(), &lines);
        let draft = draft(Draft::request(method.as_bytes(), target.as_bytes()), &lines);
        prop_assert_eq!(&draft.clone().into_bytes(), &text);
        let read = draft.read_request(&limits);
        let parsed = parse_request(&mut text, &limits, &mut ParseState::default());
        match (parsed, read) {
            (Ok(Some(parsed)), Some(read)) if text.is_empty() => {
                prop_assert_eq!(format!("{parsed:?}"), format!("{read:?}"));
                prop_assert_eq!(parsed.headers.received(), read.headers.received());
            }
            (Ok(Some(_)), None) if !text.is_empty() => {}
            (Err(_) | Ok(None), None) => {}
            (parsed, read) => prop_assert!(false, "{parsed:?} in bytes, {read:?} in parts"),
        }
    }

    #[test]
    fn a_response_in_parts_is_the_response_in_bytes(
        status in 100..600u16, lines in lines(), is_head in any::<bool>(), small in prop::option::weighted(0.3, limits()),
    ) {
        let limits = small.unwrap_or_default();
        let method = if is_head { Method::HEAD } else { Method::GET };
        let asked = Asked { method: &method, upgrade: None };
        let mut text = text(format!("HTTP/1.1 {status} ").as_bytes(), &lines);
        let draft = draft(Draft::response(StatusCode::from_u16(status).unwrap()), &lines);
        prop_assert_eq!(&draft.clone().into_bytes(), &text);
        let read = draft.read_response(&limits, asked);
        let parsed = parse_response(&mut text, &limits, asked, &mut ParseState::default());
        match (parsed, read) {
            (Ok(Some(parsed)), Some(read)) if text.is_empty() => {
                prop_assert_eq!(format!("{parsed:?}"), format!("{read:?}"));
                prop_assert_eq!(parsed.headers.received(), read.headers.received());
            }
            (Ok(Some(_)), None) if !text.is_empty() => {}
            (Err(_) | Ok(None), None) => {}
            (parsed, read) => prop_assert!(false, "{parsed:?} in bytes, {read:?} in parts"),
        }
    }

    #[test]
    fn a_request_given_in_parts_is_what_its_reader_would_find(
        method in method(), target in target(), lines in lines(),
        framing in select(vec![BodyFraming::None, BodyFraming::Length(7), BodyFraming::Chunked]),
    ) {
        let Some(fields) = fields(&lines) else { return Ok(()) };
        let Ok(method) = Method::from_bytes(method.as_bytes()) else { return Ok(()) };
        prop_assume!(!method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) && method != Method::TRACE);
        let line = RequestLine { method: &method, target: target.as_bytes(), version: Version::HTTP_11 };
        let mut out = BytesMut::new();
        let parsed = match encode_request_head(&mut out, line, &fields, framing, ConnectionHeader::Implied) {
            Ok(()) => parse_request(&mut out, &HeadLimits::default(), &mut ParseState::default()).ok().flatten(),
            Err(_) => None,
        };
        match (parsed, request_parts(line, &fields, framing)) {
            (Some(parsed), Ok((host, length))) => {
                prop_assert_eq!(parsed.headers.get(&header::HOST), Some(host));
                prop_assert_eq!(passed(&parsed.headers), given(&fields, length));
            }
            (None, Err(_)) => {}
            // Host and an absolute target are compared where a request is read.
            (None, Ok(_)) if target.starts_with("http") => {}
            (parsed, parts) => prop_assert!(false, "{parsed:?} in bytes, {parts:?} in parts"),
        }
    }

    #[test]
    fn a_response_given_in_parts_is_what_its_reader_would_find(
        status in 100..600u16, lines in lines(), is_head in any::<bool>(), is_dated in any::<bool>(),
        framing in select(vec![
            ResponseFraming::None, ResponseFraming::Length(0), ResponseFraming::Length(7), ResponseFraming::Chunked,
            ResponseFraming::UntilClose,
        ]),
    ) {
        prop_assume!(status != 101);
        let Some(fields) = fields(&lines) else { return Ok(()) };
        let (status, method) = (StatusCode::from_u16(status).unwrap(), if is_head { Method::HEAD } else { Method::GET });
        let date = is_dated.then_some(b"Sun, 06 Nov 1994 08:49:37 GMT");
        let (asked, mut out) = (Asked { method: &method, upgrade: None }, BytesMut::new());
        let line = ResponseLine { status, reason: None, version: Version::HTTP_11 };
        encode_response_head(&mut out, line, &fields, framing, ConnectionHeader::Implied, date).unwrap();
        let parsed = parse_response(&mut out, &HeadLimits::default(), asked, &mut ParseState::default());
        let parsed = parsed.unwrap().unwrap();
        let (length, framing) = response_parts((status, &method), framing);
        let mut map = given(&fields, length);
        if let Some(date) = date.filter(|_| !status.is_informational() && !map.contains_key(header::DATE)) {
            map.insert(header::DATE, HeaderValue::from_bytes(date).unwrap());
        }
        prop_assert_eq!(parsed.framing, framing);
        prop_assert_eq!(passed(&parsed.headers), map);
    }
}

#[test]
fn values_that_never_repeat_are_told_from_others() {
    let is_fleeting = |name: &str| KnownName::find(name.as_bytes()).is_some_and(KnownName::is_fleeting);
    assert!(is_fleeting("x-request-id") && is_fleeting(header::DATE.as_str()) && !is_fleeting("user-agent"));
}
