//! Request heads: from bytes to a head that two parsers cannot read differently.

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Version};
use memchr::memchr;

use crate::authority::Authority;
use crate::bytes_class::is_token_byte;
use crate::connection::{ConnectionOptions, HopByHop, Upgrade, asks_for_trailers, remove_named_fields};
use crate::draft::Draft;
use crate::error::{RequestError, Shown};
use crate::field::{FieldSink, read_fields};
use crate::fields::Fields;
use crate::framing::{BodyFraming, FramingFields, Repeated};
use crate::limits::HeadLimits;
use crate::names::{Kind, Known};
use crate::scan::{ParseState, Scanned, line_before, offset};
use crate::target::{Shape, Target, TargetForm};

/// The longest registered method has 17 letters.
const MAX_METHOD_BYTES: usize = 64;

/// A request head that kept to every rule.
///
/// It owns its bytes: nothing of the receive buffer is kept alive by it.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method; never one with lower-case letters.
    pub method: Method,
    /// The target.
    pub target: Target,
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// All fields in the order sent, hop-by-hop ones included, but for those that Connection names.
    pub headers: Fields,
    /// What follows the head.
    pub framing: BodyFraming,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// Whether the client waits for 100 before it sends the body. False where there is no body.
    pub expect_continue: bool,
    /// What the connection is to become. Only from HTTP/1.1, and with `upgrade` in Connection.
    pub upgrade: Option<Upgrade>,
    /// Which hop-by-hop fields are there.
    pub hop_by_hop: HopByHop,
    /// Whether a name holds `_`: see [`drop_underscore_names`](crate::drop_underscore_names).
    pub underscore_names: bool,
}

impl RequestHead {
    /// Whom the request is for: the authority of the target, or else Host. `None` only in HTTP/1.0.
    pub fn authority(&self) -> Option<&[u8]> {
        self.target.authority().or_else(|| self.headers.get(&http::header::HOST))
    }
}

/// Reads a request head from the front of `buf`, and takes it out of there.
///
/// `Ok(None)` means that more bytes are needed: append them to `buf` and call again with the same `state`.
/// After a head the state is ready for the next one. What follows the head stays in `buf`.
///
/// # Errors
/// Whatever is not a request that every parser reads alike. The connection is to be closed after an answer
/// with [`RequestError::status`], since nobody knows any more where in `buf` the next request begins. Only
/// [`RequestError::Http2Preface`] leaves `buf` as it was.
///
/// ```
/// use bytes::BytesMut;
/// use lb_h1::{BodyFraming, HeadLimits, ParseState, parse_request};
///
/// let (limits, mut state) = (HeadLimits::default(), ParseState::default());
/// let mut buf = BytesMut::from("GET / HTTP/1.1\r\nHost: a.example\r\n");
/// assert!(parse_request(&mut buf, &limits, &mut state)?.is_none());
///
/// buf.extend_from_slice(b"\r\nGET /next");
/// let head = parse_request(&mut buf, &limits, &mut state)?.expect("complete");
/// assert_eq!((head.framing, head.keep_alive), (BodyFraming::None, true));
/// assert_eq!(buf, "GET /next");
/// # Ok::<(), lb_h1::RequestError>(())
/// ```
pub fn parse_request(
    buf: &mut BytesMut,
    limits: &HeadLimits,
    state: &mut ParseState,
) -> Result<Option<RequestHead>, RequestError> {
    if !state.skip_empty_lines(buf, limits.max_empty_lines)? {
        return Ok(None);
    }
    refuse_at_first_byte(buf)?;
    let end = match state.scan(buf, limits, 1) {
        Scanned::Complete(end) => end,
        unfinished => return judge_unfinished(buf, limits, state, unfinished),
    };
    let (first, fields) = state.lines().split_first().unwrap_or((&0, &[]));
    let line = RequestLine::parse(line_before(buf, *first))?;

    let head = buf.get(..end).unwrap_or_default();
    let mut headers = Fields::of(head, fields.len())?;
    let mut sink = RequestSink { version: line.version, ..RequestSink::default() };
    let read = read_fields(head, offset(*first) + 1, fields, &mut headers, &mut sink);
    buf.advance(end);
    read?;
    state.reset();
    sink.finish(line, headers).map(Some)
}

