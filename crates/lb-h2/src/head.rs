//! Heads as HTTP/2 brings them, put together as lines of HTTP/1.1 (RFC 9113 §8).
//!
//! What two readers could take differently is refused here; what remains is judged by the rules of HTTP/1.1.

use std::ops::Range;
use std::sync::LazyLock;

use http::{Method, StatusCode, header};
use lb_h1::{Draft, KnownName, Upgrade, write_trailer};

use crate::hpack::Line;
use crate::upgrade;

/// How a body that came in DATA frames goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLine {
    /// There is none, or it has the length that is among the fields.
    AsFields,
    /// In chunks.
    Chunked,
    /// There is nothing, which an answer of HTTP/1.1 has to be told.
    Empty,
}

/// A request that is malformed (RFC 9113 §8.1.1): its stream is reset and nothing else becomes of it. Or one that its client has
/// thrown away already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

/// What a well-known field is to a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Plain,
    Host,
    Cookie,
    Length,
    /// One that only HTTP/1.1 knows.
    Key,
    Te,
    /// It belongs to one connection of HTTP/1.1, which makes the request malformed (RFC 9113 §8.2.2, RFC 9114 §4.2).
    Connection,
}

/// By the rows of the names.
static ROLES: LazyLock<[Role; KnownName::COUNT]> = LazyLock::new(|| {
    let mut roles = [Role::Plain; KnownName::COUNT];
    for (known, role) in KnownName::all().zip(&mut roles) {
        *role = match known.as_str() {
            "host" => Role::Host,
            "cookie" => Role::Cookie,
            "content-length" => Role::Length,
            "sec-websocket-key" => Role::Key,
            "te" => Role::Te,
            "expect" => Role::Plain,
            _ if known.is_hop_by_hop() => Role::Connection,
            _ => Role::Plain,
        };
    }
    roles
});

fn role_of(known: KnownName) -> Role {
    ROLES.get(known.row()).copied().unwrap_or(Role::Plain)
}

/// The pseudo-header fields of a request (RFC 9113 §8.3.1, RFC 8441 §4).
const PSEUDO: [&[u8]; 5] = [b":method", b":scheme", b":authority", b":path", b":protocol"];
const METHOD: usize = 0;
const SCHEME: usize = 1;
const AUTHORITY: usize = 2;
const PATH: usize = 3;
const PROTOCOL: usize = 4;

/// Room that readers of heads hand to each other.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Values of pseudo-header fields.
    pseudo: Vec<u8>,
    /// The parts of a cookie, as one.
    cookie: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        // What one long head needed is not kept.
        for room in [&mut self.pseudo, &mut self.cookie] {
            if room.capacity() > 16 << 10 {
                *room = Vec::new();
            }
            room.clear();
        }
    }
}

/// A request's head in the making.
#[derive(Debug)]
pub(crate) struct RequestReader<'a> {
    scratch: &'a mut Scratch,
    pseudo: [Option<Range<usize>>; PSEUDO.len()],
    draft: Option<Draft>,
    host: Host,
    method: Method,
    upgrade: Option<Upgrade>,
    length: Length,
    measure: Measure,
}

/// Whether fields are still looked at: as long as all are well-formed, and together no larger than they may be.
#[derive(Debug)]
struct Measure {
    /// What they count so far (RFC 9113 §6.5.2), and may.
    size: usize,
    max_size: usize,
    is_malformed: bool,
}

impl Measure {
    fn new(max_size: usize) -> Self {
        Self { size: 0, max_size, is_malformed: false }
    }

    /// Counts the next field; whether it is to be looked at.
    fn takes(&mut self, line: &Line<'_>) -> bool {
        self.size += line.size();
        self.is_malformed |= !line.is_valid;
        !self.is_malformed && !self.is_exceeded()
    }

    fn is_exceeded(&self) -> bool {
        self.size > self.max_size
    }
}

/// Where Host comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    None,
    Authority,
    Field,
}

/// What Content-Length says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Length(pub(crate) Option<u64>);

impl Length {
    /// Takes a field's value; false where it is none, or says another length than one before.
    fn take(&mut self, value: &[u8]) -> bool {
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        number.is_some()
            && self.0.replace(number.unwrap_or_default()).is_none_or(|before| Some(before) == number)
    }
}

/// A request whose head is well-formed, as far as HTTP/2 goes.
#[derive(Debug)]
pub(crate) struct Request {
    /// Its lines; none where they are more than is read.
    pub(crate) draft: Option<Draft>,
    /// What it has in HTTP/1.1.
    pub(crate) method: Method,
    pub(crate) upgrade: Option<Upgrade>,
    /// How long its body is, where that is said.
    pub(crate) length: Option<u64>,
    pub(crate) is_chunked: bool,
}

