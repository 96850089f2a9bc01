//! Backends that attack: answers that two parsers could read differently, answers without end, tunnels that nobody asked
//! for. The client must get 502 or see that the answer broke off, and the connection must not be used again. What merely
//! fails is in `failure.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lb_testkit::{Backend, PATIENCE, eventually};

use crate::support::{gateway, rule};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
/// How much a process may grow while a backend sends without end.
const BOUND: u64 = 24 << 20;

/// Each answer, followed by another one, is 502; nobody ever sees the other.
#[track_caller]
fn malformed(answers: impl IntoIterator<Item = impl AsRef<str>>) {
    let answers: Vec<String> = answers.into_iter().map(|answer| answer.as_ref().to_owned()).collect();
    let count = answers.len();
    let backend = Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let number: usize = request.target[1..].parse().unwrap();
            conn.reply(format!("{}{EVIL}", answers[number]));
        }
    });
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    for number in 0..count {
        let response = gateway.get(&format!("/{number}"));
        assert_eq!(
            (response.status, response.problem().as_str()),
            (502, "upstream_reset"),
            "answer {number}"
        );
    }
    eventually("no such connection is kept", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn resp_cl_te_an_answer_with_two_framings_is_502() {
    let framings = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: 5 5",
        "Content-Length:",
        "Content-Length: 18446744073709551621",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding:",
        "Connection: Content-Length\r\nContent-Length: 5\nX: y",
    ];
    malformed(framings.map(|framing| format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n0\r\n\r\n")));
    malformed(["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]);
}

#[test]
fn an_answer_whose_head_two_parsers_read_differently_is_502() {
    malformed([
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX(: a\r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.10 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n",
        "HTTP/1.1 099 X\r\n\r\n",
    ]);
}

#[test]
fn resp_101_unasked_no_tunnel_starts_that_nobody_asked_for() {
    let backend = Backend::fixed(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n{EVIL}"
    ));
    let gateway = gateway(&rule("", &[&backend]));
    for fields in [
        &[][..],
        &[("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABk")],
    ] {
        assert_eq!(gateway.fetch("GET", "/", fields).status, 502);
    }
}

#[test]
fn resp_101_unasked_200_to_an_upgrade_is_an_answer_and_no_tunnel() {
    let backend = Backend::fixed("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    let upgrade = "GET /1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    // What follows is a request: it is parsed, routed and logged as one.
    client.send(format!("{upgrade}GET /2 HTTP/1.1\r\nHost: x\r\n\r\nBAD\r\n\r\n"));
    assert_eq!((client.response().text(), client.response().text()), ("ok".to_owned(), "ok".to_owned()));
    assert_eq!(client.response().status, 400);
    assert_eq!(backend.hits(), 2);
}

#[test]
fn resp_1xx_flood_interim_answers_are_bounded_and_have_no_body() {
    let flood = |status: &'static str| {
        move |conn: &mut lb_testkit::Conn| {
            while conn.request().is_some() {
                let interim = format!("HTTP/1.1 {status}\r\nLink: </{}>\r\n\r\n", "x".repeat(1000));
                while conn.try_send(&interim).is_ok() {}
            }
        }
    };
    for status in ["103 Early Hints", "102 Processing", "100 Continue", "199 X"] {
        let backend = Backend::scripted(flood(status));
        let gateway = gateway(&rule("", &[&backend]));
        let before = gateway.resident_bytes();
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let last = (0..1000).map(|_| client.response()).find(|response| response.status >= 200);
        assert_eq!(last.map(|response| response.status), Some(502), "{status}");
        assert!(gateway.resident_bytes() < before + BOUND);
    }
    // A body behind one is the beginning of something that is no answer.
    malformed(["HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nEVIL", "HTTP/1.1 102 X\r\n\r\n\r\n"]);
}

#[test]
fn resp_header_flood_heads_and_trailers_without_end_are_given_up() {
    for (what, begin, more) in [
        ("many fields", "HTTP/1.1 200 OK\r\n", "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
        ("a field line without end", "HTTP/1.1 200 OK\r\nX: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("a status line without end", "HTTP/1.1 200 ", "OOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOOO"),
    ] {
        let backend = endless(begin, more);
        let gateway = gateway(&rule("", &[&backend]));
        let before = gateway.resident_bytes();
        let response = gateway.get("/");
        assert_eq!((response.status, response.problem().as_str()), (502, "upstream_reset"), "{what}");
        assert!(gateway.resident_bytes() < before + BOUND, "{what}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    for (what, begin, more) in [
        ("trailers", "0\r\n", "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
        ("a trailer without end", "0\r\nX: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("a chunk extension without end", "1;", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        ("chunk extensions", "1;a\r\nx\r\n", "1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n"),
        ("a chunk size without end", "0", "00000000000000000000000000000000000000000000000000"),
    ] {
        let backend = endless(&format!("{chunked}{begin}"), more);
        let gateway = gateway(&rule("", &[&backend]));
        let before = gateway.resident_bytes();
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.try_response("GET").expect_err(what);
        assert!(gateway.resident_bytes() < before + BOUND, "{what}");
        eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
    }
}

/// Sends a beginning and then the same again and again.
fn endless(begin: &str, more: &str) -> Backend {
    let (begin, more) = (begin.to_owned(), more.repeat(200));
    Backend::scripted(move |conn| {
        conn.request();
        conn.try_send(&begin).ok();
        while conn.try_send(&more).is_ok() {}
    })
}

#[test]
fn resp_early_close_mid_body_a_broken_answer_never_ends_well() {
    for answer in [
        "Content-Length: 10\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nha",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nX: y\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n-1\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalfx\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n4\nhalf\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000004\r\nhalf\r\n0\r\n\r\n",
    ] {
        let backend = Backend::once(format!("HTTP/1.1 200 OK\r\n{answer}"));
        let gateway = gateway(&rule("", &[&backend]));
        let answer_seen = gateway.raw("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let text = String::from_utf8_lossy(&answer_seen);
        let looks_whole = text.starts_with("HTTP/1.1 200") && text.ends_with("0\r\n\r\n");
        assert!(!looks_whole, "{answer:?} became {text:?}");
    }
}

#[test]
fn what_a_backend_sends_before_it_is_asked_is_no_answer() {
    // On the connection's first breath, ahead of any request.
    let asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&asked);
    let backend = Backend::scripted(move |conn| {
        conn.try_send(EVIL).ok();
        seen.store(conn.request().is_some(), Ordering::SeqCst);
        conn.wait_for_close();
    });
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    // It may race the request on a new connection and then is an answer like any other; a second one never gets it.
    let first = gateway.get("/");
    assert!([200, 502].contains(&first.status));
    eventually("the connection is not kept", PATIENCE, || {
        backend.open_connections() == 0 || first.status == 200
    });
}

#[test]
fn an_answer_a_byte_at_a_time_arrives_whole() {
    let backend = Backend::scripted(|conn| {
        while conn.request().is_some() {
            let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                          5;ext\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
            for byte in answer.bytes() {
                conn.try_send([byte]).ok();
            }
            conn.reply("");
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut response = client.response();
        while response.status < 200 {
            response = client.response();
        }
        assert_eq!((response.text().as_str(), response.trailers.len()), ("hello", 1));
    }
    assert_eq!(backend.accepted(), 1);
}