/// The same of a head that was put together; `None` where it keeps not to every rule.
pub(crate) fn read_draft(draft: Draft, limits: &HeadLimits) -> Option<RequestHead> {
    let line = RequestLine::parse(draft.first_line()).ok()?;
    let mut sink = RequestSink { version: line.version, ..RequestSink::default() };
    let headers = draft.read(limits, &mut sink)?;
    sink.finish(line, headers).ok()
}

/// A head that is not complete, or never will be. The request line is judged as soon as it is there, ahead
/// of what is wrong behind it: so it is refused without waiting for the rest, and the verdict does not
/// depend on how the head was cut into packets.
#[cold]
fn judge_unfinished(
    buf: &[u8],
    limits: &HeadLimits,
    state: &mut ParseState,
    scanned: Scanned,
) -> Result<Option<RequestHead>, RequestError> {
    match state.lines().first().copied() {
        None => refuse_long_method(buf)?,
        Some(line_feed) if !std::mem::replace(&mut state.first_line_checked, true) => {
            RequestLine::parse(line_before(buf, line_feed))?;
        }
        Some(_) => {}
    }
    match scanned {
        Scanned::Incomplete | Scanned::Complete(_) => Ok(None),
        Scanned::FirstLineTooLong => Err(RequestError::RequestLineTooLong { limit: limits.max_line_bytes }),
        Scanned::Broken(error) => Err(error.into()),
    }
}

/// Garbage and TLS are told from the first byte, without waiting for a line end that may never come.
#[inline]
fn refuse_at_first_byte(buf: &[u8]) -> Result<(), RequestError> {
    match buf.first() {
        Some(&byte) if is_token_byte(byte) => Ok(()),
        // A TLS record of type handshake.
        Some(0x16) => Err(RequestError::Tls),
        _ => Err(RequestError::Method { method: Shown::new(buf.get(..1).unwrap_or_default()) }),
    }
}

/// A method without end is told from its first bytes. One cut short by a bad line end is another error.
fn refuse_long_method(buf: &[u8]) -> Result<(), RequestError> {
    match buf.get(..=MAX_METHOD_BYTES) {
        // Behind CR the line may end with a method of the greatest length.
        Some(start) if !start.iter().any(|byte| matches!(byte, b' ' | b'\n')) && !start.ends_with(b"\r") => {
            Err(RequestError::MethodTooLong { limit: MAX_METHOD_BYTES })
        }
        _ => Ok(()),
    }
}

/// The request line, as offsets: what costs to move is made when the head is put together.
#[derive(Clone, Copy)]
struct RequestLine {
    method_end: usize,
    target_end: usize,
    shape: Shape,
    version: Version,
}

impl RequestLine {
    #[inline(always)]
    fn parse(line: &[u8]) -> Result<Self, RequestError> {
        let Some(method_end) = line.iter().take(MAX_METHOD_BYTES + 1).position(|&byte| byte == b' ') else {
            return Err(refuse_line(line));
        };
        let (method, rest) = line.split_at(method_end);
        // Methods are case-sensitive and the standard ones upper-case; `get` would pass a rule for GET by,
        // and some servers run it as GET.
        if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte) && !byte.is_ascii_lowercase())
        {
            return Err(RequestError::Method { method: Shown::new(method) });
        }
        let (target, version) = match rest {
            [b' ', target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'] => {
                (target, Version::HTTP_11)
            }
            [b' ', target @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'] => {
                (target, Version::HTTP_10)
            }
            _ => return Err(refuse_version(line)),
        };
        let shape = Shape::parse(target, method)?;
        Ok(Self { method_end, target_end: method_end + 1 + target.len(), shape, version })
    }
}

#[cold]
fn refuse_line(line: &[u8]) -> RequestError {
    if line.len() > MAX_METHOD_BYTES {
        RequestError::MethodTooLong { limit: MAX_METHOD_BYTES }
    } else if line.iter().all(|&byte| is_token_byte(byte)) {
        RequestError::RequestLine
    } else {
        RequestError::Method { method: Shown::new(line) }
    }
}

#[cold]
fn refuse_version(line: &[u8]) -> RequestError {
    if line == b"PRI * HTTP/2.0" {
        return RequestError::Http2Preface;
    }
    let mut words = line.rsplit(|&byte| byte == b' ');
    let last = words.next().unwrap_or_default();
    match last {
        // METHOD and VERSION alone.
        _ if words.count() < 2 => RequestError::RequestLine,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            RequestError::UnsupportedVersion { version: Shown::new(last) }
        }
        _ => RequestError::Version { version: Shown::new(last) },
    }
}

