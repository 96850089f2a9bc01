//! Response heads: what backends may send, what follows it, and what is refused.

use http::{Method, StatusCode};
use lb_h1::{Asked, BodyFraming, ResponseFraming, Upgrade};

use crate::support::{lines, name, response};

const GET: Asked<'_> = Asked { method: &Method::GET, upgrade: None };

/// `STATUS reason framing`, with `close` where the connection is not kept, or the error's name.
fn verdict(bytes: &str, asked: Asked<'_>) -> String {
    match response(bytes.as_bytes(), asked) {
        Ok(Some(head)) => {
            let reason = head.reason().unwrap_or_default().escape_ascii().to_string();
            let close = if head.keep_alive { "" } else { " close" };
            format!("{} {reason} {:?}{close}", head.status.as_u16(), head.framing)
        }
        Ok(None) => "incomplete".to_owned(),
        Err(error) => name(&error),
    }
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (bytes, expected) in table {
        assert_eq!(verdict(bytes, GET), *expected, "{}", bytes.escape_default());
    }
}

#[test]
fn the_status_line_may_lack_its_reason_and_nothing_else() {
    check(&[
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK Length(0)"),
        (
            "HTTP/1.1 404 Not \tFound \u{e9}\r\nContent-Length: 0\r\n\r\n",
            "404 Not \\tFound \\xc3\\xa9 Length(0)",
        ),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200  Length(0)"),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200  Length(0)"),
        ("HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n", "999 Denied Length(0)"),
        ("HTTP/1.1 20 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 2000 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 099 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 +20 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1  200 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1\t200 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 200OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.2 200 OK\r\n\r\n", "StatusLine"),
        ("HTTP/2 200 OK\r\n\r\n", "StatusLine"),
        ("ICY 200 OK\r\n\r\n", "StatusLine"),
        ("http/1.1 200 OK\r\n\r\n", "StatusLine"),
        (" HTTP/1.1 200 OK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 200 O\rK\r\n\r\n", "StatusLine"),
        ("HTTP/1.1 200 O\0K\r\n\r\n", "StatusLine"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "StatusLine"),
        ("<html>\r\n", "StatusLine"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "BareLineFeed"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\n", "BareLineFeed"),
        ("HTTP/1.1 200 OK\r\nX: y\r\n", "incomplete"),
    ]);
    assert_eq!(verdict(&format!("HTTP/1.1 200 {}", "x".repeat(20_000)), GET), "StatusLineTooLong");
    assert_eq!(verdict(&format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)), GET), "TooLarge");
}

#[test]
fn a_body_ends_by_length_by_chunks_or_with_the_connection() {
    check(&[
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK Chunked"),
        ("HTTP/1.1 200 OK\r\n\r\n", "200 OK UntilClose close"),
        ("HTTP/1.0 200 OK\r\n\r\n", "200 OK UntilClose close"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "200 OK Length(5) close"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n", "200 OK Length(5) close"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 005\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n", "200 OK Length(5)"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding\t: chunked\r\n\r\n", "200 OK Chunked"),
    ]);
}

#[test]
fn framing_that_could_be_read_in_two_ways_is_refused() {
    check(&[
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "ContentLengthTwice"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n", "ContentLengthTwice"),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "ContentLength"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\n", "ContentLength"),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "ContentLength"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "ContentLengthAndTransferEncoding",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "UnknownTransferCoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "UnknownTransferCoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "TransferEncoding"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "TransferEncodingTwice",
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "TransferEncodingInHttp10"),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "FoldedLine"),
        ("HTTP/1.1 200 OK\r\nX: y\rContent-Length: 5\r\n\r\n", "FieldValue"),
        ("HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "FieldValue"),
        ("HTTP/1.1 200 OK\r\nX y: z\r\n\r\n", "FieldName"),
        ("HTTP/1.1 200 OK\r\n: z\r\n\r\n", "FieldName"),
        ("HTTP/1.1 200 OK\r\nX\r\n\r\n", "MissingColon"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: content-length\r\n\r\n", "ConnectionNames"),
    ]);
}

