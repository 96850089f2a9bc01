//! Response heads: as strict about framing as requests, with the leniencies that real backends need.

use bytes::{Buf, BytesMut};
use http::header::UPGRADE;
use http::{Method, StatusCode, Version};

use crate::connection::{ConnectionOptions, HopByHop, Upgrade, asks_for_trailers, remove_named_fields};
use crate::draft::Draft;
use crate::error::{ResponseError, Shown};
use crate::field::{FieldSink, read_fields};
use crate::fields::Fields;
use crate::framing::{BodyFraming, FramingFields, Repeated, ResponseFraming};
use crate::limits::HeadLimits;
use crate::names::{Kind, Known};
use crate::scan::{ParseState, Scanned, keep, line_before, offset};

/// What was asked, on which depends what an answer means.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method that the backend was sent.
    pub method: &'a Method,
    /// The Upgrade that the backend was sent. Without one, 101 is refused, and so is one to another protocol.
    pub upgrade: Option<&'a Upgrade>,
}

/// A response head that can be passed on.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status. Below 200 another head follows, but for 101.
    pub status: StatusCode,
    /// Where in the head the reason phrase stands.
    reason: (u32, u32),
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// All fields in the order sent, hop-by-hop ones included, but for those that Connection names.
    pub headers: Fields,
    /// What follows the head on this connection.
    pub framing: ResponseFraming,
    /// What the framing fields say. Differs from `framing` where no body may follow: the answer to HEAD,
    /// and 304, whose Content-Length is passed on all the same.
    pub declared: BodyFraming,
    /// Whether the backend keeps the connection after this response. False where its end is not certain.
    pub keep_alive: bool,
    /// The protocol that 101 switches to.
    pub upgrade: Option<Upgrade>,
    /// Which hop-by-hop fields are there.
    pub hop_by_hop: HopByHop,
    /// Whether a name holds `_`.
    pub underscore_names: bool,
}

impl ResponseHead {
    /// Whether this is an interim response, after which the real one follows (RFC 9110 section 15.2).
    /// 101 is not: HTTP ends with it.
    pub fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// The reason phrase, where it is not empty.
    pub fn reason(&self) -> Option<&[u8]> {
        let (start, end) = self.reason;
        Some(self.headers.part(start, end)).filter(|reason| !reason.is_empty())
    }

    /// What to announce when this head is passed on with its body as it is: what follows it, or, where
    /// nothing may follow, what the backend says would.
    pub fn announced(&self) -> ResponseFraming {
        match self.framing {
            ResponseFraming::None => self.declared.into(),
            framing => framing,
        }
    }
}

/// Reads a response head from the front of `buf`, and takes it out of there; used as
/// [`parse_request`](crate::parse_request) is.
///
/// Taken from backends, though no client may send it:
/// - no reason phrase, and no space ahead of it: many servers leave it out;
/// - statuses up to 999: they are in use, and mean what their first digit says or nothing;
/// - the same Content-Length repeated, in one line or several (RFC 9110 section 8.6 allows it, HAProxy
///   takes it, nginx since 1.23 does not): what is passed on has it once;
/// - white space ahead of a colon: a gateway has to remove it (RFC 9112 section 5.1);
/// - Content-Length with leading zeros.
///
/// Not taken: LF alone, folded lines, empty lines ahead of the status line, both framings at once, lengths
/// that differ, any transfer coding but `chunked`, Transfer-Encoding in HTTP/1.0.
///
/// # Errors
/// Whatever cannot be passed on safely: the client gets 502 and the connection is closed.
///
/// ```
/// use bytes::BytesMut;
/// use http::Method;
/// use lb_h1::{Asked, HeadLimits, ParseState, ResponseFraming, parse_response};
///
/// let mut buf = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
/// let asked = Asked { method: &Method::GET, upgrade: None };
/// let head = parse_response(&mut buf, &HeadLimits::default(), asked, &mut ParseState::default())?
///     .expect("complete");
/// assert_eq!((head.status.as_u16(), head.framing), (200, ResponseFraming::Length(2)));
/// # Ok::<(), lb_h1::ResponseError>(())
/// ```
pub fn parse_response(
    buf: &mut BytesMut,
    limits: &HeadLimits,
    asked: Asked<'_>,
    state: &mut ParseState,
) -> Result<Option<ResponseHead>, ResponseError> {
    let end = match state.scan(buf, limits, 1) {
        Scanned::Complete(end) => end,
        unfinished => return judge_unfinished(buf, limits, state, unfinished),
    };
    let (first, fields) = state.lines().split_first().unwrap_or((&0, &[]));
    let line = StatusLine::parse(line_before(buf, *first))?;

    let head = buf.get(..end).unwrap_or_default();
    let mut headers = Fields::of(head, fields.len())?;
    let mut sink = ResponseSink::default();
    let read = read_fields(head, offset(*first) + 1, fields, &mut headers, &mut sink);
    buf.advance(end);
    read?;
    state.reset();
    sink.finish(line, asked, headers).map(Some)
}

/// The same of a head that was put together; `None` where it keeps not to every rule.
pub(crate) fn read_draft(draft: Draft, limits: &HeadLimits, asked: Asked<'_>) -> Option<ResponseHead> {
    let line = StatusLine::parse(draft.first_line()).ok()?;
    let mut sink = ResponseSink::default();
    let headers = draft.read(limits, &mut sink)?;
    sink.finish(line, asked, headers).ok()
}

