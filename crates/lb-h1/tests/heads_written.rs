//! Heads as they leave: one framing, no field of the previous hop, names as the world spells them.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use lb_h1::{
    BodyFraming, ConnectionHeader, EncodeError, RequestLine, ResponseFraming, ResponseLine, Upgrade,
    encode_request_head, encode_response_head,
};

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    map
}

fn request(
    method: &Method,
    fields: &[(&'static str, &'static str)],
    framing: BodyFraming,
    connection: ConnectionHeader<'_>,
) -> String {
    let mut out = BytesMut::new();
    encode_request_head(
        &mut out,
        RequestLine { method, target: b"/p?q", version: Version::HTTP_11 },
        &headers(fields),
        framing,
        connection,
    )
    .unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

fn response(
    line: ResponseLine<'_>,
    fields: &[(&'static str, &'static str)],
    framing: ResponseFraming,
    connection: ConnectionHeader<'_>,
) -> String {
    let mut out = BytesMut::new();
    let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
    encode_response_head(&mut out, line, &headers(fields), framing, connection, Some(date)).unwrap();
    String::from_utf8(out.to_vec()).unwrap()
}

const fn line(status: StatusCode) -> ResponseLine<'static> {
    ResponseLine { status, reason: None, version: Version::HTTP_11 }
}

#[test]
fn what_belongs_to_the_previous_hop_never_leaves() {
    let head = request(
        &Method::GET,
        &[
            ("host", "a"),
            ("connection", "keep-alive, upgrade"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("accept", "*/*"),
            ("x-own", "1"),
        ],
        BodyFraming::None,
        ConnectionHeader::Implied,
    );
    assert_eq!(head, "GET /p?q HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nx-own: 1\r\n\r\n");
}

#[test]
fn framing_is_what_the_caller_decided() {
    let end = |method: &Method, framing| {
        let head = request(method, &[("content-length", "99")], framing, ConnectionHeader::Implied);
        head.split_once("\r\n").unwrap().1.to_owned()
    };
    assert_eq!(end(&Method::GET, BodyFraming::None), "\r\n");
    assert_eq!(end(&Method::GET, BodyFraming::Length(7)), "Content-Length: 7\r\n\r\n");
    assert_eq!(end(&Method::GET, BodyFraming::Chunked), "Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(end(&Method::POST, BodyFraming::None), "Content-Length: 0\r\n\r\n");
    assert_eq!(end(&Method::POST, BodyFraming::Length(0)), "Content-Length: 0\r\n\r\n");
    assert_eq!(
        end(&Method::DELETE, BodyFraming::Length(u64::MAX)),
        format!("Content-Length: {}\r\n\r\n", u64::MAX)
    );
}

#[test]
fn the_connection_field_is_what_the_caller_decided() {
    let end = |connection| {
        let head = request(&Method::GET, &[("upgrade", "h2c")], BodyFraming::None, connection);
        head.split_once("\r\n").unwrap().1.to_owned()
    };
    assert_eq!(end(ConnectionHeader::Close), "Connection: close\r\n\r\n");
    assert_eq!(end(ConnectionHeader::KeepAlive), "Connection: keep-alive\r\n\r\n");
    assert_eq!(
        end(ConnectionHeader::Upgrade(&Upgrade::WebSocket)),
        "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn a_target_that_would_break_the_line_is_not_written() {
    for target in ["", "/a b", "/a\r\nX: y", "/\0", "/\u{e9}", "/a\tb"] {
        let mut out = BytesMut::from("before");
        let line = RequestLine { method: &Method::GET, target: target.as_bytes(), version: Version::HTTP_11 };
        let connection = ConnectionHeader::Implied;
        let verdict = encode_request_head(&mut out, line, &HeaderMap::new(), BodyFraming::None, connection);
        assert_eq!((verdict, &out[..]), (Err(EncodeError::Target), &b"before"[..]), "{target:?}");
    }
}

#[test]
fn http_1_0_is_never_sent_chunks() {
    let mut out = BytesMut::new();
    let line = ResponseLine { version: Version::HTTP_10, ..line(StatusCode::OK) };
    let connection = ConnectionHeader::Close;
    let chunked =
        encode_response_head(&mut out, line, &HeaderMap::new(), ResponseFraming::Chunked, connection, None);
    assert_eq!((chunked, out.len()), (Err(EncodeError::ChunkedInHttp10), 0));
    encode_response_head(&mut out, line, &HeaderMap::new(), ResponseFraming::UntilClose, connection, None)
        .unwrap();
    assert_eq!(out, "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n");
}

#[test]
fn statuses_without_a_body_announce_none() {
    let framing = |status| {
        let head =
            response(line(status), &[("date", "x")], ResponseFraming::Length(5), ConnectionHeader::Implied);
        head.contains("Content-Length: 5")
    };
    assert!(framing(StatusCode::OK));
    assert!(framing(StatusCode::NOT_MODIFIED), "which says how long the body would be");
    assert!(!framing(StatusCode::NO_CONTENT));
    assert!(!framing(StatusCode::EARLY_HINTS));
    assert!(!framing(StatusCode::SWITCHING_PROTOCOLS));
}

#[test]
fn a_date_is_added_where_there_is_none() {
    let with = response(
        line(StatusCode::OK),
        &[("date", "theirs")],
        ResponseFraming::Length(0),
        ConnectionHeader::Implied,
    );
    assert_eq!(with, "HTTP/1.1 200 OK\r\nDate: theirs\r\nContent-Length: 0\r\n\r\n");
    let without = response(line(StatusCode::OK), &[], ResponseFraming::Length(0), ConnectionHeader::Implied);
    assert_eq!(
        without,
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n"
    );
    let interim = response(
        line(StatusCode::EARLY_HINTS),
        &[("link", "x")],
        ResponseFraming::None,
        ConnectionHeader::Implied,
    );
    assert_eq!(interim, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n");
}

#[test]
fn reasons_are_passed_on_unless_they_would_split_the_head() {
    let first = |status: u16, reason: Option<&[u8]>| {
        let line = ResponseLine { reason, ..line(StatusCode::from_u16(status).unwrap()) };
        let head = response(line, &[], ResponseFraming::None, ConnectionHeader::Implied);
        head.split_once("\r\n").unwrap().0.to_owned()
    };
    assert_eq!(first(200, Some(b"OK")), "HTTP/1.1 200 OK");
    assert_eq!(first(200, Some(b"Fine")), "HTTP/1.1 200 Fine");
    assert_eq!(first(404, None), "HTTP/1.1 404 Not Found");
    assert_eq!(first(404, Some(b"No\r\nX: y")), "HTTP/1.1 404 Not Found");
    assert_eq!(first(799, None), "HTTP/1.1 799 ");
}
