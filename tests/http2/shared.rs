//! Clients that share a connection to a backend of HTTP/2, and streams there whose end comes late or never.

use std::net::TcpListener;

use lb_testkit::{Client, Gateway};

use super::backends::Origin;
use super::frames::{CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, Peer, RST_STREAM, block};
use crate::support::launch;

/// A gateway of one worker, so that all that is asked of the backend shares a connection.
fn gateway(backend: &str) -> Gateway {
    let config = format!(
        "[server]\nworkers = 1\n[[rules]]\nidle_timeout = \"2s\"\n\
         backends = [{{ url = \"http://{backend}\", protocol = \"h2c\" }}]\n"
    );
    launch().config(&config).start()
}

fn listening() -> (Gateway, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (gateway(&listener.local_addr().unwrap().to_string()), listener)
}

const LARGE: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/large")];

#[test]
fn clients_that_take_nothing_hold_up_nobody_else() {
    let origin = Origin::start();
    let url = format!("http://{}", origin.address());
    let config =
        format!("[server]\nworkers = 1\n[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n");
    let gateway = launch().config(&config).start();
    // SETTINGS_INITIAL_WINDOW_SIZE: bodies have no room at all.
    let mut stalled = Peer::with_settings(gateway.address(), &[(4, 0)]);
    for stream in (1..32).step_by(2) {
        stalled.headers(stream, &LARGE, true);
        stalled.until("a head", |frame| frame.stream == stream && frame.kind == HEADERS);
    }
    assert!(gateway.get("/large").text() == origin.body);
}

/// Answers a stream with a whole body, and no end.
fn answer(backend: &mut Peer, stream: u32) {
    let head = block(&[("content-length", "5")]);
    backend.send(HEADERS, END_HEADERS, stream, &[&[0x88], &head[..]].concat());
    backend.send(DATA, 0, stream, b"hello");
}

fn ask(client: &mut Client) {
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn an_answer_that_is_whole_is_not_reset_because_its_end_comes_by_itself() {
    let (gateway, listener) = listening();
    let mut client = gateway.client();
    ask(&mut client);
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    for stream in (1..60).step_by(2) {
        let mut seen = Vec::new();
        loop {
            let frame = backend.read().unwrap();
            if frame.kind == HEADERS {
                assert_eq!(frame.stream, stream, "all on one connection");
                break;
            }
            seen.push(frame);
        }
        let is_reset = seen.iter().any(|frame| frame.kind == RST_STREAM);
        assert!(!is_reset, "ahead of stream {stream}: {seen:?}");
        answer(&mut backend, stream);
        assert_eq!(client.response().text(), "hello");
        backend.send(DATA, END_STREAM, stream, b"");
        ask(&mut client);
    }
}

#[test]
fn of_streams_whose_end_never_comes_the_oldest_are_reset() {
    let (gateway, listener) = listening();
    let mut client = gateway.client();
    ask(&mut client);
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    let mut reset = Vec::new();
    for stream in (1..300).step_by(2) {
        loop {
            let frame = backend.read().unwrap();
            match frame.kind {
                HEADERS => break assert_eq!(frame.stream, stream),
                RST_STREAM => reset.push((frame.stream, frame.reason())),
                _ => {}
            }
        }
        answer(&mut backend, stream);
        assert_eq!(client.response().text(), "hello");
        ask(&mut client);
    }
    assert!((60..100).contains(&reset.len()), "{reset:?}");
    let oldest = (1..).step_by(2).zip(&reset);
    assert!(oldest.clone().count() == reset.len());
    for (expected, (stream, reason)) in oldest {
        assert_eq!((*stream, *reason), (expected, CANCEL));
    }
}

#[test]
fn a_client_of_http2_has_the_whole_of_an_answer_whose_end_never_comes() {
    let (gateway, listener) = listening();
    let mut client = Peer::connect(gateway.address());
    client.headers(1, &super::GET, true);
    let mut backend = Peer::accepted(listener.accept().unwrap().0).unwrap();
    backend.until("the request", |frame| frame.kind == HEADERS);
    answer(&mut backend, 1);
    let mut body = Vec::new();
    loop {
        let frame = client.until("the rest", |frame| frame.stream == 1 && frame.kind != HEADERS);
        assert_eq!(frame.kind, DATA, "{frame:?}");
        body.extend_from_slice(&frame.payload);
        if frame.ends_stream() {
            break;
        }
    }
    assert_eq!(body, b"hello");
}
