//! TLS with a client before its first request: within its time, counted however it ends.
//!
//! Cost: a client without TLS never comes here. Dropping the future closes the connection.

use std::time::Instant;

use bytes::BytesMut;
use http::HeaderValue;
use lb_observe::HandshakeFailure;
use lb_tls::{FailureKind, HandshakeError, ServerTls};

use crate::client::{Client, Secured};
use crate::conversation::{Conversation, Next};
use crate::watch::{Expired, Phase, within_deadline};

/// What a client reads that speaks plain HTTP here.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 58\r\n\
    Connection: close\r\n\r\nthis port speaks TLS: ask for https:// instead of http://\n";

/// Speaks TLS; what is to become of the connection where that fails.
pub(crate) async fn accept(conversation: &mut Conversation, tls: &ServerTls) -> Result<(), Next> {
    let client = std::rc::Rc::clone(&conversation.client);
    let limits = &client.listener.config;
    let Some(secured) = &limits.tls else { return Ok(()) };
    client.watch.begin(Phase::Handshake, Instant::now(), secured.handshake_timeout);
    let session = tls.accept().map_err(|error| {
        tracing::error!(%error, listener = %limits.name, "TLS cannot be spoken");
        Next::Break
    })?;
    conversation.transport.secure(session);
    let shaken =
        within_deadline(&client.watch, std::future::poll_fn(|cx| conversation.transport.poll_handshake(cx)));
    let stats = &client.listener.stats;
    match shaken.await {
        Ok(Ok(())) => {
            let session = conversation.transport.session();
            stats.handshake(client.worker.index, session.is_some_and(lb_tls::Session::is_resumed));
            if secured.subject_header.is_some() {
                let certificate = session.and_then(lb_tls::Session::peer_certificate);
                introduce(&client, certificate);
            }
            client.watch.begin(Phase::Idle, Instant::now(), limits.limits.header_timeout);
            Ok(())
        }
        Ok(Err(HandshakeError::PlainHttp)) => {
            stats.handshake_failed(client.worker.index, HandshakeFailure::PlainHttp);
            conversation.transport.give_tls_up();
            conversation.outbox = BytesMut::from(PLAIN_HTTP);
            let _ = conversation.flush().await;
            Err(Next::Linger)
        }
        Ok(Err(error)) => {
            stats.handshake_failed(client.worker.index, kind(&error));
            tracing::debug!(listener = %limits.name, peer = %client.peer, %error, "TLS handshake failed");
            Err(Next::Break)
        }
        Err(Expired) => {
            stats.handshake_failed(client.worker.index, HandshakeFailure::Timeout);
            Err(Next::Break)
        }
    }
}

/// Remembers who the client has shown to be.
pub(crate) fn introduce(client: &Client, certificate: Option<&[u8]>) {
    let subject = certificate.and_then(lb_tls::subject);
    if let Some(subject) = subject.and_then(|subject| HeaderValue::try_from(subject).ok()) {
        client.introduce(Secured { subject });
    }
}

fn kind(error: &HandshakeError) -> HandshakeFailure {
    match error.kind() {
        FailureKind::PlainHttp => HandshakeFailure::PlainHttp,
        FailureKind::Closed => HandshakeFailure::Closed,
        FailureKind::Malformed => HandshakeFailure::Malformed,
        FailureKind::Incompatible => HandshakeFailure::Incompatible,
        FailureKind::Certificate => HandshakeFailure::ClientCertificate,
        FailureKind::Refused => HandshakeFailure::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_has_the_length_that_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
