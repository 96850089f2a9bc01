//! A client and a server of this crate with each other, and nothing in between but bytes that come in pieces.
//!
//! Every stream is looked at only when it has been woken, so that one which is forgotten stands still, and is found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use bytes::BytesMut;
use http::{Method, StatusCode, Version};
use lb_h1::{
    Asked, BodyDecoder, BodyFraming, BodyLimits, Decoded, Fields, HeadLimits, RequestLine, ResponseFraming,
    chunk_head,
};
use lb_h2::{BackendLimits, ClientStream, Connection, Http2Limits, Opening, ServerStream};

/// Whether a task is to be looked at.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Flag {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}

/// A body that is written, in one framing or another.
struct Outgoing {
    text: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    fn new(body: &[u8], is_chunked: bool) -> Self {
        let mut text = Vec::new();
        if is_chunked {
            for piece in body.chunks(fastrand::usize(1..40_000)) {
                text.extend_from_slice(chunk_head(piece.len()).as_ref());
                text.extend_from_slice(piece);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(if fastrand::bool() { b"0\r\nx-sum: 7\r\n\r\n" } else { b"0\r\n\r\n" });
        } else {
            text.extend_from_slice(body);
        }
        Self { text, sent: 0 }
    }

    fn poll(&mut self, mut write: impl FnMut(&[u8]) -> Poll<std::io::Result<usize>>) -> Poll<()> {
        while self.sent < self.text.len() {
            let most = self.text.len().min(self.sent + fastrand::usize(1..100_000));
            match write(&self.text[self.sent..most]) {
                Poll::Ready(count) => self.sent += count.expect("the stream is there"),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

/// A body that is read.
struct Incoming {
    text: BytesMut,
    decoder: BodyDecoder,
    body: Vec<u8>,
    is_whole: bool,
}

impl Incoming {
    fn new(decoder: BodyDecoder) -> Self {
        Self { text: BytesMut::new(), decoder, body: Vec::new(), is_whole: false }
    }

    fn poll(&mut self, mut read: impl FnMut(&mut [u8]) -> Poll<std::io::Result<usize>>) -> Poll<()> {
        let mut room = vec![0; fastrand::usize(1..20_000)];
        loop {
            loop {
                match self.decoder.decode(&mut self.text).expect("it is well framed") {
                    Decoded::Data(data) => self.body.extend_from_slice(&data),
                    Decoded::NeedMore => break,
                    _ => {
                        self.is_whole = true;
                        return Poll::Ready(());
                    }
                }
            }
            match read(&mut room) {
                Poll::Ready(count) => {
                    self.text.extend_from_slice(&room[..count.expect("the stream is there")]);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

struct Client {
    stream: ClientStream,
    flag: Arc<Flag>,
    number: usize,
    out: Outgoing,
    body: Vec<u8>,
    answer: Option<Incoming>,
}

struct Server {
    stream: ServerStream,
    flag: Arc<Flag>,
    incoming: Incoming,
    out: Option<Outgoing>,
    is_over: bool,
    /// Whether what it answers comes only once all others have answered.
    is_late: bool,
    /// Whether its answer is read straight into frames.
    is_filled: bool,
}

fn body(most: usize) -> Vec<u8> {
    let length = if fastrand::bool() { fastrand::usize(..most) } else { fastrand::usize(..200) };
    (0..length).map(|_| fastrand::u8(..)).collect()
}

impl Client {
    fn open(connection: &Connection, number: usize) -> Self {
        let mut stream = connection.stream(false);
        let (body, is_chunked) = (body(200_000), fastrand::bool());
        let mut fields = Fields::from(&http::HeaderMap::new());
        for (name, value) in [("host", "a.example".to_owned()), ("x-number", number.to_string())] {
            fields.append(&name.parse().unwrap(), &value.parse().unwrap());
        }
        let framing = if is_chunked { BodyFraming::Chunked } else { BodyFraming::Length(body.len() as u64) };
        let line = RequestLine { method: &Method::POST, target: b"/echo", version: Version::HTTP_2 };
        stream.take_head(line, &fields, framing).expect("the head is good");
        Self { stream, flag: Flag::new(), number, out: Outgoing::new(&body, is_chunked), body, answer: None }
    }

    /// True once all is here.
    fn poll(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        let Self { stream, out, answer, .. } = self;
        if out.poll(|bytes| stream.poll_write(&mut cx, bytes)).is_ready() {
            let _ = stream.poll_flush(&mut cx).map(|flushed| flushed.expect("the stream is there"));
        }
        if answer.is_none() {
            let asked = Asked { method: &Method::POST, upgrade: None };
            let Poll::Ready(head) = stream.poll_head(&mut cx, &HeadLimits::default(), asked) else {
                return false;
            };
            let head = head.expect("an answer");
            assert_eq!(head.status, StatusCode::OK);
            let number = head.headers.get(&"x-number".parse().unwrap()).unwrap();
            assert_eq!(number, self.number.to_string().as_bytes(), "it is this one's answer");
            *answer = Some(Incoming::new(BodyDecoder::for_response(head.framing, BodyLimits::default())));
        }
        let Some(incoming) = answer else { return false };
        incoming.poll(|room| stream.poll_read(&mut cx, room)).is_ready()
    }
}

impl Server {
    fn take(connection: &Connection) -> Option<Self> {
        let accepted = connection.accept()?;
        let (mut stream, opening) = ServerStream::open(accepted, &HeadLimits::default()).expect("it is live");
        let Opening::Head(head) = opening else { panic!("{opening:?}") };
        let length = head.headers.get(&http::header::CONTENT_LENGTH);
        let length = length.map(|text| str::from_utf8(text).unwrap().parse().unwrap());
        let framing = length.map_or(ResponseFraming::Chunked, ResponseFraming::Length);
        stream.take_head(StatusCode::OK, &head.headers, framing, None);
        let decoder = BodyDecoder::for_request(head.framing, BodyLimits::default());
        let out = (length == Some(0)).then(|| Outgoing::new(b"", false));
        let is_late = length.is_some_and(|length| length > 0) && fastrand::bool();
        let is_filled = is_late || length.is_some_and(|length| length > 0) && fastrand::bool();
        let incoming = Incoming::new(decoder);
        Some(Self { stream, flag: Flag::new(), incoming, out, is_over: false, is_late, is_filled })
    }

    /// Fills frames with what there is of an answer that has a length.
    fn fill(stream: &mut ServerStream, cx: &mut Context<'_>, out: &mut Outgoing, is_late: bool) -> Poll<()> {
        while out.sent < out.text.len() {
            let left = &out.text[out.sent..];
            let filled = stream.poll_fill(cx, |_, pieces| {
                if is_late {
                    return Poll::Pending;
                }
                let mut count = 0;
                let most = fastrand::usize(1..=left.len());
                for piece in pieces {
                    let length = piece.len().min(most - count);
                    piece[..length].copy_from_slice(&left[count..count + length]);
                    count += length;
                }
                Poll::Ready(Ok::<usize, ()>(count))
            });
            match filled.expect("nothing of it waits") {
                Poll::Ready(count) => out.sent += count.expect("the stream is there").expect("no error"),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        let Self { stream, incoming, out, .. } = self;
        if !incoming.is_whole && incoming.poll(|room| stream.poll_read(&mut cx, room)).is_pending() {
            return;
        }
        let is_chunked = incoming.decoder.remaining().is_none();
        let out = out.get_or_insert_with(|| Outgoing::new(&incoming.body, is_chunked));
        let sent = match self.is_filled {
            true => Self::fill(stream, &mut cx, out, self.is_late),
            false => out.poll(|bytes| stream.poll_write(&mut cx, bytes)),
        };
        if sent.is_ready() {
            self.is_over = stream.poll_flush(&mut cx).map(|flushed| flushed.expect("it is there")).is_ready();
        }
    }
}

/// Moves some bytes; false where there are none.
fn shuttle(from: &Connection, to: &Connection) -> bool {
    let bytes = from.with_pending(|bytes| {
        let count = bytes.len().min(fastrand::usize(1..70_000));
        (count, bytes[..count].to_vec())
    });
    to.receive(&bytes).expect("both keep to the rules");
    !bytes.is_empty()
}

#[test]
fn bodies_pass_both_ways_whatever_the_windows_and_nobody_is_forgotten() {
    for _ in 0..150 {
        let window = |most| fastrand::u32(1..most);
        let (small, large) = (window(70_000), window(300_000));
        let limits = Http2Limits {
            max_streams: fastrand::u32(2..20),
            stream_window: small,
            connection_window: large,
            max_frame_size: fastrand::u32((16 << 10)..(1 << 17)),
            ..Http2Limits::default()
        };
        let asked = BackendLimits {
            stream_window: window(70_000),
            connection_window: window(300_000),
            max_frame_size: fastrand::u32((16 << 10)..(1 << 17)),
            ..BackendLimits::default()
        };
        let (client, server) = (Connection::client(&asked), Connection::server(&limits, 32 << 10));
        let (mut clients, mut servers): (Vec<Client>, Vec<Server>) = (Vec::new(), Vec::new());
        // The server is heard first, so that no stream is refused.
        while shuttle(&client, &server) | shuttle(&server, &client) {}
        let (mut left, mut number) = (40, 0);
        loop {
            while left > 0 && client.has_room() == Some(true) {
                clients.push(Client::open(&client, number));
                (left, number) = (left - 1, number + 1);
            }
            let mut moved = shuttle(&client, &server) | shuttle(&server, &client);
            servers.extend(std::iter::from_fn(|| Server::take(&server)));
            for server in &mut servers {
                if server.flag.take() {
                    (moved, _) = (true, server.poll());
                }
            }
            servers.retain(|server| !server.is_over);
            clients.retain_mut(|client| {
                if !client.flag.take() {
                    return true;
                }
                moved = true;
                let is_whole = client.poll();
                if is_whole {
                    assert!(client.answer.as_ref().unwrap().body == client.body, "a body has changed");
                }
                !is_whole
            });
            if left == 0 && clients.is_empty() {
                break;
            }
            if !moved && servers.iter().all(|server| server.is_late) {
                for server in &mut servers {
                    server.is_late = false;
                    server.flag.0.store(true, Relaxed);
                }
                moved = !servers.is_empty();
            }
            assert!(
                moved,
                "{} stand still, {} of the server's: {limits:?} {asked:?}",
                clients.len(),
                servers.len()
            );
        }
        while shuttle(&client, &server) | shuttle(&server, &client) {}
        assert_eq!((client.open_streams(), server.open_streams()), (0, 0));
        client.release();
        assert!(client.is_done());
    }
}

/// Heads alone, to be answered or not.
fn get(connection: &Connection) -> ClientStream {
    let mut stream = connection.stream(false);
    let mut fields = Fields::from(&http::HeaderMap::new());
    fields.append(&http::header::HOST, &"a.example".parse().unwrap());
    let line = RequestLine { method: &Method::GET, target: b"/", version: Version::HTTP_2 };
    stream.take_head(line, &fields, BodyFraming::None).expect("the head is good");
    stream
}

#[test]
fn a_backend_that_answers_what_was_given_up_is_not_to_blame() {
    let limits = Http2Limits { max_streams: 5000, ..Http2Limits::default() };
    let (client, server) =
        (Connection::client(&BackendLimits::default()), Connection::server(&limits, 32 << 10));
    while shuttle(&client, &server) | shuttle(&server, &client) {}
    // It hears of no reset before it has answered everything.
    let given_up: Vec<ClientStream> = (0..3000).map(|_| get(&client)).collect();
    while shuttle(&client, &server) {}
    drop(given_up);
    let mut answered: Vec<ServerStream> = std::iter::from_fn(|| server.accept())
        .map(|accepted| ServerStream::open(accepted, &HeadLimits::default()).expect("it is live").0)
        .collect();
    assert_eq!(answered.len(), 3000);
    let mut cx = Context::from_waker(Waker::noop());
    for stream in &mut answered {
        let fields = Fields::from(&http::HeaderMap::new());
        stream.take_head(StatusCode::OK, &fields, ResponseFraming::Length(2), None);
        let _ = stream.poll_write(&mut cx, b"ok");
    }
    while shuttle(&server, &client) | shuttle(&client, &server) {}
    assert_eq!((client.has_room(), client.open_streams()), (Some(true), 0));
}

#[test]
fn what_waits_for_a_backends_window_is_told_and_a_backend_that_takes_nothing_is_given_no_more() {
    let limits = Http2Limits { stream_window: 1, ..Http2Limits::default() };
    let (client, server) =
        (Connection::client(&BackendLimits::default()), Connection::server(&limits, 32 << 10));
    while shuttle(&client, &server) | shuttle(&server, &client) {}
    let mut cx = Context::from_waker(Waker::noop());
    let mut stream = connection_to_websocket(&client, &mut cx);
    assert_eq!(stream.backlog(), 0);
    assert!(matches!(stream.poll_write(&mut cx, b"hello"), Poll::Ready(Ok(5))));
    assert_eq!(stream.backlog(), 4, "the window is one byte");
    let opened =
        (0..10_000).map_while(|_| (client.has_room() == Some(true)).then(|| drop(get(&client)))).count();
    assert!((500..10_000).contains(&opened), "{opened} were opened while nothing was sent");
}

#[test]
fn those_with_nothing_to_send_leave_their_turn_to_those_behind_them() {
    let asked =
        BackendLimits { stream_window: 1 << 20, connection_window: 65_535, ..BackendLimits::default() };
    let (client, server) =
        (Connection::client(&asked), Connection::server(&Http2Limits::default(), 32 << 10));
    while shuttle(&client, &server) | shuttle(&server, &client) {}
    let mut clients: Vec<ClientStream> = (0..8).map(|_| get(&client)).collect();
    while shuttle(&client, &server) {}
    let mut servers: Vec<ServerStream> = std::iter::from_fn(|| server.accept())
        .map(|accepted| ServerStream::open(accepted, &HeadLimits::default()).expect("it is live").0)
        .collect();
    let fields = Fields::from(&http::HeaderMap::new());
    for stream in &mut servers {
        stream.take_head(StatusCode::OK, &fields, ResponseFraming::Length(1 << 20), None);
    }
    let flags: Vec<_> = (0..8).map(|_| Flag::new()).collect();
    let wakers: Vec<_> = flags.iter().map(|flag| Waker::from(Arc::clone(flag))).collect();
    let cx = |number: usize| Context::from_waker(&wakers[number]);
    // The first uses the connection's window up; all others wait for it with nothing to send yet, and then the first as well.
    let body = [0; 1 << 17];
    let mut sent = 0;
    while let Poll::Ready(Ok(count)) =
        servers[0].poll_write(&mut cx(0), &body[..(65_535 - sent).min(1 << 14)])
    {
        sent += count;
        while shuttle(&server, &client) {}
        if sent == 65_535 {
            break;
        }
    }
    for (number, stream) in servers.iter_mut().enumerate().skip(1) {
        let filled = stream.poll_fill(&mut cx(number), |_, _| Poll::Ready(Ok::<usize, ()>(0)));
        assert!(matches!(filled, Some(Poll::Pending)), "{number} has no room");
    }
    let _ = servers[0].poll_write(&mut cx(0), &body[..1 << 14]);
    for flag in &flags {
        flag.take();
    }
    let mut room = vec![0; 1 << 17];
    let mut read = 0;
    while read < 65_535 {
        let Poll::Ready(Ok(count)) = clients[0].poll_read(&mut cx(0), &mut room) else {
            panic!("{read} were read")
        };
        read += count;
    }
    while shuttle(&client, &server) {}
    for (number, stream) in servers.iter_mut().enumerate().skip(1) {
        if flags[number].take() {
            let filled = stream.poll_fill(&mut cx(number), |_, _| Poll::<Result<usize, ()>>::Pending);
            assert!(matches!(filled, Some(Poll::Pending)));
        }
    }
    assert!(flags[0].take(), "its turn has come");
}

/// A stream that is asked to become WebSocket, as an upgrade of HTTP/1.1 asks for it.
fn connection_to_websocket(client: &Connection, cx: &mut Context<'_>) -> ClientStream {
    let mut stream = client.stream(false);
    assert!(stream.takes_connect());
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    assert!(matches!(stream.poll_write(cx, head), Poll::Ready(Ok(_))));
    stream
}

#[test]
fn of_a_connection_that_breaks_only_what_has_left_may_have_been_seen() {
    let (client, server) = (
        Connection::client(&BackendLimits::default()),
        Connection::server(&Http2Limits::default(), 32 << 10),
    );
    while shuttle(&client, &server) | shuttle(&server, &client) {}
    let mut cx = Context::from_waker(Waker::noop());
    let mut failure = |stream: &mut ClientStream| match stream.poll_read(&mut cx, &mut [0; 64]) {
        Poll::Ready(Err(error)) => error,
        other => panic!("it should have failed: {other:?}"),
    };
    let mut left = get(&client);
    let head = client.pending();
    let (mut begun, mut kept) = (get(&client), get(&client));
    // All of the first head, and some of the second.
    client.with_pending(|_| (head + 3, ()));
    client.close(&std::io::Error::new(std::io::ErrorKind::TimedOut, "nobody answers"));
    let errors = [&mut left, &mut begun, &mut kept].map(&mut failure);
    assert_eq!(errors.each_ref().map(lb_h2::is_unprocessed), [false, false, true], "{errors:?}");
    assert_eq!(errors[0].kind(), std::io::ErrorKind::TimedOut);
}
