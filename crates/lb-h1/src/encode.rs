//! Heads as they are written.
//!
//! Framing and connection fields are written by the codec alone, from what the caller decided: those in the
//! head are passed over, whatever they say, so that no message leaves with two framings. So are all fields of
//! the previous hop. Names leave as they came; those out of a map in their usual case where they are well known,
//! and in lower case otherwise.

use bytes::BytesMut;
use http::header::HeaderMap;
use http::{Method, StatusCode, Version};
use thiserror::Error;

use crate::connection::Upgrade;
use crate::date::Date;
use crate::fields::Fields;
use crate::framing::{BodyFraming, ResponseFraming};
use crate::names::{self, Kind};
use crate::response::is_bodiless;

mod chunk;

pub use chunk::{CHUNK_END, ChunkHead, LAST_CHUNK, chunk_head, encode_trailers, write_trailer};

/// The interim response for `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the Connection field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionHeader<'a> {
    /// Nothing: in HTTP/1.1 the connection is then kept.
    Implied,
    /// `keep-alive`, for HTTP/1.0.
    KeepAlive,
    /// `close`.
    Close,
    /// `Upgrade`, with this protocol in the Upgrade field.
    Upgrade(&'a Upgrade),
}

/// Why a head cannot be written. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A target with white space, control bytes or the like in it, which would end it early.
    #[error("the request target holds a character that is not allowed there")]
    Target,
    /// Chunked to a peer of HTTP/1.0, which does not know it.
    #[error("HTTP/1.0 has no chunked bodies")]
    ChunkedInHttp10,
}

/// What the first line of a request is written from.
#[derive(Debug, Clone, Copy)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target in the form that the method asks for, mostly path and query.
    pub target: &'a [u8],
    /// The version to speak.
    pub version: Version,
}

