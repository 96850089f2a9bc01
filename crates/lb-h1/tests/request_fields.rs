//! Fields of a request: their syntax, and what they say about the body and the connection.

use lb_h1::{Upgrade, drop_underscore_names};

use crate::support::{check, check_fields, lines, request, summary};

#[test]
fn lines_end_in_cr_lf_and_are_not_folded() {
    check(&[
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "400 BareLineFeed"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "400 BareLineFeed"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "400 BareLineFeed"),
        ("GET / HTTP/1.1\r\nHost: a\n\n", "400 BareLineFeed"),
        ("GET / HTTP/1.1\r\nHost: a\r\rX: y\r\n\r\n", "400 FieldValue"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", "400 FieldValue"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n", "400 FieldValue"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", "400 FoldedLine"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz: 1\r\n\r\n", "400 FoldedLine"),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "400 FoldedLine"),
        ("GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n", "400 FoldedLine"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rX: y\r\n\r\n", "400 FieldName"),
    ]);
}

#[test]
fn a_field_is_a_token_a_colon_and_a_value_without_control_bytes() {
    check_fields(
        "GET /",
        &[
            ("X:\r\n", "GET / HTTP/1.1 None"),
            ("X:y\r\n", "GET / HTTP/1.1 None"),
            ("X: \t y \t \r\n", "GET / HTTP/1.1 None"),
            ("X: a\tb \u{e9}\r\n", "GET / HTTP/1.1 None"),
            ("!#$%&'*+-.^`|~09: y\r\n", "GET / HTTP/1.1 None"),
            ("X : y\r\n", "400 SpaceBeforeColon"),
            ("X\t: y\r\n", "400 SpaceBeforeColon"),
            (": y\r\n", "400 FieldName"),
            ("X y: z\r\n", "400 FieldName"),
            ("X[: y\r\n", "400 FieldName"),
            ("X\0: y\r\n", "400 FieldName"),
            ("X\u{e9}: y\r\n", "400 FieldName"),
            ("\"X\": y\r\n", "400 FieldName"),
            ("X\r: y\r\n", "400 FieldName"),
            ("X\r\n", "400 MissingColon"),
            ("X: \0\r\n", "400 FieldValue"),
            ("X: \u{b}\r\n", "400 FieldValue"),
            ("X: \u{1b}[31m\r\n", "400 FieldValue"),
            ("X: \u{7f}\r\n", "400 FieldValue"),
        ],
    );
}

#[test]
fn every_byte_is_judged_in_names_and_values() {
    for byte in 0..=255u8 {
        let head =
            |name: &[u8], value: &[u8]| [b"GET / HTTP/1.0\r\n", name, b":", value, b"\r\n\r\n"].concat();
        let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = request(&head(&[b'x', byte, b'x'], b"v"));
        // A second colon ends the name early, and is then part of the value.
        assert_eq!(name.is_ok(), token || byte == b':', "{byte:#x} in a name: {name:?}");
        let value = request(&head(b"x", &[b'v', byte, b'v']));
        assert_eq!(value.is_ok(), byte == b'\t' || (byte >= b' ' && byte != 0x7f), "{byte:#x} in a value");
    }
}

