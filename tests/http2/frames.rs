//! A client that speaks HTTP/2 by the frame, rightly or wrongly.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use lb_testkit::PATIENCE;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What every request has.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];

#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The number that RST_STREAM and GOAWAY end with.
    pub(crate) fn reason(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The status that HEADERS begin with, where it is one of HPACK's own table.
    pub(crate) fn status(&self) -> u16 {
        match self.payload.first() {
            Some(0x88) => 200,
            Some(0x8c) => 400,
            Some(0x8d) => 404,
            Some(0x8e) => 500,
            _ => 0,
        }
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// One connection.
pub(crate) struct Peer(TcpStream);

impl Peer {
    /// Connects and says hello with these settings.
    pub(crate) fn with_settings(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(std::time::Duration::from_secs(3))).unwrap();
        let mut peer = Self(stream);
        peer.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        peer.introduce(settings);
        peer
    }

    /// The other side: a client that has just been accepted, whose greeting is answered.
    pub(crate) fn accepted(stream: TcpStream) -> Option<Self> {
        Self::accepted_with(stream, &[])
    }

    /// The same with these settings.
    pub(crate) fn accepted_with(stream: TcpStream, settings: &[(u16, u32)]) -> Option<Self> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self(stream);
        peer.fill(&mut [0; 24])?;
        peer.introduce(settings);
        Some(peer)
    }

    fn introduce(&mut self, settings: &[(u16, u32)]) {
        let entry = |(key, value): &(u16, u32)| [&key.to_be_bytes()[..], &value.to_be_bytes()[..]].concat();
        let payload: Vec<u8> = settings.iter().flat_map(entry).collect();
        self.send(SETTINGS, 0, 0, &payload);
    }

    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::with_settings(address, &[])
    }

    /// Writes these bytes; a gateway that has closed is no fault of the test's.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.raw(&frame(kind, flags, stream, payload))
    }

    /// A whole head in one frame.
    pub(crate) fn headers(&mut self, stream: u32, fields: &[(&str, &str)], end: bool) -> bool {
        let flags = END_HEADERS | if end { END_STREAM } else { 0 };
        self.send(HEADERS, flags, stream, &block(fields))
    }

    /// The next frame; none where the connection is over.
    pub(crate) fn read(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no frame, and no end of the connection either")
            }
            Err(_) => None,
        }
    }

    /// The first frame for which `wanted` holds.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Frame {
        let mut seen = Vec::new();
        while let Some(frame) = self.read() {
            if wanted(&frame) {
                return frame;
            }
            seen.push((frame.kind, frame.flags, frame.stream));
        }
        panic!("the connection ended without {what}; seen {seen:?}")
    }

    /// Why this stream, or the whole connection, was ended.
    #[track_caller]
    pub(crate) fn refusal(&mut self, stream: u32) -> u32 {
        let ends = |frame: &Frame| {
            frame.kind == GOAWAY || frame.stream == stream && matches!(frame.kind, RST_STREAM | HEADERS)
        };
        let frame = self.until("a refusal", ends);
        assert_ne!(frame.kind, HEADERS, "stream {stream} was answered: {frame:?}");
        frame.reason()
    }

    /// Whether this connection still serves a request.
    #[track_caller]
    pub(crate) fn serves(&mut self, stream: u32) {
        self.headers(stream, &GET, true);
        let answer = self.until("an answer", |frame| frame.stream == stream && frame.kind == HEADERS);
        assert_eq!(answer.status(), 200);
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags][..], &stream.to_be_bytes()[..], payload].concat()
}

/// A header block of literal fields, which no table remembers (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 §5.1).
fn length(block: &mut Vec<u8>, value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}
