//! Heads in the words of the other version (RFC 9113 §8).

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use lb_h1::{Fields, RequestHead, ResponseFraming, ResponseHead, Upgrade};

use crate::server::Refused;
use crate::upgrade;

/// Fields of one HTTP/1.1 connection, which have no place in HTTP/2 (RFC 9113 §8.2.2).
const CONNECTION_FIELDS: [HeaderName; 8] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::EXPECT,
];

/// How a body that came in DATA frames goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLine {
    /// There is none, or it has the length that is among the fields.
    AsFields,
    /// In chunks.
    Chunked,
}

/// Writes a request as HTTP/1.1 has it. `h2` and `h3` have refused uppercase names, pseudo-header fields that are missing, unknown,
/// repeated or out of place; what two readers could take differently is refused here, and what remains is judged by the reader of
/// HTTP/1.1.
///
/// An extended CONNECT (RFC 8441, RFC 9220) is a GET that asks for an upgrade.
///
/// # Errors
/// [`Refused`] where `:authority` and Host differ, or the scheme is none of ours.
pub fn write_request<B>(
    out: &mut BytesMut,
    request: &Request<B>,
    body: BodyLine,
    upgrade: Option<&Upgrade>,
) -> Result<(), Refused> {
    let (uri, headers) = (request.uri(), request.headers());
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Refused);
    }
    let authority = authority(uri, headers)?;
    let path = || uri.path_and_query().map_or("", PathAndQuery::as_str);
    let (method, target) = match (upgrade, request.method()) {
        (Some(_), _) => (&Method::GET, path()),
        (None, &Method::CONNECT) => (&Method::CONNECT, uri.authority().map_or("", Authority::as_str)),
        (None, method) => (method, path()),
    };
    for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(authority) = authority {
        write_line(out, "host", authority);
    }
    write_fields(out, headers);
    if let Some(upgrade) = upgrade {
        upgrade::write_ask(out, upgrade);
    }
    if body == BodyLine::Chunked {
        write_line(out, "transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// The one host: `:authority`, or Host where there is none; both must agree (RFC 9113 §8.3.1).
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, Refused> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().map(http::HeaderValue::as_bytes);
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (authority, host) {
        _ if hosts.next().is_some() => Err(Refused),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => Err(Refused),
        (authority, host) => Ok(authority.or(host)),
    }
}

/// Everything but Host, and a key that only HTTP/1.1 knows; the parts of a cookie become one (RFC 9113 §8.2.3).
fn write_fields(out: &mut BytesMut, headers: &HeaderMap) {
    for name in headers.keys().filter(|name| **name != header::HOST && **name != header::SEC_WEBSOCKET_KEY) {
        let mut values = headers.get_all(name).iter();
        if *name != header::COOKIE {
            values.for_each(|value| write_line(out, name.as_str(), value.as_bytes()));
        } else if let Some(first) = values.next() {
            out.extend_from_slice(b"cookie: ");
            out.extend_from_slice(first.as_bytes());
            for value in values {
                out.extend_from_slice(b"; ");
                out.extend_from_slice(value.as_bytes());
            }
            out.extend_from_slice(b"\r\n");
        }
    }
}

pub(crate) fn write_line(out: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes an answer as HTTP/1.1 has it.
pub(crate) fn write_response(out: &mut BytesMut, status: StatusCode, headers: &HeaderMap, body: BodyLine) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.extend_from_slice(b" \r\n");
    for (name, value) in headers.iter().filter(|(name, _)| !CONNECTION_FIELDS.contains(name)) {
        write_line(out, name.as_str(), value.as_bytes());
    }
    if body == BodyLine::Chunked {
        write_line(out, "transfer-encoding", b"chunked");
    }
    out.extend_from_slice(b"\r\n");
}

/// An answer in HTTP/2's words.
#[must_use]
pub fn response(head: &ResponseHead) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = head.status;
    *response.headers_mut() = fields_of(&head.headers);
    if ends_with(head) && is_grpc(response.headers()) {
        // Trailers alone, of which the length of HTTP/1.1 is no part.
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// The same for the client of an extended CONNECT: consent is 200, and any other success would be taken for consent.
#[must_use]
pub fn response_to_connect(head: &ResponseHead) -> Response<()> {
    let mut response = response(head);
    *response.status_mut() = upgrade::answer(head.status, response.headers_mut());
    response
}

/// Whether nothing follows an answer's head.
pub(crate) fn ends_with(head: &ResponseHead) -> bool {
    matches!(head.framing, ResponseFraming::None | ResponseFraming::Length(0))
}

/// Whether fields are among a request's that belong to one connection of HTTP/1.1, which makes it malformed (RFC 9113 §8.2.2, RFC
/// 9114 §4.2).
#[must_use]
pub fn names_a_connection(headers: &HeaderMap) -> bool {
    let is_foreign = |name: &HeaderName| *name != header::EXPECT && *name != header::TE;
    let asks_for_more = |te: &http::HeaderValue| te.as_bytes() != b"trailers";
    CONNECTION_FIELDS.into_iter().any(|name| is_foreign(&name) && headers.contains_key(name))
        || headers.get_all(header::TE).iter().any(asks_for_more)
}

/// A request in HTTP/2's words; `None` where the target or the host cannot stand there.
pub(crate) fn request(head: &RequestHead, scheme: Scheme) -> Option<Request<()>> {
    let mut headers = fields_of(&head.headers);
    let host = headers.remove(header::HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let target = PathAndQuery::from_maybe_shared(head.target.path_and_query()).ok()?;
    if head.hop_by_hop.te_trailers || is_grpc(&headers) {
        headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    }
    let mut uri = http::uri::Parts::default();
    (uri.scheme, uri.authority, uri.path_and_query) = (Some(scheme), Some(authority), Some(target));
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.version_mut() = http::Version::HTTP_2;
    *request.headers_mut() = headers;
    Some(request)
}

/// Whether a message is gRPC's, which lives by trailers.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let rest = kind.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

fn fields_of(fields: &Fields) -> HeaderMap {
    let mut headers = fields.to_map();
    for name in &CONNECTION_FIELDS {
        headers.remove(name);
    }
    headers
}
