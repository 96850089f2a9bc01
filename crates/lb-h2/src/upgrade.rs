//! Streams that become another protocol, WebSocket mostly: an extended CONNECT (RFC 8441) as an upgrade of HTTP/1.1.
//!
//! A client has no key to send and none to be answered, since no cache and no old server can take a CONNECT for anything else; the
//! backend gets one of ours, and what it makes of it ends here. The other way round, a backend of HTTP/2 is sent no key, and what an
//! HTTP/1.1 client expects of its own is made here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{StatusCode, header};
use lb_h1::{Draft, Fields, Upgrade};

/// What a key is joined with before it is hashed (RFC 6455 §1.3).
const WEBSOCKET: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An extended CONNECT to a backend, and what its consent is in the words of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Switch {
    upgrade: Upgrade,
    /// What the client expects of its key.
    accept: Option<String>,
}

impl Switch {
    /// For a request that asks for this; nothing where it asks for several things, of which a CONNECT can have one.
    pub(crate) fn of(headers: &Fields, upgrade: &Upgrade) -> Option<Self> {
        let is_one = upgrade.protocol().iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
        if *upgrade == Upgrade::H2c || !is_one {
            return None;
        }
        Some(Self { upgrade: upgrade.clone(), accept: headers.get(&header::SEC_WEBSOCKET_KEY).map(accept) })
    }

    pub(crate) fn protocol(&self) -> &[u8] {
        self.upgrade.protocol()
    }

    /// Adds to a backend's consent what HTTP/1.1 says beside it.
    pub(crate) fn add_consent(&self, draft: &mut Draft) {
        draft.line(&header::CONNECTION, b"upgrade");
        draft.line(&header::UPGRADE, self.upgrade.protocol());
        if let Some(accept) = &self.accept {
            draft.line(&header::SEC_WEBSOCKET_ACCEPT, accept.as_bytes());
        }
    }
}

/// What proves that a key was read (RFC 6455 §4.2.2).
fn accept(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
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

/// The status of an answer as the client of a CONNECT has it: consent is 200, and any other success would be taken for consent.
pub(crate) fn status(status: StatusCode) -> StatusCode {
    match status {
        StatusCode::SWITCHING_PROTOCOLS => StatusCode::OK,
        status if status.is_success() => StatusCode::BAD_GATEWAY,
        status => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_rfc_6455_has_it() {
        assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
