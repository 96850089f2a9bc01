//! HTTP/1 requests that two parsers could read differently, or that mean nothing: exact bytes in, one refusal out,
//! the connection closed, and nothing at the backend (RFC 9112 §2.2, §3, §5, §6, §11; RFC 9110 §5, §7.2).

use lb_testkit::Backend;

use crate::support::{gateway, rule};

/// What follows each refused request: if it is answered too, the connection went on.
const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// One test a row: `name: bytes => statuses`. Where the head itself is wrong the backend must hear nothing at all.
macro_rules! refused {
    ($($name:ident: $bytes:expr => [$($status:literal),+];)+) => {
        $(
            #[test]
            fn $name() {
                check(AsRef::<[u8]>::as_ref($bytes), &[$($status),+], Heard::Nothing);
            }
        )+
    };
}

/// The same where the body is wrong: its head may have been forwarded, a whole request may not.
macro_rules! refused_bodies {
    ($($name:ident: $bytes:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
                check(&[head.as_bytes(), AsRef::<[u8]>::as_ref($bytes)].concat(), &[400], Heard::NoWholeRequest);
            }
        )+
    };
}

#[derive(Clone, Copy, PartialEq)]
enum Heard {
    Nothing,
    NoWholeRequest,
}

#[track_caller]
fn check(bytes: &[u8], statuses: &[u16], heard: Heard) {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let answer = gateway.raw([bytes, NEXT.as_bytes()].concat());
    let answer = String::from_utf8_lossy(&answer);
    let status: Option<u16> = answer.get(9..12).and_then(|status| status.parse().ok());
    assert!(status.is_some_and(|status| statuses.contains(&status)), "not {statuses:?}: {answer:?}");
    let digit = |rest: &&str| rest.starts_with(|first: char| first.is_ascii_digit());
    assert_eq!(
        answer.split("HTTP/1.1 ").skip(1).filter(digit).count(),
        1,
        "one refusal and no more: {answer:?}"
    );
    assert_eq!(backend.hits(), 0, "the backend was sent a request");
    if heard == Heard::Nothing {
        assert_eq!(backend.bytes_received(), 0, "the backend was sent something");
    }
    assert_eq!(gateway.get("/").status, 200, "others are served as before");
}

refused! {
    two_content_lengths: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello" => [400];
    a_list_of_different_content_lengths: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello" => [400];
    a_signed_content_length: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello" => [400];
    a_negative_content_length: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello" => [400];
    a_hexadecimal_content_length: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello" => [400];
    a_content_length_with_a_space: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nhello" => [400];
    an_empty_content_length: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \r\n\r\n" => [400];
    a_content_length_beyond_64_bits:
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551617\r\n\r\nh" => [400, 413];

    content_length_before_transfer_encoding:
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" => [400];
    transfer_encoding_before_content_length:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" => [400];
    content_length_zero_with_transfer_encoding:
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" => [400];
    an_unknown_coding: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nhello" => [501];
    an_unknown_coding_before_chunked:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" => [501];
    an_obfuscated_chunked: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" => [400, 501];
    chunked_that_is_not_last:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" => [400, 501];
    chunked_twice_in_a_list:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" => [400, 501];
    chunked_twice_in_two_fields:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        => [400, 501];
    chunked_beside_an_unknown_field:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n"
        => [400, 501];
    identity_coding: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello"
        => [400, 501];
    an_empty_coding: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \r\nContent-Length: 5\r\n\r\nhello" => [400, 501];
    a_vertical_tab_before_chunked:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" => [400, 501];
    a_quoted_chunked: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" => [400, 501];
    transfer_encoding_in_http_1_0:
        "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" => [400];

    bare_lf_after_the_request_line: "GET / HTTP/1.1\nHost: x\r\n\r\n" => [400];
    bare_lf_after_a_field: "GET / HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n" => [400];
    bare_lf_at_the_end_of_the_head: "GET / HTTP/1.1\r\nHost: x\r\n\n" => [400];
    bare_cr_in_a_value: "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n" => [400];
    bare_cr_in_the_request_line: "GET /\r HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_space_before_the_colon: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello" => [400];
    a_tab_before_the_colon: "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n" => [400];
    a_folded_line: "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n" => [400];
    a_folded_transfer_encoding:
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" => [400];
    a_space_before_the_first_field: "GET / HTTP/1.1\r\n Host: x\r\n\r\n" => [400];
    a_field_without_a_colon: "GET / HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n" => [400];
    an_empty_field_name: "GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n" => [400];
    a_field_name_that_is_no_token: "GET / HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n" => [400];
    nul_in_a_value: "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n" => [400];
    nul_in_a_name: "GET / HTTP/1.1\r\nHost: x\r\nX\0A: b\r\n\r\n" => [400];
    a_control_character_in_a_value: "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\x01c\r\n\r\n" => [400];

    no_host: "GET / HTTP/1.1\r\n\r\n" => [400];
    two_hosts: "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" => [400];
    two_equal_hosts: "GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n" => [400];
    an_empty_host: "GET / HTTP/1.1\r\nHost: \r\n\r\n" => [400];
    a_comma_in_the_host: "GET / HTTP/1.1\r\nHost: x,y\r\n\r\n" => [400];
    userinfo_in_the_host: "GET / HTTP/1.1\r\nHost: user@x\r\n\r\n" => [400];
    a_path_in_the_host: "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n" => [400];
    a_space_in_the_host: "GET / HTTP/1.1\r\nHost: x y\r\n\r\n" => [400];
    a_query_in_the_host: "GET / HTTP/1.1\r\nHost: x?y\r\n\r\n" => [400];
    a_port_that_is_no_number: "GET / HTTP/1.1\r\nHost: x:http\r\n\r\n" => [400];
    a_port_beyond_16_bits: "GET / HTTP/1.1\r\nHost: x:65536\r\n\r\n" => [400];
    an_open_bracket_in_the_host: "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n" => [400];
    a_bad_host_beside_an_absolute_target: "GET http://x/ HTTP/1.1\r\nHost: x,y\r\n\r\n" => [400];

    a_star_for_another_method_than_options: "GET * HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_target_without_a_slash: "GET a/b HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_fragment_in_the_target: "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_non_ascii_target: "GET /caf\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_target_that_is_not_utf_8: b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_space_in_the_target: "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    nul_in_the_target: "GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    userinfo_in_an_absolute_target: "GET http://u:p@x/ HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_method_that_is_no_token: "GE(T / HTTP/1.1\r\nHost: x\r\n\r\n" => [400];
    a_method_in_lower_case: "get / HTTP/1.1\r\nHost: x\r\n\r\n" => [400, 405, 501];
    no_version: "GET /\r\nHost: x\r\n\r\n" => [400];
    an_unknown_version: "GET / HTTP/1.9x\r\nHost: x\r\n\r\n" => [400, 505];
    a_lower_case_version: "GET / http/1.1\r\nHost: x\r\n\r\n" => [400, 505];
    a_version_to_come: "GET / HTTP/3.0\r\nHost: x\r\n\r\n" => [400, 505];
    no_http_at_all: "\u{16}\u{3}\u{1}\u{2}\r\n\r\n" => [400];

    a_field_of_64_kib: &format!("GET / HTTP/1.1\r\nHost: x\r\nX-A: {}\r\n\r\n", "b".repeat(64 << 10)) => [431];
    a_thousand_fields: &format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(1000)) => [431];
    a_target_of_64_kib: &format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "b".repeat(64 << 10)) => [414, 431];
}

