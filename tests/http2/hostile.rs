//! What attackers send by HTTP/2, and what becomes of it. The vulnerabilities that each repeats are named.

use lb_testkit::{Backend, Gate, Gateway, PATIENCE, eventually};

use super::frames::{
    CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GET, GOAWAY, HEADERS, PING,
    PROTOCOL_ERROR, Peer, REFUSED_STREAM, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame,
};
use crate::support::{gateway, rule};

fn scene() -> (Backend, Gateway) {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("", &[&backend]));
    (backend, gateway)
}

/// What is read until the connection ends: reasons of GOAWAY.
fn farewell(peer: &mut Peer) -> Option<u32> {
    let mut reason = None;
    while let Some(frame) = peer.read() {
        if frame.kind == GOAWAY {
            reason = Some(frame.reason());
        }
    }
    reason
}

/// Others are served, whatever a client has done.
#[track_caller]
fn is_well(gateway: &Gateway) {
    Peer::connect(gateway.address()).serves(1);
}

/// GET with some of its fields changed, and some added.
fn request<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<(&str, &str)> = GET.to_vec();
    for &(name, value) in changes {
        match fields.iter_mut().find(|field| field.0 == name) {
            Some(field) if name.starts_with(':') => field.1 = value,
            _ => fields.push((name, value)),
        }
    }
    fields
}

#[test]
fn malformed_heads_end_their_stream_and_reach_no_backend() {
    let (backend, gateway) = scene();
    let rows: &[&[(&str, &str)]] = &[
        &[("transfer-encoding", "chunked")],
        &[("connection", "x")],
        &[("te", "gzip")],
        &[("upgrade", "websocket")],
        &[("keep-alive", "1")],
        &[("proxy-connection", "x")],
        &[("X-Upper", "1")],
        &[("x", "a\r\nb: c")],
        &[("x", "a\nb")],
        &[("x", "a\0b")],
        &[("x: y", "1")],
        &[("x y", "1")],
        &[("x\r\ny", "1")],
        &[(":path", "/a\r\nb")],
        &[(":path", "/a b")],
        &[(":path", "")],
        &[(":authority", "a\r\nb")],
        &[(":method", "GET /x HTTP/1.1\r\nX: ")],
        &[(":scheme", "http+evil")],
        &[("host", "b.example")],
        &[("host", "a.example"), ("host", "a.example")],
        &[("content-length", "5")],
        &[("content-length", "0"), ("content-length", "5")],
        &[(":unknown", "1")],
        &[(":status", "200")],
    ];
    for changes in rows {
        let mut peer = Peer::connect(gateway.address());
        peer.headers(1, &request(changes), true);
        assert_eq!(peer.refusal(1), PROTOCOL_ERROR, "{changes:?}");
    }
    // Repeated pseudo-header fields, and those behind fields.
    for fields in [
        [&GET[..], &[(":path", "/b")]].concat(),
        [&GET[..3], &[("x", "1"), (":path", "/")]].concat(),
        GET[..3].to_vec(),
        GET[1..].to_vec(),
    ] {
        let mut peer = Peer::connect(gateway.address());
        peer.headers(1, &fields, true);
        assert_eq!(peer.refusal(1), PROTOCOL_ERROR, "{fields:?}");
    }
    assert_eq!(backend.hits(), 0);
    is_well(&gateway);
}

#[test]
fn what_is_wrong_with_a_request_otherwise_is_answered_as_by_http_1() {
    let (backend, gateway) = scene();
    for changes in [
        &[(":path", "relative")][..],
        &[(":authority", "a,b")],
        &[(":authority", "user@a")],
        &[(":path", "/%2e%2e%5c")],
        &[(":method", "get")],
    ] {
        let mut peer = Peer::connect(gateway.address());
        peer.headers(1, &request(changes), true);
        let answer = peer.until("an answer", |frame| frame.stream == 1 || frame.kind == GOAWAY);
        let is_refused = answer.kind == RST_STREAM && answer.reason() == PROTOCOL_ERROR;
        assert!(is_refused || answer.status() == 400, "{changes:?}: {answer:?}");
    }
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &[(":method", "GET"), (":scheme", "http"), (":path", "/")], true);
    assert_eq!(peer.until("an answer", |frame| frame.kind == HEADERS).status(), 400, "there is no host");
    assert_eq!(backend.hits(), 0);
    is_well(&gateway);
}

#[test]
fn connect_is_refused() {
    let (backend, gateway) = scene();
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &[(":method", "CONNECT"), (":authority", "a.example:443")], false);
    let answer = peer.until("an answer", |frame| frame.kind == HEADERS);
    assert_eq!((answer.stream, answer.status()), (1, 0), "405 is not in HPACK's table");
    assert_eq!(backend.hits(), 0);
}

