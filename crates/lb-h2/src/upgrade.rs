//! Streams that become another protocol, WebSocket mostly: an extended CONNECT (RFC 8441) as an upgrade of HTTP/1.1.
//!
//! The client has no key to send and none to be answered, since no cache and no old server can take a CONNECT for anything else; the
//! backend gets one of ours, and what it makes of it ends here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use h2::ext::Protocol;
use http::{HeaderMap, Method, Request, StatusCode, header};
use lb_h1::Upgrade;

use crate::head::write_line;
use crate::server::Refused;

/// What the stream is to become, where it is to become anything.
pub(crate) fn of<B>(request: &Request<B>) -> Result<Option<Upgrade>, Refused> {
    let Some(protocol) = request.extensions().get::<Protocol>() else { return Ok(None) };
    let is_plain = *request.method() == Method::CONNECT
        && !request.headers().contains_key(header::CONTENT_LENGTH)
        && protocol.as_str().bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    match Upgrade::read(protocol.as_str().as_bytes()) {
        Some(upgrade) if is_plain => Ok(Some(upgrade)),
        _ => Err(Refused),
    }
}

/// Writes the fields by which HTTP/1.1 asks for it.
pub(crate) fn write_ask(out: &mut BytesMut, upgrade: &Upgrade) {
    write_line(out, "connection", b"upgrade");
    write_line(out, "upgrade", upgrade.protocol());
    if *upgrade == Upgrade::WebSocket {
        let key = STANDARD.encode(std::array::from_fn::<u8, 16, _>(|_| fastrand::u8(..)));
        write_line(out, "sec-websocket-key", key.as_bytes());
    }
}

/// The status and fields of an answer as the client of a CONNECT has them: consent is 200, and any other success would be taken for
/// consent.
pub(crate) fn answer(status: StatusCode, headers: &mut HeaderMap) -> StatusCode {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => {
            headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            StatusCode::OK
        }
        status if status.is_success() => StatusCode::BAD_GATEWAY,
        status => status,
    }
}