refused_bodies! {
    a_chunk_size_that_is_no_number: "xyz\r\nabc\r\n0\r\n\r\n";
    a_negative_chunk_size: "-3\r\nabc\r\n0\r\n\r\n";
    a_signed_chunk_size: "+3\r\nabc\r\n0\r\n\r\n";
    a_prefixed_chunk_size: "0x3\r\nabc\r\n0\r\n\r\n";
    an_empty_chunk_size: "\r\nabc\r\n0\r\n\r\n";
    a_chunk_size_beyond_64_bits: "10000000000000003\r\nabc\r\n0\r\n\r\n";
    a_space_before_the_chunk_size: " 3\r\nabc\r\n0\r\n\r\n";
    a_chunk_longer_than_its_size: "3\r\nabcdef\r\n0\r\n\r\n";
    bare_lf_after_a_chunk_size: "3\nabc\r\n0\r\n\r\n";
    bare_lf_after_a_chunk: "3\r\nabc\n0\r\n\r\n";
    bare_lf_in_a_chunk_extension: "3;a\nb\r\nabc\r\n0\r\n\r\n";
    bare_lf_after_the_last_chunk: "3\r\nabc\r\n0\n\r\n";
    a_trailer_without_a_colon: "3\r\nabc\r\n0\r\nX-A\r\n\r\n";
}

#[test]
fn repeated_equal_content_lengths_are_refused_or_become_one() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for field in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5"] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\nhello"));
        let response = client.response();
        if response.status != 400 {
            assert_eq!(response.json()["body"], "hello");
            assert_eq!(backend.requests().last().unwrap().headers("content-length"), ["5"]);
        }
    }
}

#[test]
fn hosts_that_are_fit_pass() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for host in
        ["x", "X.Example:80", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a-b.c_d.example", "xn--caf-dma.fr"]
    {
        assert_eq!(gateway.fetch("GET", "/", &[("Host", host)]).status, 200, "{host}");
    }
}

#[test]
fn an_underscore_alias_of_a_framing_field_reaches_nobody() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let fields = [("Content_Length", "5"), ("Transfer_Encoding", "chunked")];
    let response = gateway.fetch("GET", "/", &fields);
    assert_eq!(response.status, 200);
    assert!(!response.text().to_lowercase().contains("transfer_encoding"), "{}", response.text());
}