#[test]
fn a_body_of_another_length_than_announced_is_no_request() {
    let (backend, gateway) = scene();
    let post = |length| request(&[(":method", "POST"), ("content-length", length)]);
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &post("0"), false);
    peer.send(DATA, END_STREAM, 1, b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(peer.refusal(1), PROTOCOL_ERROR);
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &post("100"), false);
    peer.send(DATA, END_STREAM, 1, b"short");
    assert_eq!(peer.refusal(1), PROTOCOL_ERROR);
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &post("100"), true);
    assert_eq!(peer.refusal(1), PROTOCOL_ERROR);
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &post("100"), false);
    peer.headers(1, &[("x", "1")], true);
    assert_eq!(peer.refusal(1), PROTOCOL_ERROR, "trailers ahead of the rest");
    is_well(&gateway);
    let whole = backend.requests().iter().filter(|request| request.target == "/evil").count();
    assert_eq!(whole, 0);
}

#[test]
fn trailers_must_end_their_stream() {
    let (_backend, gateway) = scene();
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &request(&[(":method", "POST")]), false);
    peer.headers(1, &[("x", "1")], false);
    assert_eq!(peer.refusal(1), PROTOCOL_ERROR);
    is_well(&gateway);
}

/// CVE-2023-44487.
#[test]
fn a_client_that_opens_and_resets_without_end_is_told_to_calm_down() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let gateway = gateway(&rule("", &[&backend]));
    // In one go, and one by one.
    for is_paced in [false, true] {
        let mut peer = Peer::connect(gateway.address());
        for number in 0..20_000_u32 {
            let stream = number * 2 + 1;
            let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET));
            frames.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
            if is_paced {
                // Answered pings tell that the gateway has got so far.
                frames.extend(frame(PING, 0, 0, b"so far ?"));
            }
            if !peer.raw(&frames) {
                break;
            }
            if is_paced
                && peer.read().is_none_or(|frame| frame.kind == GOAWAY && frame.reason() == ENHANCE_YOUR_CALM)
            {
                break;
            }
            assert!(number < 2_000 || !is_paced, "it bears everything");
        }
    }
    assert!(backend.hits() < 1_000, "{} reached the backend", backend.hits());
    gate.open();
    is_well(&gateway);
}

/// CVE-2025-8671.
#[test]
fn a_client_that_makes_the_gateway_reset_without_end_is_cut_off() {
    let gate = Gate::new();
    let backend = Backend::held("b", &gate);
    let gateway = gateway(&rule("", &[&backend]));
    let mut peer = Peer::connect(gateway.address());
    let is_cut_off = (0..20_000_u32).any(|number| {
        let stream = number * 2 + 1;
        let mut frames = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&GET));
        frames.extend(frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes()));
        !peer.raw(&frames)
    });
    if !is_cut_off {
        // All of it found room on the way, and the end is yet to come.
        farewell(&mut peer);
    }
    assert!(backend.hits() < 1_000, "{} reached the backend", backend.hits());
    gate.open();
    is_well(&gateway);
}

/// CVE-2024-27316.
#[test]
fn heads_without_end_end_the_connection() {
    let (backend, gateway) = scene();
    let mut peer = Peer::connect(gateway.address());
    peer.send(HEADERS, END_STREAM, 1, &block(&GET));
    let more = block(&[("x-long", &"y".repeat(8_000))]);
    let mut sent = 0;
    while sent < 100_000_000 && peer.send(CONTINUATION, 0, 1, &more) {
        sent += more.len();
    }
    assert!(sent < 100_000_000, "it takes everything");
    assert_eq!(backend.hits(), 0);
    is_well(&gateway);
}

