//! Trailers behind bodies whose length was told, which HTTP/2 has and HTTP/1.1 has not (RFC 9113 §8.1).

use std::net::TcpListener;
use std::time::Duration;

use lb_testkit::Gateway;

use super::frames::{DATA, END_HEADERS, END_STREAM, Frame, HEADERS, Peer, block};
use crate::support::launch;

/// A gateway, and where its backend of HTTP/2 is accepted.
fn scene() -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = format!(
        "[server]\nworkers = 1\n[[rules]]\nretries = {{ replay_body = \"64KiB\" }}\n\
         backends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n"
    );
    (launch().config(&config).start(), listener)
}

const POST: [(&str, &str); 5] = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/"),
    ("content-length", "3"),
];

/// The frames of a message up to its end.
#[track_caller]
fn message(peer: &mut Peer, stream: u32) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        let frame = peer.until("the rest", |frame| frame.stream == stream && frame.kind <= HEADERS);
        let is_last = frame.ends_stream();
        frames.push(frame);
        if is_last {
            return frames;
        }
    }
}

/// Its body, and whether trailers of this name stand at its end.
fn read(frames: &[Frame], name: &str) -> (Vec<u8>, bool) {
    let body = frames.iter().filter(|frame| frame.kind == DATA).flat_map(|frame| frame.payload.clone());
    let last = frames.last().unwrap();
    let names = last.payload.windows(name.len()).any(|piece| piece == name.as_bytes());
    (body.collect(), last.kind == HEADERS && names)
}

fn sum(name: &str) -> Vec<u8> {
    block(&[(name, "7")])
}

#[test]
fn they_pass_with_a_request_and_with_its_answer_however_late_they_come() {
    for pause in [0, 200].map(Duration::from_millis) {
        let (gateway, listener) = scene();
        let mut client = Peer::connect(gateway.address());
        client.headers(1, &POST, false);
        client.send(DATA, 0, 1, b"abc");
        std::thread::sleep(pause);
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &sum("x-asked"));
        let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
        assert_eq!(read(&message(&mut backend, 1), "x-asked"), (b"abc".to_vec(), true));
        let head = block(&[("content-length", "5")]);
        backend.send(HEADERS, END_HEADERS, 1, &[&[0x88], &head[..]].concat());
        backend.send(DATA, 0, 1, b"hel");
        backend.send(DATA, 0, 1, b"lo");
        std::thread::sleep(pause);
        backend.send(HEADERS, END_HEADERS | END_STREAM, 1, &sum("x-told"));
        let answer = message(&mut client, 1);
        assert_eq!(read(&answer, "x-told"), (b"hello".to_vec(), true));
        let length = [1, b'5'];
        assert!(answer[0].payload.windows(2).any(|piece| piece == length), "its length is told all the same");
    }
}

#[test]
fn an_end_that_comes_by_itself_is_passed_on() {
    let (gateway, listener) = scene();
    let mut client = Peer::connect(gateway.address());
    client.headers(1, &POST, false);
    client.send(DATA, 0, 1, b"abc");
    std::thread::sleep(Duration::from_millis(100));
    client.send(DATA, END_STREAM, 1, b"");
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    assert_eq!(read(&message(&mut backend, 1), "x"), (b"abc".to_vec(), false));
    let head = block(&[("content-length", "2")]);
    backend.send(HEADERS, END_HEADERS, 1, &[&[0x88], &head[..]].concat());
    backend.send(DATA, 0, 1, b"ok");
    std::thread::sleep(Duration::from_millis(100));
    backend.send(DATA, END_STREAM, 1, b"");
    assert_eq!(read(&message(&mut client, 1), "x"), (b"ok".to_vec(), false));
}

#[test]
fn a_request_that_is_sent_again_has_them_again() {
    let (gateway, listener) = scene();
    let mut client = Peer::connect(gateway.address());
    client.headers(1, &POST, false);
    client.send(DATA, 0, 1, b"abc");
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &sum("x-asked"));
    let mut first = Peer::accepted(listener.accept().unwrap().0).unwrap();
    assert_eq!(read(&message(&mut first, 1), "x-asked"), (b"abc".to_vec(), true));
    first.send(super::frames::RST_STREAM, 0, 1, &super::frames::REFUSED_STREAM.to_be_bytes());
    let mut second = Peer::accepted(listener.accept().unwrap().0).unwrap();
    assert_eq!(read(&message(&mut second, 1), "x-asked"), (b"abc".to_vec(), true));
    second.send(HEADERS, END_HEADERS | END_STREAM, 1, &[0x88]);
    assert_eq!(message(&mut client, 1).len(), 1, "a head alone");
}

#[test]
fn who_has_no_place_for_them_gets_the_body_alone() {
    let (gateway, listener) = scene();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    message(&mut backend, 1);
    let head = block(&[("content-length", "5")]);
    backend.send(HEADERS, END_HEADERS, 1, &[&[0x88], &head[..]].concat());
    backend.send(DATA, 0, 1, b"hello");
    backend.send(HEADERS, END_HEADERS | END_STREAM, 1, &sum("x-told"));
    let response = client.response();
    assert_eq!((response.text().as_str(), response.header("content-length")), ("hello", Some("5")));
}

#[test]
fn they_may_be_as_long_as_a_head() {
    let (gateway, listener) = scene();
    let mut client = Peer::connect(gateway.address());
    client.headers(1, &super::GET, true);
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    message(&mut backend, 1);
    backend.send(HEADERS, END_HEADERS, 1, &[0x88]);
    backend.send(DATA, 0, 1, b"hello");
    let details = "x".repeat(12_000);
    backend.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("grpc-status-details-bin", &details)]));
    let is_end = |frame: &Frame| frame.kind == super::RST_STREAM || frame.flags & END_STREAM != 0;
    let last = client.until("the end", |frame| frame.stream == 1 && is_end(frame));
    assert_eq!(last.kind, HEADERS, "{last:?}");
}
