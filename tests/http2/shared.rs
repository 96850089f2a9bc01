//! Clients that share a connection to a backend of HTTP/2, and streams there whose end comes late or never.

use std::net::TcpListener;
use std::time::Duration;

use lb_testkit::{Backend, Client, Gate, Gateway};

use super::backends::Origin;
use super::frames::{
    CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, PING, Peer, RST_STREAM, SETTINGS, WINDOW_UPDATE, block,
};
use crate::support::{launch, rule};

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

/// A client's uploads, kept to the windows that it is given.
struct Uploads {
    peer: Peer,
    windows: std::collections::BTreeMap<u32, i64>,
    initial: i64,
}

impl Uploads {
    fn to(gateway: &Gateway) -> Self {
        let mut peer = Peer::connect(gateway.address());
        let settings = peer.until("settings", |frame| frame.kind == SETTINGS && frame.flags == 0).payload;
        let entry = settings.chunks(6).find(|entry| entry[..2] == [0, 4]).expect("an initial window");
        let initial = u32::from_be_bytes(entry[2..].try_into().unwrap()).into();
        peer.send(SETTINGS, 1, 0, &[]);
        let mut uploads = Self { peer, windows: [(0, 65_535)].into(), initial };
        uploads.hear();
        uploads
    }

    /// Reads what has been sent by now.
    fn hear(&mut self) {
        self.peer.send(PING, 0, 0, b"by now??");
        loop {
            let frame = self.peer.until("an answer", |frame| matches!(frame.kind, PING | WINDOW_UPDATE));
            if frame.kind == PING {
                return;
            }
            let more = u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
            *self.windows.entry(frame.stream).or_insert(self.initial) += i64::from(more);
        }
    }

    fn begin(&mut self, stream: u32, path: &str) {
        let head = [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", path)];
        self.peer.headers(stream, &head, false);
        self.windows.entry(stream).or_insert(self.initial);
    }

    /// Sends as much of a body as the windows let through, up to so much; how much that is.
    fn fill(&mut self, stream: u32, most: i64) -> i64 {
        // How often nothing more had been given.
        let (mut sent, mut idle) = (0, 0);
        loop {
            let room = self.windows[&stream].min(self.windows[&0]).min(most - sent).min(16 << 10);
            if room > 0 {
                self.peer.send(DATA, 0, stream, &vec![b'x'; usize::try_from(room).unwrap()]);
                for window in [0, stream] {
                    *self.windows.get_mut(&window).unwrap() -= room;
                }
                (sent, idle) = (sent + room, 0);
            } else if sent == most || idle == 20 {
                return sent;
            } else {
                std::thread::sleep(Duration::from_millis(10));
                self.hear();
                idle += 1;
            }
        }
    }
}

#[test]
fn uploads_that_nobody_reads_hold_up_no_other_of_the_same_client_and_take_so_much_memory_and_no_more() {
    let gate = Gate::new();
    let reading = gate.clone();
    let deaf = Backend::scripted(move |conn| {
        conn.request_head();
        reading.wait();
    });
    let good = Backend::echo("good");
    let config =
        format!("[server]\nworkers = 1\n{}{}", rule("path = \"/deaf\"", &[&deaf]), rule("", &[&good]));
    let gateway = launch().config(&config).start();
    let mut client = Uploads::to(&gateway);
    let streams: Vec<u32> = (1..=16).step_by(2).collect();
    for stream in &streams {
        client.begin(*stream, "/deaf");
    }
    // What the sockets on the way take is no window's; all that is left then is held here.
    let mut held: Vec<i64> = streams.iter().map(|stream| client.fill(*stream, 64 << 20)).collect();
    for (stream, sent) in streams.iter().zip(&mut held) {
        *sent += client.fill(*stream, 64 << 20);
    }
    assert!(client.windows[&0] > 0, "the connection's window is shut: {:?}", client.windows);
    client.begin(101, "/");
    let body = 200_000;
    assert_eq!(client.fill(101, body), body);
    client.peer.send(DATA, END_STREAM, 101, b"");
    let answer = client.peer.until("an answer", |frame| frame.stream == 101 && frame.kind == HEADERS);
    assert_eq!(answer.status(), 200);
    gate.open();
}