impl<'a> RequestReader<'a> {
    pub(crate) fn new(scratch: &'a mut Scratch, max_size: usize) -> Self {
        scratch.clear();
        Self {
            scratch,
            pseudo: Default::default(),
            draft: None,
            host: Host::None,
            method: Method::GET,
            upgrade: None,
            length: Length::default(),
            measure: Measure::new(max_size),
        }
    }

    /// Takes the next field.
    pub(crate) fn take(&mut self, line: Line<'_>) {
        if self.measure.takes(&line) {
            self.measure.is_malformed = !match line.name {
                [b':', ..] => self.draft.is_none() && self.take_pseudo(line),
                _ => self.take_field(line),
            };
        }
    }

    fn take_pseudo(&mut self, line: Line<'_>) -> bool {
        let start = self.scratch.pseudo.len();
        self.scratch.pseudo.extend_from_slice(line.value);
        let place = PSEUDO.iter().position(|name| *name == line.name);
        let Some(slot) = place.and_then(|place| self.pseudo.get_mut(place)) else { return false };
        slot.replace(start..self.scratch.pseudo.len()).is_none()
    }

    fn pseudo(&self, place: usize) -> Option<&[u8]> {
        let range = self.pseudo.get(place)?.clone()?;
        self.scratch.pseudo.get(range)
    }

    fn take_field(&mut self, line: Line<'_>) -> bool {
        if self.draft.is_none() && !self.begin() {
            return false;
        }
        let Some(draft) = &mut self.draft else { return false };
        let is_good = match line.known.map_or(Role::Plain, role_of) {
            Role::Plain => true,
            Role::Te => line.value == b"trailers",
            Role::Length => self.length.take(line.value),
            Role::Connection => false,
            Role::Host => return self.take_host(line),
            Role::Key => return true,
            Role::Cookie => {
                if !self.scratch.cookie.is_empty() {
                    self.scratch.cookie.extend_from_slice(b"; ");
                }
                self.scratch.cookie.extend_from_slice(line.value);
                return true;
            }
        };
        draft.named(line.known, line.name, line.value);
        is_good
    }

    fn take_host(&mut self, line: Line<'_>) -> bool {
        match self.host {
            Host::None => {
                self.host = Host::Field;
                if let Some(draft) = &mut self.draft {
                    draft.named(line.known, line.name, line.value);
                }
                true
            }
            // Two of them can be meant for two readers.
            Host::Field => false,
            Host::Authority => {
                let is_same =
                    self.pseudo(AUTHORITY).is_some_and(|value| value.eq_ignore_ascii_case(line.value));
                self.host = Host::Field;
                is_same
            }
        }
    }

    /// Begins the lines, once all pseudo-header fields are here. False where they make no request.
    fn begin(&mut self) -> bool {
        let Some(method) = self.pseudo(METHOD).and_then(|method| Method::from_bytes(method).ok()) else {
            return false;
        };
        if let Some(protocol) = self.pseudo(PROTOCOL) {
            let is_one = protocol.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
            let upgrade = Upgrade::read(protocol).filter(|_| is_one && method == Method::CONNECT);
            let Some(upgrade) = upgrade else { return false };
            self.upgrade = Some(upgrade);
        }
        let is_tunnel = method == Method::CONNECT && self.upgrade.is_none();
        let (scheme, path) = (self.pseudo(SCHEME), self.pseudo(PATH));
        let is_whole = match (scheme, path) {
            (None, None) => is_tunnel && self.pseudo(AUTHORITY).is_some(),
            (Some(scheme), Some(path)) => {
                let is_ours = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
                !is_tunnel
                    && is_ours
                    && (path.starts_with(b"/") || path == b"*")
                    && path.iter().all(|byte| *byte > b' ')
            }
            _ => false,
        };
        if !is_whole {
            return false;
        }
        // An extended CONNECT is a GET that asks for an upgrade.
        self.method = if self.upgrade.is_some() { Method::GET } else { method };
        let target = if is_tunnel { self.pseudo(AUTHORITY) } else { self.pseudo(PATH) };
        let mut draft = Draft::request(self.method.as_str().as_bytes(), target.unwrap_or_default());
        if let Some(authority) = self.pseudo(AUTHORITY) {
            draft.line(&header::HOST, authority);
            self.host = Host::Authority;
        }
        self.draft = Some(draft);
        true
    }

