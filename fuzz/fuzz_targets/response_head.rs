//! Response heads, asked for in several ways: cutting changes nothing, and what is passed on is read the same again.
#![no_main]

use bytes::BytesMut;
use http::{Method, Version};
use lb_h1::{
    Asked, ConnectionHeader, HeadLimits, ParseState, ResponseError, ResponseFraming, ResponseHead,
    ResponseLine, encode_response_head, parse_response,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((how, data)) = data.split_first() else { return };
    let method = [Method::GET, Method::HEAD, Method::CONNECT, Method::POST][usize::from(how & 3)].clone();
    let asked = Asked { method: &method, upgrade: (how & 4 != 0).then_some(&lb_h1::Upgrade::WebSocket) };
    let limits = HeadLimits::default();
    let whole = parse_response(&mut BytesMut::from(data), &limits, asked, &mut ParseState::default());
    assert_eq!(format!("{whole:?}"), format!("{:?}", byte_by_byte(data, &limits, asked)));
    let Ok(Some(head)) = whole else { return };
    if head.is_interim() || matches!(head.framing, ResponseFraming::Tunnel) {
        return;
    }
    leaves_as_it_came(&head, &limits, asked);
});

fn byte_by_byte(
    data: &[u8],
    limits: &HeadLimits,
    asked: Asked<'_>,
) -> Result<Option<ResponseHead>, ResponseError> {
    let (mut buffer, mut state) = (BytesMut::new(), ParseState::default());
    for byte in data {
        buffer.extend_from_slice(&[*byte]);
        let read = parse_response(&mut buffer, limits, asked, &mut state);
        if !matches!(read, Ok(None)) {
            return read;
        }
    }
    Ok(None)
}

fn leaves_as_it_came(head: &ResponseHead, limits: &HeadLimits, asked: Asked<'_>) {
    let mut out = BytesMut::new();
    let line = ResponseLine { status: head.status, reason: head.reason(), version: Version::HTTP_11 };
    encode_response_head(&mut out, line, &head.headers, head.announced(), ConnectionHeader::Implied, None)
        .expect("can be written");
    let text = out.clone();
    let again = parse_response(&mut out, limits, asked, &mut ParseState::default())
        .unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()))
        .unwrap_or_else(|| panic!("not whole: {}", text.escape_ascii()));
    assert!(out.is_empty(), "two messages: {}", text.escape_ascii());
    assert_eq!((again.status, again.framing), (head.status, head.framing));
}