/// CVE-2016-6581: small on the wire, large when unpacked.
#[test]
fn heads_that_are_large_only_when_unpacked_are_refused() {
    let (backend, gateway) = scene();
    let mut peer = Peer::connect(gateway.address());
    // A field of 3000 bytes enters the table (RFC 7541 §6.2.1), and is named 5000 times.
    let mut bomb = block(&GET);
    bomb.push(0x40);
    bomb.extend_from_slice(&[1, b'x', 127]);
    bomb.extend_from_slice(&[0x80 | 57, 22]);
    bomb.extend_from_slice(&[b'y'; 3000]);
    bomb.extend_from_slice(&[0x80 | 62; 5000]);
    peer.send(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    let answer = peer.until("an end", |frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    assert!(answer.kind != HEADERS || answer.status() == 0, "{answer:?}");
    // Cookies in crumbs.
    let mut crumbs = block(&GET);
    (0..1500).for_each(|_| crumbs.extend(block(&[("cookie", "a")])));
    let mut peer = Peer::connect(gateway.address());
    peer.send(HEADERS, END_HEADERS | END_STREAM, 1, &crumbs);
    let answer = peer.until("an end", |frame| matches!(frame.kind, HEADERS | RST_STREAM | GOAWAY));
    assert!(answer.kind != HEADERS || answer.status() == 0, "{answer:?}");
    assert_eq!(backend.hits(), 0);
    is_well(&gateway);
}

/// CVE-2019-9512 and CVE-2019-9515: answers that nobody reads.
#[test]
fn pings_and_settings_without_end_take_no_memory() {
    let (_backend, gateway) = scene();
    let before = gateway.resident_bytes();
    for (kind, payload) in [(PING, &b"12345678"[..]), (SETTINGS, &[0, 4, 0, 1, 0, 0][..])] {
        let mut peer = Peer::connect(gateway.address());
        let burst: Vec<u8> = (0..1_000).flat_map(|_| frame(kind, 0, 0, payload)).collect();
        let _ = (0..300).all(|_| peer.raw(&burst));
        is_well(&gateway);
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 20 << 20, "grown by {grown} bytes");
}

/// CVE-2019-9518.
#[test]
fn pieces_of_nothing_without_end_end_the_connection() {
    let (_backend, gateway) = scene();
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &request(&[(":method", "POST")]), false);
    let burst: Vec<u8> = (0..10_000).flat_map(|_| frame(DATA, 0, 1, b"")).collect();
    let is_borne = (0..100).all(|_| peer.raw(&burst));
    assert!(!is_borne || farewell(&mut peer).is_some());
    is_well(&gateway);
}

/// CVE-2019-9511 and CVE-2019-9517.
#[test]
fn a_client_that_opens_no_window_is_cut_off_and_the_backend_is_not_read_meanwhile() {
    let body = vec![b'x'; 2 << 20];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = Backend::fixed([head.as_bytes(), &body].concat());
    let gateway = gateway(&rule("idle_timeout = \"1s\"", &[&backend]));
    let before = gateway.resident_bytes();
    let mut peer = Peer::with_settings(gateway.address(), &[(4, 0)]);
    let streams: Vec<u32> = (0..50).map(|number| number * 2 + 1).collect();
    for &stream in &streams {
        peer.headers(stream, &GET, true);
    }
    let mut ended = 0;
    while ended < streams.len() {
        let frame = peer.read().expect("streams end one by one");
        assert_ne!((frame.kind, frame.payload.is_empty()), (DATA, false), "no window was open");
        ended += usize::from(frame.kind == RST_STREAM);
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 60 << 20, "grown by {grown} bytes");
    is_well(&gateway);
}

/// What waits for the window is all there is: the backend has given everything, and is not to blame.
#[test]
fn a_client_that_stands_still_before_the_last_piece_is_to_blame_itself() {
    let body = vec![b'x'; 50_000];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let backend = Backend::fixed([head.as_bytes(), &body].concat());
    let rule = rule("idle_timeout = \"500ms\"", &[&backend]);
    let gateway = gateway(&format!("[access_log]\nenabled = true\n{rule}"));
    let mut peer = Peer::with_settings(gateway.address(), &[(4, 40_000)]);
    peer.headers(1, &GET, true);
    peer.until("the stream ends", |frame| frame.kind == RST_STREAM);
    let line = gateway.log_line("it is logged", |line| line["path"] == "/");
    assert!(line["error"].as_str().unwrap().starts_with("the client stood still"), "{line}");
    is_well(&gateway);
}

#[test]
fn streams_beyond_the_bound_are_refused_and_others_unaffected() {
    let gate = Gate::new();
    let (held, free) = (Backend::held("held", &gate), Backend::echo("free"));
    let listener = "[[listeners]]\naddress = \"{listen}\"\nhttp2 = { max_concurrent_streams = 4 }\n";
    let gateway = gateway(&format!("{listener}{}{}", rule("path = \"/held\"", &[&held]), rule("", &[&free])));
    let mut peer = Peer::connect(gateway.address());
    let slow = request(&[(":path", "/held")]);
    for stream in [1, 3, 5, 7] {
        peer.headers(stream, &slow, true);
    }
    eventually("all are held", PATIENCE, || gate.waiting() == 4);
    peer.headers(9, &slow, true);
    assert_eq!(peer.refusal(9), REFUSED_STREAM);
    is_well(&gateway);
    gate.open();
    peer.until("an answer", |frame| frame.stream == 7 && frame.kind == HEADERS);
}
