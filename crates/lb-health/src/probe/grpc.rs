//! The gRPC health checking protocol (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>): one call of
//! `grpc.health.v1.Health/Check` over HTTP/2 by prior knowledge, one answer of a few bytes.

use std::error::Error;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use tokio::io::{AsyncRead, AsyncWrite};

use super::ProbeError;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// The largest answer that is read; a right one has seven bytes.
const MAX_ANSWER: usize = 4 << 10;
/// The largest head or trailer.
const MAX_FIELDS: u32 = 16 << 10;
/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

/// Asks over an open connection.
pub(super) async fn probe(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), ProbeError> {
    let mut builder = client::Builder::new();
    builder.enable_push(false).max_header_list_size(MAX_FIELDS).initial_window_size(16 << 10);
    let (sender, connection) = builder.handshake(stream).await.map_err(broken)?;
    tokio::select! {
        answer = ask(sender, scheme, authority, service) => answer,
        ended = connection => Err(ended.err().map_or(ProbeError::Ended, broken)),
    }
}

async fn ask(
    mut sender: SendRequest<Bytes>,
    scheme: &str,
    authority: &str,
    service: &str,
) -> Result<(), ProbeError> {
    let request = Request::post(format!("{scheme}://{authority}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, "gatewayd-probe")
        .body(())
        .map_err(|_| ProbeError::Malformed("its host is no authority"))?;
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await.map_err(broken)?;
    let (response, mut body) = sender.send_request(request, false).map_err(broken)?;
    body.send_data(check_request(service), true).map_err(broken)?;

    let (head, mut body) = response.await.map_err(broken)?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(ProbeError::Grpc(format!("HTTP status {}", head.status.as_u16())));
    }
    // A failed call may have its status in the head and no body (trailers-only).
    check_status(&head.headers)?;
    let mut answer = Vec::new();
    while let Some(piece) = body.data().await {
        answer.extend_from_slice(&piece.map_err(broken)?);
        if answer.len() > MAX_ANSWER {
            return Err(ProbeError::TooLarge(MAX_ANSWER));
        }
    }
    if let Some(trailers) = body.trailers().await.map_err(broken)? {
        check_status(&trailers)?;
    }
    match serving_status(&answer) {
        Some(SERVING) => Ok(()),
        Some(status) => {
            Err(ProbeError::Grpc(format!("serving status {status}, expected {SERVING} (SERVING)")))
        }
        None => Err(ProbeError::Malformed("its message is no HealthCheckResponse")),
    }
}

/// `HealthCheckRequest { service }`, uncompressed, in gRPC's frame.
fn check_request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    // A name is no longer than a configuration, which is far below 4 GiB.
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(&message);
    frame.freeze()
}

fn put_varint(buffer: &mut BytesMut, mut number: usize) {
    loop {
        let [low, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return buffer.put_u8(low);
        }
        buffer.put_u8(low | 0x80);
    }
}

/// The `status` of an uncompressed `HealthCheckResponse`; 0, protobuf's default, where none is written.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (head, mut message) = frame.split_at_checked(5)?;
    let length = u32::from_be_bytes(head.get(1..)?.try_into().ok()?);
    if *head.first()? != 0 || u32::try_from(message.len()).ok()? != length {
        return None;
    }
    let mut status = 0;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match tag & 7 {
            0 => {
                let value = varint(&mut message)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Whether the call itself went well, as far as these fields say.
fn check_status(fields: &HeaderMap) -> Result<(), ProbeError> {
    let text = |name: &HeaderName| fields.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    match text(&GRPC_STATUS) {
        None | Some("0") => Ok(()),
        Some(status) => {
            let message: String = text(&GRPC_MESSAGE).unwrap_or_default().chars().take(100).collect();
            Err(ProbeError::Grpc(format!("grpc-status {status} {message}").trim_end().to_owned()))
        }
    }
}

fn broken(error: h2::Error) -> ProbeError {
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    ProbeError::Broken(error.into_io().unwrap_or_else(|| std::io::Error::other(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_framed_as_protobuf_and_grpc_have_it() {
        assert_eq!(check_request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(check_request("a.B")[..], *b"\0\0\0\0\x05\x0a\x03a.B");
        let long = check_request(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_serving_status_is_found_among_fields_of_any_kind() {
        for (message, status) in [
            (&[][..], Some(0)),
            (&[8, 1], Some(1)),
            (&[8, 2], Some(2)),
            // Unknown fields of each wire type before it.
            (&[0x10, 0x96, 1, 0x19, 0, 0, 0, 0, 0, 0, 0, 0, 0x22, 2, 7, 7, 0x2d, 0, 0, 0, 0, 8, 1], Some(1)),
            (&[8], None),
            (&[0x22, 9, 1], None),
            (&[8, 0x80], None),
            (&[0x0b], None),
            (&[8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], None),
        ] {
            let mut frame = vec![0, 0, 0, 0, u8::try_from(message.len()).unwrap()];
            frame.extend_from_slice(message);
            assert_eq!(serving_status(&frame), status, "{message:?}");
        }
        assert_eq!(serving_status(&[0, 0, 0, 0, 3, 8, 1]), None);
        assert_eq!(serving_status(&[1, 0, 0, 0, 2, 8, 1]), None);
        assert_eq!(serving_status(&[0, 0]), None);
    }
}
