//! Heads in the words of the other version (RFC 9113 §8).

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use lb_h1::{Draft, Fields, RequestHead, ResponseFraming, ResponseHead, Target, Upgrade};

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
    /// There is nothing, which an answer of HTTP/1.1 has to be told.
    Empty,
}

/// A request as HTTP/1.1 has it. `h2` and `h3` have refused uppercase names, pseudo-header fields that are missing, unknown,
/// repeated or out of place; what two readers could take differently is refused here, and what remains is judged by the rules of
/// HTTP/1.1.
///
/// An extended CONNECT (RFC 8441, RFC 9220) is a GET that asks for an upgrade.
pub(crate) fn draft_request<B>(
    request: &Request<B>,
    body: BodyLine,
    upgrade: Option<&Upgrade>,
) -> Result<Draft, Refused> {
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
    let mut draft = Draft::request(method.as_str(), target);
    if let Some(authority) = authority {
        draft.line(&header::HOST, authority);
    }
    add_fields(&mut draft, headers);
    if let Some(upgrade) = upgrade {
        upgrade::add_ask(&mut draft, upgrade);
    }
    if body == BodyLine::Chunked {
        draft.line(&header::TRANSFER_ENCODING, b"chunked");
    }
    Ok(draft)
}

/// Writes the head of a request as HTTP/1.1 has it; an extended CONNECT (RFC 8441, RFC 9220) is a GET that asks for an upgrade.
///
/// # Errors
/// [`Refused`] where `:authority` and Host differ, or the scheme is none of ours.
pub fn write_request<B>(
    out: &mut BytesMut,
    request: &Request<B>,
    body: BodyLine,
    upgrade: Option<&Upgrade>,
) -> Result<(), Refused> {
    out.extend_from_slice(&draft_request(request, body, upgrade)?.into_bytes());
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
fn add_fields(draft: &mut Draft, headers: &HeaderMap) {
    for name in headers.keys().filter(|name| **name != header::HOST && **name != header::SEC_WEBSOCKET_KEY) {
        let values = headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
        if *name == header::COOKIE {
            draft.joined(name, values, b"; ");
        } else {
            values.for_each(|value| draft.line(name, value));
        }
    }
}

/// An answer as HTTP/1.1 has it.
pub(crate) fn draft_response(status: StatusCode, headers: &HeaderMap, body: BodyLine) -> Draft {
    let mut draft = Draft::response(status);
    for (name, value) in headers.iter().filter(|(name, _)| !CONNECTION_FIELDS.contains(name)) {
        draft.line(name, value.as_bytes());
    }
    match body {
        BodyLine::AsFields => {}
        BodyLine::Chunked => draft.line(&header::TRANSFER_ENCODING, b"chunked"),
        BodyLine::Empty => draft.line(&header::CONTENT_LENGTH, b"0"),
    }
    draft
}

/// An answer in HTTP/2's words.
#[must_use]
pub fn response(head: &ResponseHead) -> Response<()> {
    answer(head.status, fields_of(&head.headers), head.framing)
}

/// The same of its parts.
pub(crate) fn answer(status: StatusCode, headers: HeaderMap, framing: ResponseFraming) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if is_nothing(framing) && is_grpc(response.headers()) {
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
pub(crate) fn is_nothing(framing: ResponseFraming) -> bool {
    matches!(framing, ResponseFraming::None | ResponseFraming::Length(0))
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
    if head.hop_by_hop.te_trailers {
        headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    }
    ask(&head.method, &head.target, headers, scheme)
}

/// The same of its parts, Host among the fields.
pub(crate) fn ask(
    method: &Method,
    target: &Target,
    mut headers: HeaderMap,
    scheme: Scheme,
) -> Option<Request<()>> {
    let host = headers.remove(header::HOST)?;
    let authority = Authority::try_from(host.as_bytes()).ok()?;
    let target = PathAndQuery::from_maybe_shared(target.path_and_query()).ok()?;
    if is_grpc(&headers) {
        headers.insert(header::TE, http::HeaderValue::from_static("trailers"));
    }
    let mut uri = http::uri::Parts::default();
    (uri.scheme, uri.authority, uri.path_and_query) = (Some(scheme), Some(authority), Some(target));
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
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
