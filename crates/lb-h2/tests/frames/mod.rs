//! A peer of one connection, by the frame.

use std::task::{Context, Poll, Waker};

use lb_h1::HeadLimits;
use lb_h2::{Connection, Http2Limits, Opening, PREFACE, ServerStream};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const PRIORITY_FLAG: u8 = 0x20;

pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];
pub(crate) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags][..], &stream.to_be_bytes()[..], payload].concat()
}

pub(crate) fn setting(key: u16, value: u32) -> Vec<u8> {
    [&key.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
}

/// A block of literal fields, which no table remembers. None here is longer than 126 bytes.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

pub(crate) struct Peer {
    pub(crate) connection: Connection,
    held: Vec<ServerStream>,
}

impl Peer {
    /// A client of a server that has heard nothing.
    pub(crate) fn silent_of_server() -> Self {
        Self { connection: Connection::server(&Http2Limits::default(), 32 << 10), held: Vec::new() }
    }

    /// One that has introduced itself.
    pub(crate) fn of_server() -> Self {
        let mut peer = Self::silent_of_server();
        peer.send(PREFACE);
        peer.send(&frame(SETTINGS, 0, 0, &[]));
        peer
    }

    /// What comes of it is in what is said.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.connection.receive(bytes);
    }

    /// All frames that have been said since.
    pub(crate) fn said(&mut self) -> Vec<Frame> {
        let bytes = self.connection.with_pending(|bytes| (bytes.len(), bytes.to_vec()));
        let mut frames = Vec::new();
        let mut rest = &bytes[..];
        while let Some((head, more)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let (payload, more) = more.split_at(length);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            frames.push(Frame { kind: head[3], flags: head[4], stream, payload: payload.to_vec() });
            rest = more;
        }
        assert!(rest.is_empty(), "frames are whole");
        frames
    }

    /// The next stream that the server is given.
    pub(crate) fn accept(&mut self) -> Option<ServerStream> {
        let accepted = self.connection.accept()?;
        let (stream, opening) = ServerStream::open(accepted, &HeadLimits::default()).ok()?;
        assert!(matches!(opening, Opening::Head(_)), "{opening:?}");
        Some(stream)
    }

    /// Whether there is one, which stays open.
    pub(crate) fn accepts(&mut self) -> bool {
        let stream = self.accept();
        let is_there = stream.is_some();
        self.keep(stream);
        is_there
    }

    pub(crate) fn keep(&mut self, stream: Option<ServerStream>) {
        self.held.extend(stream);
    }

    /// The body of the next stream, without its framing.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        let mut stream = self.accept().expect("a stream has been opened");
        let mut cx = Context::from_waker(Waker::noop());
        let (mut body, mut room) = (Vec::new(), [0; 4096]);
        while let Poll::Ready(Ok(count)) = stream.poll_read(&mut cx, &mut room) {
            body.extend_from_slice(&room[..count]);
        }
        let mut text = bytes::BytesMut::from(&body[..]);
        let mut plain = Vec::new();
        let mut decoder =
            lb_h1::BodyDecoder::for_request(lb_h1::BodyFraming::Chunked, lb_h1::BodyLimits::default());
        loop {
            match decoder.decode(&mut text).expect("it is well framed") {
                lb_h1::Decoded::Data(data) => plain.extend_from_slice(&data),
                lb_h1::Decoded::NeedMore => panic!("it is whole: {body:?}"),
                _ => return plain,
            }
        }
    }
}
