//! Request heads: cutting changes nothing, and what is taken from a client leaves as one message that is framed alike.
#![no_main]

use bytes::BytesMut;
use http::header::{HOST, HeaderName, HeaderValue};
use lb_h1::{
    BodyFraming, ConnectionHeader, HeadLimits, ParseState, RequestHead, RequestLine, drop_underscore_names,
    encode_request_head, parse_request,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = HeadLimits::default();
    let mut whole_buffer = BytesMut::from(data);
    let whole = parse_request(&mut whole_buffer, &limits, &mut ParseState::default());
    let (piecewise, used) = byte_by_byte(data, &limits);
    assert_eq!(format!("{whole:?}"), format!("{piecewise:?}"));
    let Ok(Some(head)) = whole else { return };
    assert_eq!(whole_buffer.len(), data.len() - used);
    leaves_as_it_came(&head, &limits);
});

fn byte_by_byte(
    data: &[u8],
    limits: &HeadLimits,
) -> (Result<Option<RequestHead>, lb_h1::RequestError>, usize) {
    let (mut buffer, mut state) = (BytesMut::new(), ParseState::default());
    for (index, byte) in data.iter().enumerate() {
        buffer.extend_from_slice(&[*byte]);
        let read = parse_request(&mut buffer, limits, &mut state);
        if !matches!(read, Ok(None)) {
            return (read, index + 1);
        }
    }
    (Ok(None), 0)
}

fn leaves_as_it_came(head: &RequestHead, limits: &HeadLimits) {
    if head.method == http::Method::CONNECT {
        return;
    }
    let target = head.target.path_and_query();
    if head.target.to_uri().is_err() {
        return;
    }
    let mut headers = head.headers.clone();
    drop_underscore_names(&mut headers);
    let mut out = BytesMut::new();
    let line = RequestLine { method: &head.method, target: &target, version: http::Version::HTTP_11 };
    // HTTP/1.0 may come without a Host; the gateway then names the backend's.
    if !headers.contains(&HOST) {
        headers.insert(&HOST, &HeaderValue::from_static("x"));
    }
    encode_request_head(&mut out, line, &headers, head.framing, ConnectionHeader::Implied)
        .expect("can be written");
    let text = out.clone();
    let again = parse_request(&mut out, limits, &mut ParseState::default())
        .unwrap_or_else(|error| panic!("{error}: {}", text.escape_ascii()))
        .unwrap_or_else(|| panic!("not whole: {}", text.escape_ascii()));
    assert!(out.is_empty(), "two messages: {}", text.escape_ascii());
    let with_length = |framing| if framing == BodyFraming::None { BodyFraming::Length(0) } else { framing };
    assert_eq!(with_length(again.framing), with_length(head.framing));
    assert_eq!(again.method, head.method);
    assert_eq!(again.target.raw(), &target);
    assert!(again.upgrade.is_none() && !again.underscore_names);
    assert!(["transfer-encoding", "upgrade", "http2-settings", "connection"].iter().all(|name| {
        again.headers.get_all(&HeaderName::from_static(name)).count()
            == usize::from(*name == "transfer-encoding" && again.framing == BodyFraming::Chunked)
    }));
}
