//! The start of a request: its line, its target, its host, and the bounds on all of it.

use bytes::BytesMut;
use lb_h1::{HeadLimits, ParseState, RequestError, TargetForm, parse_request};

use crate::support::{Event, check, request, serve, serve_however_cut, verdict};

#[test]
fn the_request_line_is_three_words_with_one_space_between() {
    check(&[
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 None"),
        ("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", "M-SEARCH / HTTP/1.1 None"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "400 Version"),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", "400 RequestLine"),
        ("GET HTTP/1.1\r\nHost: a\r\n\r\n", "400 RequestLine"),
        ("GET  HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET\r\n\r\n", "400 RequestLine"),
        ("GET /\r\n", "400 RequestLine"),
        ("GET / \r\n", "400 Version"),
        ("GET /pa th HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", "400 Version"),
        ("GET /\r/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
    ]);
}

#[test]
fn a_method_is_a_token_in_upper_case() {
    check(&[
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("Get / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("G[T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("GET\0 / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Method"),
        ("\u{16}\u{3}\u{1}\u{2}\0", "400 Tls"),
        ("{\"json\": 1}\r\n", "400 Method"),
    ]);
    let long = |length: usize| format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(length));
    assert!(verdict(long(64).as_bytes()).starts_with("AAAA"));
    assert_eq!(verdict(long(65).as_bytes()), "400 MethodTooLong");
    assert_eq!(verdict("A".repeat(65).as_bytes()), "400 MethodTooLong", "without waiting for the line's end");
    // Found by fuzzing: the verdict must not depend on whether the line's end had come.
    assert_eq!(verdict(format!("{}:\r\n", "A".repeat(63)).as_bytes()), "400 Method");
    assert_eq!(verdict(format!("{}\r\n", "A".repeat(64)).as_bytes()), "400 RequestLine");
    assert_eq!(verdict(format!("{}\rA\r\n", "A".repeat(64)).as_bytes()), "400 MethodTooLong");
}

#[test]
fn only_http_1_1_and_1_0_are_spoken() {
    check(&[
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0 None close"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "505 UnsupportedVersion"),
        ("GET / HTTP/9.9\r\nHost: a\r\n\r\n", "505 UnsupportedVersion"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 UnsupportedVersion"),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", "505 UnsupportedVersion"),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / HTTP/1.\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / HTTP/01.01\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / HTTP/ 1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / HTTPS/1.1\r\nHost: a\r\n\r\n", "400 Version"),
        ("GET / ICY/1.1\r\nHost: a\r\n\r\n", "400 Version"),
    ]);
}

#[test]
fn the_http_2_preface_is_told_apart_and_left_in_the_buffer() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut buf = BytesMut::from(&preface[..]);
    let error = parse_request(&mut buf, &HeadLimits::default(), &mut ParseState::default()).unwrap_err();
    assert_eq!(error, RequestError::Http2Preface);
    assert_eq!(buf, &preface[..]);
    assert_eq!(verdict(preface), "505 Http2Preface");
    assert_eq!(verdict(b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n"), "400 AsteriskForm");
}

#[test]
fn a_target_has_one_of_four_forms() {
    check(&[
        (
            "GET /a/b;c=1/%2e?x=y&z=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /a/b;c=1/%2e?x=y&z=%20 HTTP/1.1 None",
        ),
        ("GET //a HTTP/1.1\r\nHost: a\r\n\r\n", "GET //a HTTP/1.1 None"),
        ("GET /a|[b]{c}^\"~ HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a|[b]{c}^\\\"~ HTTP/1.1 None"),
        ("GET /?a\\b`{}| HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?a\\\\b`{}| HTTP/1.1 None"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /a?b#c HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /?<a> HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET /?\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET http+evil://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1 None"),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", "400 AsteriskForm"),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetForm"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:443 HTTP/1.1 None"),
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400 AuthorityForm"),
        ("CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", "400 AuthorityForm"),
        ("CONNECT u@a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "400 AuthorityForm"),
    ]);
}

#[test]
fn an_absolute_target_agrees_with_host() {
    check(&[
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://a/x HTTP/1.1 None"),
        ("GET HTTP://A:80/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET HTTP://A:80/x HTTP/1.1 None"),
        ("GET https://a/x HTTP/1.1\r\nHost: a:443\r\n\r\n", "GET https://a/x HTTP/1.1 None"),
        ("GET http://a/x HTTP/1.0\r\n\r\n", "GET http://a/x HTTP/1.0 None close"),
        ("GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n", "400 HostMismatch"),
        ("GET http://a:8080/x HTTP/1.1\r\nHost: a\r\n\r\n", "400 HostMismatch"),
        ("GET http://a/x HTTP/1.1\r\nHost: a:443\r\n\r\n", "400 HostMismatch"),
        ("GET http://a/x HTTP/1.1\r\n\r\n", "400 HostMissing"),
        ("GET http://u:p@a/x HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("GET http://a:x/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("GET http://a\\b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetAuthority"),
        ("GET http://a/#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
        ("GET http://a#b HTTP/1.1\r\nHost: a\r\n\r\n", "400 TargetByte"),
    ]);
}

#[test]
fn the_parts_of_a_target_are_slices_of_it() {
    for (line, form, authority, path, query, forwarded) in [
        ("GET /a/b?c=d?e", TargetForm::Origin, None, "/a/b", Some("c=d?e"), "/a/b?c=d?e"),
        ("GET /?", TargetForm::Origin, None, "/", Some(""), "/?"),
        ("GET http://a/p?q", TargetForm::Absolute { https: false }, Some("a"), "/p", Some("q"), "/p?q"),
        ("GET https://a", TargetForm::Absolute { https: true }, Some("a"), "/", None, "/"),
        ("GET http://a?q", TargetForm::Absolute { https: false }, Some("a"), "/", Some("q"), "/?q"),
        ("OPTIONS *", TargetForm::Asterisk, None, "*", None, "*"),
    ] {
        let bytes = format!("{line} HTTP/1.0\r\n\r\n");
        let target = request(bytes.as_bytes()).unwrap().unwrap().target;
        assert_eq!(target.form(), form, "{line}");
        assert_eq!(target.authority(), authority.map(str::as_bytes), "{line}");
        assert_eq!(target.path(), path.as_bytes(), "{line}");
        assert_eq!(target.query(), query.map(str::as_bytes), "{line}");
        assert_eq!(target.path_and_query(), forwarded, "{line}");
        assert_eq!(target.to_uri().unwrap().to_string(), forwarded, "{line}");
    }
}

#[test]
fn every_target_that_is_taken_is_also_a_uri() {
    for byte in 0..=255 {
        for target in [[b'/', byte, b'x', b'x'], [b'/', b'?', byte, b'x']] {
            let bytes = [b"GET ", &target[..], b" HTTP/1.0\r\n\r\n"].concat();
            if let Ok(Some(head)) = request(&bytes) {
                assert_eq!(head.target.to_uri().unwrap().to_string().as_bytes(), target);
            }
        }
    }
}

#[test]
fn http_1_1_has_exactly_one_host_and_it_names_one_host() {
    check(&[
        ("GET / HTTP/1.1\r\n\r\n", "400 HostMissing"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400 HostTwice"),
        ("GET / HTTP/1.1\r\nhOST: a\r\nX: y\r\nHOSt: b\r\n\r\n", "400 HostTwice"),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "400 HostTwice"),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost: caf\u{e9}\r\n\r\n", "400 Host"),
        ("GET / HTTP/1.1\r\nHost:\ta:80 \r\n\r\n", "GET / HTTP/1.1 None"),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "GET / HTTP/1.1 None"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 SpaceBeforeColon"),
        ("GET / HTTP/1.1\r\nH\u{f6}st: a\r\n\r\n", "400 FieldName"),
        ("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n", "400 HostMissing"),
    ]);
}

#[test]
fn one_empty_line_ahead_of_a_request_is_ignored() {
    check(&[
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1 None"),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 EmptyLines"),
        ("\r\n", "incomplete"),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 BareLineFeed"),
        ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 BareCarriageReturn"),
        ("   \r\n\r\n", "400 Method"),
    ]);
    let twice = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(serve_however_cut(twice).len(), 4);
}

#[test]
fn limits_are_refused_with_the_status_that_says_which() {
    let verdict = |bytes: String| verdict(bytes.as_bytes());
    let path = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length));
    assert!(verdict(path(7900)).starts_with("GET /a"));
    assert!(verdict(path(16 * 1024 - 14)).starts_with("GET /a"));
    assert_eq!(verdict(path(16 * 1024 - 13)), "414 RequestLineTooLong");
    assert_eq!(verdict(path(100_000)), "414 RequestLineTooLong");

    let fields = |count: usize| {
        let lines: String = (0..count).map(|i| format!("X-{i}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    assert_eq!(verdict(fields(127)), "GET / HTTP/1.1 None");
    assert_eq!(verdict(fields(128)), "431 TooManyFields");

    let value = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length));
    assert_eq!(verdict(value(64 * 1024 - 32)), "GET / HTTP/1.1 None");
    assert_eq!(verdict(value(64 * 1024 - 31)), "431 TooLarge");
    assert_eq!(verdict(format!("GET / HTTP/1.1\r\n{}: y\r\n\r\n", "A".repeat(100_000))), "431 TooLarge");
}

#[test]
fn of_two_faults_the_first_in_the_bytes_is_told() {
    let limits = HeadLimits { max_line_bytes: 70, ..HeadLimits::default() };
    for (bytes, expected) in [
        (format!("A\n{}", "\0".repeat(70)), "BareLineFeed"),
        (format!("A {}\n", "x".repeat(70)), "RequestLineTooLong"),
        (format!("A {}\n", "x".repeat(10)), "BareLineFeed"),
        ("A / HTTP/3.0\r\nX\n".to_owned(), "UnsupportedVersion"),
        (format!("A / HTTP/3.0\r\n{}", "x".repeat(70_000)), "UnsupportedVersion"),
    ] {
        let refused = |events: Vec<Event>| match events.as_slice() {
            [Event::Refused(_, name)] => name.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(serve([bytes.as_bytes()], &limits)), expected);
        assert_eq!(refused(serve(bytes.as_bytes().chunks(1), &limits)), expected);
    }
}

#[test]
fn limits_can_be_beyond_what_a_header_map_holds() {
    let limits = HeadLimits {
        max_fields: usize::MAX,
        max_head_bytes: usize::MAX,
        max_line_bytes: usize::MAX,
        max_empty_lines: 255,
    };
    let lines: String = (0..40_000).map(|i| format!("X-{i}: y\r\n")).collect();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let events = serve([bytes.as_bytes()], &limits);
    assert_eq!(events, [Event::Refused(431, "TooManyFields".into())]);
}

#[test]
fn pipelined_requests_are_read_one_after_the_other() {
    let bytes = b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none\
        POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n\
        GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n\
        GET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    let events = serve_however_cut(bytes);
    let heads: Vec<_> = events.iter().filter(|event| matches!(event, Event::Head(..))).collect();
    assert_eq!(heads.len(), 3, "nothing is read behind close: {events:?}");
    assert!(events.contains(&Event::Data(b"one".to_vec())) && events.contains(&Event::Data(b"two".to_vec())));
}

#[test]
fn every_error_says_what_to_do_and_has_a_code_of_the_contract() {
    for (bytes, code, sentence) in [
        ("GET / HTTP/1.1\r\n\r\n", "bad_request", "there is no Host header"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nBad[\u{1b}: x\r\n\r\n",
            "bad_request",
            "\"Bad[\\x1b\" is not a header name",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
            "bad_request",
            "the Host header has a port that is not a number below 65536",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br\r\n\r\n",
            "not_implemented",
            "the transfer coding \"br\" is not implemented; only \"chunked\" is",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: it\r\n\r\n",
            "expectation_failed",
            "the expectation \"it\" cannot be met; only 100-continue can",
        ),
        ("GET / HTTP/3.0\r\n", "bad_request", "\"HTTP/3.0\" is not supported; use HTTP/1.1"),
    ] {
        let error = request(bytes.as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, sentence));
    }
}