#[test]
fn bodies_are_framed_in_one_way_or_refused() {
    check_fields(
        "POST /",
        &[
            ("", "POST / HTTP/1.1 None"),
            ("Content-Length: 0\r\n", "POST / HTTP/1.1 Length(0)"),
            ("Content-Length: 5\r\n", "POST / HTTP/1.1 Length(5)"),
            ("Content-Length: \t5 \r\n", "POST / HTTP/1.1 Length(5)"),
            ("Transfer-Encoding: chunked\r\n", "POST / HTTP/1.1 Chunked"),
            ("transfer-ENCODING:Chunked\r\n", "POST / HTTP/1.1 Chunked"),
            ("Content-Length: \r\n", "400 ContentLength"),
            ("Content-Length: abc\r\n", "400 ContentLength"),
            ("Content-Length: +5\r\n", "400 ContentLength"),
            ("Content-Length: -1\r\n", "400 ContentLength"),
            ("Content-Length: 0x5\r\n", "400 ContentLength"),
            ("Content-Length: 5, 5\r\n", "400 ContentLength"),
            ("Content-Length: 5 6\r\n", "400 ContentLength"),
            ("Content-Length: 05\r\n", "400 ContentLength"),
            ("Content-Length: 9223372036854775808\r\n", "400 ContentLength"),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", "400 ContentLengthTwice"),
            ("Content-Length: 5\r\ncontent-length: 6\r\n", "400 ContentLengthTwice"),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "400 ContentLengthAndTransferEncoding"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "400 ContentLengthAndTransferEncoding"),
            ("Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n", "400 ContentLengthAndTransferEncoding"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400 TransferEncodingTwice"),
            ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "400 TransferEncodingTwice"),
            ("Transfer-Encoding: \r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: chunked, chunked\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: chunked, identity\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: , chunked\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: chunked;a=b\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: \"chunked\"\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: chunked \u{e9}\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding: \u{b}chunked\r\n", "400 FieldValue"),
            ("Transfer-Encoding: chunked\0\r\n", "400 FieldValue"),
            ("Transfer-Encoding:\r\n chunked\r\n", "400 TransferEncoding"),
            ("Transfer-Encoding : chunked\r\n", "400 SpaceBeforeColon"),
            (" Transfer-Encoding: chunked\r\n", "400 FoldedLine"),
            ("Transfer\rEncoding: chunked\r\n", "400 FieldName"),
            ("Transfer\tEncoding: chunked\r\n", "400 FieldName"),
            ("X: y\rTransfer-Encoding: chunked\r\n", "400 FieldValue"),
            ("Transfer-Encoding: gzip\r\n", "501 UnknownTransferCoding"),
            ("Transfer-Encoding: identity\r\n", "501 UnknownTransferCoding"),
            ("Transfer-Encoding: gzip, chunked\r\n", "501 UnknownTransferCoding"),
            ("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "POST / HTTP/1.1 Length(5) underscore"),
        ],
    );
    check(&[
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "400 TransferEncodingInHttp10"),
        ("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", "POST / HTTP/1.0 Length(5) close"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "400 TraceBody"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "400 TraceBody"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "GET / HTTP/1.1 Length(5)"),
    ]);
}

#[test]
fn the_connection_is_kept_as_the_version_and_the_options_say() {
    check_fields(
        "GET /",
        &[
            ("Connection: close\r\n", "GET / HTTP/1.1 None close"),
            ("Connection: CLOSE\r\n", "GET / HTTP/1.1 None close"),
            ("Connection: keep-alive\r\n", "GET / HTTP/1.1 None"),
            ("Connection: keep-alive, close\r\n", "GET / HTTP/1.1 None close"),
            ("Connection: keep-alive\r\nConnection: ,close,\r\n", "GET / HTTP/1.1 None close"),
            ("Proxy-Connection: close\r\n", "GET / HTTP/1.1 None"),
        ],
    );
    check(&[
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0 None close"),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET / HTTP/1.0 None"),
        ("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET / HTTP/1.0 None close"),
        ("GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", "GET / HTTP/1.0 None close"),
    ]);
}