/// As for requests: the status line first, then what is wrong behind it.
#[cold]
fn judge_unfinished(
    buf: &[u8],
    limits: &HeadLimits,
    state: &mut ParseState,
    scanned: Scanned,
) -> Result<Option<ResponseHead>, ResponseError> {
    if let Some(&line_feed) = state.lines().first()
        && !std::mem::replace(&mut state.first_line_checked, true)
    {
        StatusLine::parse(line_before(buf, line_feed))?;
    }
    match scanned {
        Scanned::Incomplete | Scanned::Complete(_) => Ok(None),
        Scanned::FirstLineTooLong => Err(ResponseError::StatusLineTooLong { limit: limits.max_line_bytes }),
        Scanned::Broken(error) => Err(error.into()),
    }
}

#[derive(Clone, Copy)]
struct StatusLine {
    version: Version,
    status: StatusCode,
    /// Where the reason phrase begins in the line, and where the line ends.
    reason: (usize, usize),
}

impl StatusLine {
    #[inline(always)]
    fn parse(line: &[u8]) -> Result<Self, ResponseError> {
        let refuse = || ResponseError::StatusLine { line: Shown::new(line) };
        let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', a, b, c, rest @ ..] =
            line
        else {
            return Err(refuse());
        };
        let reason = match rest {
            [] => rest,
            [b' ', reason @ ..] => reason,
            _ => return Err(refuse()),
        };
        if !reason.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f)) {
            return Err(refuse());
        }
        Ok(Self {
            version: if *minor == b'1' { Version::HTTP_11 } else { Version::HTTP_10 },
            status: StatusCode::from_bytes(&[*a, *b, *c]).map_err(|_| refuse())?,
            reason: (line.len() - reason.len(), line.len()),
        })
    }
}

/// Gathers what the fields of a response say about the response itself.
#[derive(Default)]
struct ResponseSink {
    framing: FramingFields,
    connection: ConnectionOptions,
    hop_by_hop: HopByHop,
    underscore_names: bool,
}

impl FieldSink for ResponseSink {
    type Error = ResponseError;
    const TRIM_NAMES: bool = true;

    #[inline]
    fn accept(
        &mut self,
        known: Option<&'static Known>,
        name: &[u8],
        value: &[u8],
    ) -> Result<bool, ResponseError> {
        let Some(known) = known else {
            self.underscore_names |= memchr::memchr(b'_', name).is_some();
            return Ok(true);
        };
        self.hop_by_hop.present |= known.is_hop_by_hop();
        match known.kind {
            Kind::Plain | Kind::Date | Kind::Host | Kind::Expect | Kind::Upgrade => {}
            Kind::ContentLength => self.framing.content_length(value, Repeated::Accept)?,
            Kind::TransferEncoding => self.framing.transfer_encoding(value)?,
            Kind::Connection => self.connection.read(value),
            Kind::Te => self.hop_by_hop.te_trailers |= asks_for_trailers(value),
        }
        Ok(true)
    }
}

impl ResponseSink {
    #[inline(always)]
    fn finish(
        self,
        line: StatusLine,
        asked: Asked<'_>,
        mut headers: Fields,
    ) -> Result<ResponseHead, ResponseError> {
        let StatusLine { version, status, reason: (reason_start, reason_end) } = line;
        let declared = self.framing.judge(version)?;

        if self.connection.names_fields {
            remove_named_fields(&mut headers)?;
        }
        let framing = body_framing(status, asked.method, declared);
        let upgrade = match status {
            StatusCode::SWITCHING_PROTOCOLS => Some(switched(asked, headers.get(&UPGRADE))?),
            _ => None,
        };
        Ok(ResponseHead {
            keep_alive: !self.connection.close
                && (version == Version::HTTP_11 || self.connection.keep_alive)
                && ends_for_certain(status, framing, declared),
            hop_by_hop: self.hop_by_hop,
            underscore_names: self.underscore_names,
            reason: (keep(reason_start), keep(reason_end)),
            status,
            version,
            headers,
            framing,
            declared,
            upgrade,
        })
    }
}

/// The protocol that a backend switches to: one of those that it was asked for (RFC 9110 section 7.8).
#[cold]
fn switched(asked: Asked<'_>, said: Option<&[u8]>) -> Result<Upgrade, ResponseError> {
    let said = said.and_then(Upgrade::read);
    said.filter(|said| asked.upgrade.is_some_and(|asked| asked.offers(said)))
        .ok_or(ResponseError::UnaskedUpgrade)
}

/// RFC 9112 section 6.3, in its order.
pub(crate) fn body_framing(status: StatusCode, method: &Method, declared: BodyFraming) -> ResponseFraming {
    if status == StatusCode::SWITCHING_PROTOCOLS || (*method == Method::CONNECT && status.is_success()) {
        ResponseFraming::Tunnel
    } else if *method == Method::HEAD || is_bodiless(status) {
        ResponseFraming::None
    } else if declared == BodyFraming::None {
        ResponseFraming::UntilClose
    } else {
        declared.into()
    }
}

/// Whether a response of this status never has a body.
pub(crate) fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// A backend that announces a body with 1xx or 204 may well send it, as the start of the next response.
fn ends_for_certain(status: StatusCode, framing: ResponseFraming, declared: BodyFraming) -> bool {
    match framing {
        ResponseFraming::UntilClose | ResponseFraming::Tunnel => false,
        ResponseFraming::None if status.is_informational() || status == StatusCode::NO_CONTENT => {
            matches!(declared, BodyFraming::None | BodyFraming::Length(0))
        }
        ResponseFraming::None | ResponseFraming::Length(_) | ResponseFraming::Chunked => true,
    }
}