    /// The whole of it, behind which a body follows or nothing does.
    pub(crate) fn finish(mut self, is_ended: bool) -> Result<Request, Refused> {
        if self.measure.is_exceeded() {
            let (method, upgrade, length) = (Method::GET, None, None);
            return Ok(Request { draft: None, method, upgrade, length, is_chunked: false });
        }
        if self.measure.is_malformed || self.draft.is_none() && !self.begin() {
            return Err(Refused);
        }
        let mut draft = self.draft.take().ok_or(Refused)?;
        let length = self.length.0;
        if is_ended && length.is_some_and(|length| length > 0) || self.upgrade.is_some() && length.is_some() {
            return Err(Refused);
        }
        if !self.scratch.cookie.is_empty() {
            draft.line(&header::COOKIE, &self.scratch.cookie);
        }
        let is_chunked = !is_ended && length.is_none() && self.upgrade.is_none();
        if let Some(upgrade) = &self.upgrade {
            upgrade::add_ask(&mut draft, upgrade);
        }
        if is_chunked {
            draft.line(&header::TRANSFER_ENCODING, b"chunked");
        }
        Ok(Request { draft: Some(draft), method: self.method, upgrade: self.upgrade, length, is_chunked })
    }
}

/// An answer's head in the making.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    draft: Option<Draft>,
    status: StatusCode,
    length: Length,
    /// Whether it may be the consent to speak another protocol, which two fields of HTTP/1.1 say nothing of.
    is_consent: bool,
    measure: Measure,
}

/// An answer whose head is well-formed, or one ahead of it.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) draft: Draft,
    pub(crate) status: StatusCode,
    /// How long its body is, where that is said.
    pub(crate) length: Option<u64>,
    /// Whether it is the consent to speak another protocol. Then its lines are those of 101.
    pub(crate) is_consent: bool,
}

impl ResponseReader {
    /// `may_switch` where the stream has been asked to become another protocol.
    pub(crate) fn new(max_size: usize, may_switch: bool) -> Self {
        Self {
            draft: None,
            status: StatusCode::OK,
            length: Length::default(),
            is_consent: may_switch,
            measure: Measure::new(max_size),
        }
    }

    /// Takes the next field.
    pub(crate) fn take(&mut self, line: Line<'_>) {
        if self.measure.takes(&line) {
            self.measure.is_malformed = !match line.name {
                b":status" => self.take_status(line.value),
                [b':', ..] => false,
                _ => self.take_field(line),
            };
        }
    }

    fn take_status(&mut self, value: &[u8]) -> bool {
        let Ok(status) = StatusCode::from_bytes(value) else { return false };
        // 101 is none of HTTP/2 (RFC 9113 §8.6).
        if self.draft.is_some() || status == StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        self.is_consent &= status.is_success();
        let shown = if self.is_consent { StatusCode::SWITCHING_PROTOCOLS } else { status };
        (self.status, self.draft) = (status, Some(Draft::response(shown)));
        true
    }

    fn take_field(&mut self, line: Line<'_>) -> bool {
        let Some(draft) = &mut self.draft else { return false };
        if let Some(known) = line.known {
            if known.is_hop_by_hop() {
                return false;
            }
            let is_length = known == header::CONTENT_LENGTH;
            if is_length && !self.length.take(line.value) {
                return false;
            }
            // Neither says anything of a stream that has no end (RFC 9110 §9.3.6).
            if self.is_consent && (is_length || known == header::SEC_WEBSOCKET_ACCEPT) {
                return true;
            }
        }
        draft.named(line.known, line.name, line.value);
        true
    }

    /// The whole of it.
    pub(crate) fn finish(self) -> Result<Response, Refused> {
        let is_bad = self.measure.is_malformed || self.measure.is_exceeded();
        let draft = self.draft.filter(|_| !is_bad).ok_or(Refused)?;
        let length = self.length.0.filter(|_| !self.is_consent);
        Ok(Response { draft, status: self.status, length, is_consent: self.is_consent })
    }
}

/// A trailer section in the making, as the end of a chunked body.
#[derive(Debug)]
pub(crate) struct TrailerReader {
    text: bytes::BytesMut,
    measure: Measure,
}

impl TrailerReader {
    pub(crate) fn new(max_size: usize) -> Self {
        Self { text: bytes::BytesMut::from(&b"0\r\n"[..]), measure: Measure::new(max_size) }
    }

    /// Takes the next field.
    pub(crate) fn take(&mut self, line: Line<'_>) {
        if self.measure.takes(&line) {
            self.measure.is_malformed = line.name.starts_with(b":");
            write_trailer(&mut self.text, line.known, line.name, line.value);
        }
    }

    /// The last chunk and the whole section.
    pub(crate) fn finish(mut self) -> Result<bytes::BytesMut, Refused> {
        self.text.extend_from_slice(b"\r\n");
        let is_bad = self.measure.is_malformed || self.measure.is_exceeded();
        if is_bad { Err(Refused) } else { Ok(self.text) }
    }
}