#[test]
fn fields_that_connection_names_go_but_for_those_that_matter() {
    let kept = |fields: &str| {
        let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        request(bytes.as_bytes()).map(|head| lines(&head.unwrap().headers.to_map()))
    };
    assert_eq!(
        kept("X-A: 1\r\nConnection: close, x-a, X-B\r\nX-B: 2\r\nX-C: 3\r\n").unwrap(),
        ["host: a", "connection: close, x-a, X-B", "x-c: 3"]
    );
    let forwarding =
        "X-Forwarded-For: 10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nConnection: X-FORWARDED-FOR, x-real-ip\r\n";
    assert_eq!(kept(forwarding).unwrap()[1..3], ["x-forwarded-for: 10.0.0.1", "x-real-ip: 10.0.0.1"]);
    check_fields(
        "POST /",
        &[
            ("Connection: Content-Length\r\nContent-Length: 5\r\n", "400 ConnectionNames"),
            ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "400 ConnectionNames"),
            ("Connection: close, HOST\r\n", "400 ConnectionNames"),
            ("Connection: a b, \"x\", \u{e9}\r\n", "POST / HTTP/1.1 None"),
        ],
    );
}

#[test]
fn expectations_other_than_100_continue_cannot_be_met() {
    check_fields(
        "PUT /",
        &[
            ("Expect: 100-continue\r\nContent-Length: 5\r\n", "PUT / HTTP/1.1 Length(5) continue"),
            ("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n", "PUT / HTTP/1.1 Chunked continue"),
            ("Expect: 100-continue\r\n", "PUT / HTTP/1.1 None"),
            ("Expect: 100-continue\r\nContent-Length: 0\r\n", "PUT / HTTP/1.1 Length(0)"),
            ("Expect: 200-ok\r\n", "417 Expectation"),
            ("Expect: \r\n", "417 Expectation"),
            ("Expect: y 100-continue\r\n", "417 Expectation"),
            ("Expect: 100-continue, 100-continue\r\n", "417 Expectation"),
            ("Expect: 100-continue\r\nExpect: x\r\n", "417 Expectation"),
        ],
    );
    check(&[(
        "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        "PUT / HTTP/1.0 Length(5) close",
    )]);
}

#[test]
fn an_upgrade_needs_http_1_1_and_the_connection_option() {
    check_fields(
        "GET /",
        &[
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "GET / HTTP/1.1 None WebSocket"),
            ("Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", "GET / HTTP/1.1 None WebSocket"),
            ("Upgrade: websocket\r\n", "GET / HTTP/1.1 None"),
            ("Connection: Upgrade\r\n", "GET / HTTP/1.1 None"),
            ("Connection: Upgrade\r\nUpgrade: \r\n", "GET / HTTP/1.1 None"),
            ("Connection: Upgrade\r\nUpgrade: foo/1\r\n", "GET / HTTP/1.1 None Other(\"foo/1\")"),
            (
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n",
                "GET / HTTP/1.1 None H2c",
            ),
            ("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n", "GET / HTTP/1.1 None H2c"),
            ("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: H2C\r\n", "GET / HTTP/1.1 None H2c"),
        ],
    );
    check(&[(
        "GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.0 None close",
    )]);
    assert_eq!(Upgrade::WebSocket.protocol(), b"websocket");
}

#[test]
fn underscore_aliases_are_told_and_can_be_dropped() {
    let mut head =
        request(b"GET / HTTP/1.1\r\nHost: a\r\nX_Real_IP: 1\r\nX-Real-IP: 2\r\n\r\n").unwrap().unwrap();
    assert!(head.underscore_names);
    drop_underscore_names(&mut head.headers);
    assert_eq!(lines(&head.headers.to_map()), ["host: a", "x-real-ip: 2"]);
}

#[test]
fn order_and_repetition_of_fields_are_kept_and_the_bytes_as_sent_beside_them() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nCOOKIE: a=1\r\nx-Odd: 1\r\nCookie: b=2\r\n\r\n";
    let head = request(bytes).unwrap().unwrap();
    assert_eq!(lines(&head.headers.to_map()), ["host: a", "cookie: a=1", "cookie: b=2", "x-odd: 1"]);
    assert_eq!(head.headers.received(), &bytes[..]);
    assert_eq!(head.authority(), Some(&b"a"[..]));
    assert_eq!(summary(&head), "GET / HTTP/1.1 None");
}
