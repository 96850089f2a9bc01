//! Heads between HTTP/3, whose crates have them as maps, and HTTP/1.1. The rules are those of HTTP/2.

use bytes::BytesMut;
use http::header::{self, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode};
use lb_h1::{KnownName, ResponseFraming, ResponseHead, Upgrade};

use crate::head::{BodyLine, Refused, RequestReader, Scratch};
use crate::hpack::Line;
use crate::upgrade;

/// Writes the head of a request as HTTP/1.1 has it; an extended CONNECT (RFC 9220) is a GET that asks for an upgrade.
///
/// # Errors
/// [`Refused`] where it is malformed: `:authority` and Host differ, the scheme is none of ours, or a field belongs to a connection.
pub fn write_request<B>(
    out: &mut BytesMut,
    request: &Request<B>,
    body: BodyLine,
    upgrade: Option<&Upgrade>,
) -> Result<(), Refused> {
    let (uri, headers) = (request.uri(), request.headers());
    let mut scratch = Scratch::default();
    let mut reader = RequestReader::new(&mut scratch, usize::MAX);
    let path = uri.path_and_query().map(PathAndQuery::as_str);
    // A tunnel has neither, though the map's type gives it a path.
    let is_tunnel = *request.method() == http::Method::CONNECT && upgrade.is_none();
    let pseudo = [
        (":method", Some(request.method().as_str().as_bytes())),
        (":scheme", uri.scheme_str().filter(|_| !is_tunnel).map(str::as_bytes)),
        (":authority", uri.authority().map(|authority| authority.as_str().as_bytes())),
        (":path", path.filter(|_| !is_tunnel).map(str::as_bytes)),
        (":protocol", upgrade.map(Upgrade::protocol)),
    ];
    for (name, value) in pseudo {
        if let Some(value) = value {
            reader.take(Line { known: None, name: name.as_bytes(), value, is_valid: true });
        }
    }
    for (name, value) in headers {
        let name = name.as_str().as_bytes();
        reader.take(Line { known: KnownName::find(name), name, value: value.as_bytes(), is_valid: true });
    }
    let is_ended = body != BodyLine::Chunked && !headers.contains_key(header::CONTENT_LENGTH);
    let request = reader.finish(is_ended)?;
    out.unsplit(request.draft.ok_or(Refused)?.into_bytes());
    Ok(())
}

/// An answer as a map.
#[must_use]
pub fn response(head: &ResponseHead) -> Response<()> {
    let mut headers = head.headers.to_map();
    for name in headers.keys().filter(|name| is_of_a_connection(name)).cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
    let is_nothing = matches!(head.framing, ResponseFraming::None | ResponseFraming::Length(0));
    if is_nothing && is_grpc(headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes)) {
        // Trailers alone, of which the length of HTTP/1.1 is no part.
        headers.remove(header::CONTENT_LENGTH);
    }
    let mut response = Response::new(());
    (*response.status_mut(), *response.headers_mut()) = (head.status, headers);
    response
}

/// The same for the client of an extended CONNECT: consent is 200, and any other success would be taken for consent.
#[must_use]
pub fn response_to_connect(head: &ResponseHead) -> Response<()> {
    let mut response = response(head);
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
    }
    *response.status_mut() = upgrade::status(head.status);
    response
}

/// Whether fields are among a request's that belong to one connection of HTTP/1.1, which makes it malformed (RFC 9114 §4.2).
#[must_use]
pub fn names_a_connection(headers: &HeaderMap) -> bool {
    let is_foreign =
        |name: &HeaderName| *name != header::EXPECT && *name != header::TE && is_of_a_connection(name);
    let asks_for_more = |te: &http::HeaderValue| te.as_bytes() != b"trailers";
    headers.keys().any(is_foreign) || headers.get_all(header::TE).iter().any(asks_for_more)
}

fn is_of_a_connection(name: &HeaderName) -> bool {
    KnownName::find(name.as_str().as_bytes()).is_some_and(KnownName::is_hop_by_hop)
}

/// Whether a message of this type is gRPC's, which lives by trailers.
pub(crate) fn is_grpc(content_type: Option<&[u8]>) -> bool {
    let rest = content_type.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