/// Writes a request head.
///
/// A body of no length gets `Content-Length: 0` where the method leads one to expect a body (POST, PUT and
/// PATCH; RFC 9110 section 8.6).
///
/// # Errors
/// When the target would break the request line, or `framing` does not go with the version. Nothing has been
/// written then.
///
/// ```
/// use bytes::BytesMut;
/// use http::{HeaderMap, HeaderValue, Method, Version};
/// use lb_h1::{BodyFraming, ConnectionHeader, RequestLine, encode_request_head};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("host", HeaderValue::from_static("a.example"));
/// headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
/// let line = RequestLine { method: &Method::PUT, target: b"/x", version: Version::HTTP_11 };
/// let mut out = BytesMut::new();
/// encode_request_head(&mut out, line, &headers, BodyFraming::Length(3), ConnectionHeader::Implied)?;
/// assert_eq!(out, "PUT /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n");
/// # Ok::<(), lb_h1::EncodeError>(())
/// ```
pub fn encode_request_head(
    out: &mut BytesMut,
    line: RequestLine<'_>,
    headers: &impl FieldLines,
    framing: BodyFraming,
    connection: ConnectionHeader<'_>,
) -> Result<(), EncodeError> {
    let RequestLine { method, target, version } = line;
    // Without an early exit, so that the loop becomes vector instructions.
    if target.is_empty() || target.iter().fold(false, |bad, byte| bad | !byte.is_ascii_graphic()) {
        return Err(EncodeError::Target);
    }
    refuse_chunked_in_http10(version, framing.into())?;
    out.extend_from_slice(method.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(target);
    out.extend_from_slice(if version == Version::HTTP_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    headers.write_lines(out);
    match framing {
        BodyFraming::None if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
        BodyFraming::None => write_length(out, 0),
        BodyFraming::Length(length) => write_length(out, length),
        BodyFraming::Chunked => out.extend_from_slice(CHUNKED),
    }
    write_connection(out, connection);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// What the first line of a response is written from.
#[derive(Debug, Clone, Copy)]
pub struct ResponseLine<'a> {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase; `None` for the usual one. One with control bytes is replaced.
    pub reason: Option<&'a [u8]>,
    /// The version to answer in.
    pub version: Version,
}

/// Writes a response head.
///
/// `framing` is what the head announces: for HEAD and 304 that of the body that is left out (see
/// [`ResponseHead::declared`](crate::ResponseHead::declared)). With 1xx and 204 no framing is written,
/// as RFC 9110 section 8.6 has it. `date` is added where `headers` have none (section 6.6.1).
///
/// # Errors
/// When `framing` does not go with the version. Nothing has been written then.
///
/// ```
/// use bytes::BytesMut;
/// use http::{HeaderMap, StatusCode, Version};
/// use lb_h1::{ConnectionHeader, ResponseFraming, ResponseLine, encode_response_head};
///
/// let line = ResponseLine { status: StatusCode::OK, reason: None, version: Version::HTTP_11 };
/// let mut out = BytesMut::new();
/// let framing = ResponseFraming::Chunked;
/// encode_response_head(&mut out, line, &HeaderMap::new(), framing, ConnectionHeader::Close, None)?;
/// assert_eq!(out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
/// # Ok::<(), lb_h1::EncodeError>(())
/// ```
pub fn encode_response_head(
    out: &mut BytesMut,
    line: ResponseLine<'_>,
    headers: &impl FieldLines,
    framing: ResponseFraming,
    connection: ConnectionHeader<'_>,
    date: Option<&Date>,
) -> Result<(), EncodeError> {
    refuse_chunked_in_http10(line.version, framing)?;
    let status = line.status;
    write_status_line(out, line);
    let has_date = headers.write_lines(out);
    if let (Some(date), false) = (date, has_date || status.is_informational()) {
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\n");
    }
    let may_announce = status == StatusCode::NOT_MODIFIED || !is_bodiless(status);
    match framing {
        ResponseFraming::Length(length) if may_announce => write_length(out, length),
        ResponseFraming::Chunked if may_announce => out.extend_from_slice(CHUNKED),
        _ => {}
    }
    write_connection(out, connection);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";

fn refuse_chunked_in_http10(version: Version, framing: ResponseFraming) -> Result<(), EncodeError> {
    if version == Version::HTTP_10 && framing == ResponseFraming::Chunked {
        return Err(EncodeError::ChunkedInHttp10);
    }
    Ok(())
}

fn write_status_line(out: &mut BytesMut, line: ResponseLine<'_>) {
    if line.status == StatusCode::OK
        && line.reason.is_none_or(|reason| reason == b"OK")
        && line.version != Version::HTTP_10
    {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if line.version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(line.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    let usual = line.status.canonical_reason().unwrap_or_default().as_bytes();
    let sent = line.reason.filter(|reason| !reason.iter().any(u8::is_ascii_control));
    out.extend_from_slice(sent.unwrap_or(usual));
    out.extend_from_slice(b"\r\n");
}

/// What the fields of a head are written from.
pub trait FieldLines {
    /// Writes all lines but those that are the codec's own (framing, Connection) or the previous hop's. Says whether
    /// Date was there.
    fn write_lines(&self, out: &mut BytesMut) -> bool;
}

impl FieldLines for Fields {
    fn write_lines(&self, out: &mut BytesMut) -> bool {
        self.write(out)
    }
}

impl FieldLines for HeaderMap {
    fn write_lines(&self, out: &mut BytesMut) -> bool {
        write_fields(out, self)
    }
}

fn write_fields(out: &mut BytesMut, headers: &HeaderMap) -> bool {
    let mut has_date = false;
    for (name, value) in headers {
        match names::find_lower(name.as_str()) {
            Some(known) if known.is_hop_by_hop() || known.kind == Kind::ContentLength => continue,
            Some(known) => {
                has_date |= known.kind == Kind::Date;
                out.extend_from_slice(known.wire.as_bytes());
            }
            None => {
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b": ");
            }
        }
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    has_date
}

fn write_length(out: &mut BytesMut, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_connection(out: &mut BytesMut, connection: ConnectionHeader<'_>) {
    match connection {
        ConnectionHeader::Implied => {}
        ConnectionHeader::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        ConnectionHeader::Close => out.extend_from_slice(b"Connection: close\r\n"),
        ConnectionHeader::Upgrade(protocol) => {
            out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
            out.extend_from_slice(protocol.protocol());
            out.extend_from_slice(b"\r\n");
        }
    }
}