#[test]
fn some_statuses_and_methods_have_no_body_whatever_the_fields_say() {
    let head = Asked { method: &Method::HEAD, upgrade: None };
    let connect = Asked { method: &Method::CONNECT, upgrade: None };
    for (bytes, asked, framing, declared, keep_alive) in [
        ("200 OK\r\nContent-Length: 5\r\n", head, ResponseFraming::None, BodyFraming::Length(5), true),
        ("200 OK\r\nTransfer-Encoding: chunked\r\n", head, ResponseFraming::None, BodyFraming::Chunked, true),
        ("200 OK\r\n", head, ResponseFraming::None, BodyFraming::None, true),
        (
            "304 Not Modified\r\nContent-Length: 5\r\n",
            GET,
            ResponseFraming::None,
            BodyFraming::Length(5),
            true,
        ),
        ("204 No Content\r\n", GET, ResponseFraming::None, BodyFraming::None, true),
        ("204 No Content\r\nContent-Length: 0\r\n", GET, ResponseFraming::None, BodyFraming::Length(0), true),
        (
            "204 No Content\r\nContent-Length: 5\r\n",
            GET,
            ResponseFraming::None,
            BodyFraming::Length(5),
            false,
        ),
        (
            "204 No Content\r\nTransfer-Encoding: chunked\r\n",
            GET,
            ResponseFraming::None,
            BodyFraming::Chunked,
            false,
        ),
        ("100 Continue\r\n", GET, ResponseFraming::None, BodyFraming::None, true),
        ("103 Early Hints\r\nLink: x\r\n", GET, ResponseFraming::None, BodyFraming::None, true),
        (
            "103 Early Hints\r\nContent-Length: 5\r\n",
            GET,
            ResponseFraming::None,
            BodyFraming::Length(5),
            false,
        ),
        ("200 OK\r\nContent-Length: 5\r\n", connect, ResponseFraming::Tunnel, BodyFraming::Length(5), false),
        (
            "403 No\r\nContent-Length: 5\r\n",
            connect,
            ResponseFraming::Length(5),
            BodyFraming::Length(5),
            true,
        ),
    ] {
        let bytes = format!("HTTP/1.1 {bytes}\r\n");
        let head = response(bytes.as_bytes(), asked).unwrap().unwrap();
        let found = (head.framing, head.declared, head.keep_alive);
        assert_eq!(found, (framing, declared, keep_alive), "{bytes:?}");
        assert_eq!(head.is_interim(), head.status.is_informational());
        let announced = if head.framing == ResponseFraming::None { declared.into() } else { framing };
        assert_eq!(head.announced(), announced, "{bytes:?}");
    }
}

#[test]
fn protocols_are_switched_only_when_that_was_asked_for() {
    let bytes = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(verdict(bytes, GET), "UnaskedUpgrade");
    let asked = Asked { method: &Method::GET, upgrade: Some(&Upgrade::WebSocket) };
    let head = response(bytes.as_bytes(), asked).unwrap().unwrap();
    assert_eq!(head.status, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!((head.framing, head.upgrade.clone()), (ResponseFraming::Tunnel, Some(Upgrade::WebSocket)));
    assert!(!head.is_interim() && !head.keep_alive);
    assert_eq!(verdict("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", asked), "200 OK Length(2)");
    // To one of those that were offered, whatever the letter case, and to no other.
    let list = Upgrade::Other("HTTP/3.0, IRC/6.9".parse().unwrap());
    for (offered, answer, verdict_) in [
        (&list, "Upgrade: irc/6.9\r\n", "101 Switching Protocols Tunnel close"),
        (&list, "Upgrade: websocket\r\n", "UnaskedUpgrade"),
        (&list, "Upgrade: HTTP/3.0, IRC/6.9\r\n", "UnaskedUpgrade"),
        (&list, "Upgrade: h2c\r\n", "UnaskedUpgrade"),
        (&list, "", "UnaskedUpgrade"),
        (&Upgrade::H2c, "Upgrade: h2c\r\n", "UnaskedUpgrade"),
    ] {
        let bytes = format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n{answer}\r\n");
        assert_eq!(verdict(&bytes, Asked { upgrade: Some(offered), ..asked }), verdict_, "{answer:?}");
    }
}

#[test]
fn fields_that_connection_names_are_the_backends_own() {
    let head = response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Hop: 1\r\nConnection: x-hop\r\nX_Y: 2\r\n\r\n",
        GET,
    )
    .unwrap()
    .unwrap();
    assert_eq!(lines(&head.headers.to_map()), ["content-length: 0", "connection: x-hop", "x_y: 2"]);
    assert!(head.hop_by_hop.present && head.underscore_names);
}

#[test]
fn what_follows_a_head_stays_for_the_next() {
    use bytes::BytesMut;
    use lb_h1::{HeadLimits, ParseState, parse_response};

    let mut buf = BytesMut::from(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let (limits, mut state) = (HeadLimits::default(), ParseState::default());
    let interim = parse_response(&mut buf, &limits, GET, &mut state).unwrap().unwrap();
    let last = parse_response(&mut buf, &limits, GET, &mut state).unwrap().unwrap();
    assert!(interim.is_interim() && !last.is_interim());
    assert_eq!(buf, "ok");
    assert!(state.is_idle());
}