/// Gathers what the fields of a request say about the request itself.
#[derive(Default)]
struct RequestSink {
    version: Version,
    framing: FramingFields,
    connection: ConnectionOptions,
    hop_by_hop: HopByHop,
    has_host: bool,
    expect_continue: bool,
    has_upgrade: bool,
    underscore_names: bool,
}

impl FieldSink for RequestSink {
    type Error = RequestError;
    const TRIM_NAMES: bool = false;

    #[inline]
    fn accept(
        &mut self,
        known: Option<&'static Known>,
        name: &[u8],
        value: &[u8],
    ) -> Result<bool, RequestError> {
        let Some(known) = known else {
            self.underscore_names |= memchr(b'_', name).is_some();
            return Ok(true);
        };
        self.hop_by_hop.present |= known.is_hop_by_hop();
        match known.kind {
            Kind::Plain | Kind::Date => {}
            Kind::Host => {
                if std::mem::replace(&mut self.has_host, true) {
                    return Err(RequestError::HostTwice);
                }
                Authority::parse(value).map_err(|fault| RequestError::Host { fault })?;
            }
            Kind::ContentLength => self.framing.content_length(value, Repeated::Refuse)?,
            Kind::TransferEncoding => self.framing.transfer_encoding(value)?,
            Kind::Connection => self.connection.read(value),
            Kind::Te => self.hop_by_hop.te_trailers |= asks_for_trailers(value),
            Kind::Upgrade => self.has_upgrade = true,
            // HTTP/1.0 has no expectations (RFC 9110 section 10.1.1).
            Kind::Expect if self.version == Version::HTTP_10 => {}
            Kind::Expect if value.eq_ignore_ascii_case(b"100-continue") => self.expect_continue = true,
            Kind::Expect => return Err(RequestError::Expectation { value: Shown::new(value) }),
        }
        Ok(true)
    }
}

impl RequestSink {
    #[inline(always)]
    fn finish(self, line: RequestLine, mut headers: Fields) -> Result<RequestHead, RequestError> {
        let RequestLine { method_end, target_end, shape, version } = line;
        let raw = headers.received();
        let method = raw.get(..method_end).unwrap_or_default();
        let target = raw.get(method_end + 1..target_end).unwrap_or_default();
        let (is_trace, method) = (
            method == b"TRACE",
            Method::from_bytes(method).map_err(|_| RequestError::Method { method: Shown::new(method) })?,
        );
        let target = Target::new(Bytes::copy_from_slice(target), shape);
        if !self.has_host && version == Version::HTTP_11 {
            return Err(RequestError::HostMissing);
        }
        if let TargetForm::Absolute { https } = target.form() {
            refuse_mismatch(&target, &headers, if https { 443 } else { 80 })?;
        }
        let framing = self.framing.judge(version)?;
        if is_trace && !matches!(framing, BodyFraming::None | BodyFraming::Length(0)) {
            return Err(RequestError::TraceBody);
        }
        if self.connection.names_fields {
            remove_named_fields(&mut headers)?;
        }
        let upgrade = if self.has_upgrade && self.connection.upgrade && version == Version::HTTP_11 {
            Upgrade::of(&headers)
        } else {
            None
        };
        Ok(RequestHead {
            keep_alive: !self.connection.close && (version == Version::HTTP_11 || self.connection.keep_alive),
            expect_continue: self.expect_continue
                && !matches!(framing, BodyFraming::None | BodyFraming::Length(0)),
            hop_by_hop: self.hop_by_hop,
            underscore_names: self.underscore_names,
            method,
            target,
            version,
            headers,
            framing,
            upgrade,
        })
    }
}

/// RFC 9112 section 3.2.2 lets the target win over Host; a server behind that lets Host win would then be
/// asked for another site than the one that was routed, so both have to agree.
fn refuse_mismatch(target: &Target, headers: &Fields, default_port: u16) -> Result<(), RequestError> {
    let Some(host) = headers.get(&http::header::HOST) else { return Ok(()) };
    let of_target = Authority::parse(target.authority().unwrap_or_default());
    match (of_target, Authority::parse(host)) {
        (Ok(target), Ok(host)) if target.agrees_with(&host, default_port) => Ok(()),
        _ => Err(RequestError::HostMismatch),
    }
}
