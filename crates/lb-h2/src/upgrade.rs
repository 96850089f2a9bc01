//! Streams that become another protocol, WebSocket mostly: an extended CONNECT (RFC 8441) as an upgrade of HTTP/1.1.
//!
//! A client has no key to send and none to be answered, since no cache and no old server can take a CONNECT for anything else; the
//! backend gets one of ours, and what it makes of it ends here. The other way round, a backend of HTTP/2 is sent no key, and what an
//! HTTP/1.1 client expects of its own is made here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use lb_h1::{Draft, Upgrade};

use crate::head::{self, BodyLine};
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

/// What a key is joined with before it is hashed (RFC 6455 §1.3).
const WEBSOCKET: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An extended CONNECT to a backend, and what its consent is in the words of HTTP/1.1.
pub(crate) struct Switch {
    upgrade: Upgrade,
    /// What the client expects of its key.
    accept: Option<String>,
}

impl Switch {
    /// Makes an extended CONNECT of a request that asks for this; nothing where it asks for several things, of which a CONNECT can
    /// have one.
    pub(crate) fn ask(request: &mut Request<()>, upgrade: &Upgrade) -> Option<Self> {
        let protocol = str::from_utf8(upgrade.protocol()).ok()?;
        if *upgrade == Upgrade::H2c || !protocol.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
            return None;
        }
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol));
        let key = request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        Some(Self { upgrade: upgrade.clone(), accept: key.as_ref().map(accept) })
    }

    /// The backend's consent as HTTP/1.1 has it.
    pub(crate) fn consent(&self, headers: &mut HeaderMap) -> Draft {
        // Neither says anything of a stream that has no end (RFC 9110 §9.3.6).
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::SEC_WEBSOCKET_ACCEPT);
        let mut draft = head::draft_response(StatusCode::SWITCHING_PROTOCOLS, headers, BodyLine::AsFields);
        draft.line(&header::CONNECTION, b"upgrade");
        draft.line(&header::UPGRADE, self.upgrade.protocol());
        if let Some(accept) = &self.accept {
            draft.line(&header::SEC_WEBSOCKET_ACCEPT, accept.as_bytes());
        }
        draft
    }
}

/// What proves that a key was read (RFC 6455 §4.2.2).
fn accept(key: &HeaderValue) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key.as_bytes());
    hash.update(WEBSOCKET);
    STANDARD.encode(hash.digest().bytes())
}

/// Adds the fields by which HTTP/1.1 asks for it.
pub(crate) fn add_ask(draft: &mut Draft, upgrade: &Upgrade) {
    draft.line(&header::CONNECTION, b"upgrade");
    draft.line(&header::UPGRADE, upgrade.protocol());
    if *upgrade == Upgrade::WebSocket {
        let key = STANDARD.encode(std::array::from_fn::<u8, 16, _>(|_| fastrand::u8(..)));
        draft.line(&header::SEC_WEBSOCKET_KEY, key.as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_rfc_6455_has_it() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept(&key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
