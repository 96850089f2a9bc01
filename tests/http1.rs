//! HTTP/1 messages, right ones, byte by byte: framing, persistence, interim answers, ends (RFC 9112, RFC 9110).

use std::time::Duration;

use lb_testkit::{Backend, Framing, Gate, PATIENCE, eventually};

use crate::support::{echoed, gateway, rule};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_connection_is_kept_until_one_side_says_close() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").status, 200);
    }
    let last = client.request("GET", "/", &[("Connection", "close")]);
    assert_eq!((last.status, last.header("connection")), (200, Some("close")));
    assert!(client.closes_within(PATIENCE));
    assert_eq!(backend.accepted(), 1, "and so is the backend's");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc\
         GET /3 HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    for (target, body) in [("/1", ""), ("/2", "abc"), ("/3", "")] {
        let seen = client.response().json();
        assert_eq!((&seen["target"], &seen["body"]), (&target.into(), &body.into()));
    }
}

#[test]
fn a_request_may_come_a_byte_at_a_time_after_an_empty_line() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for byte in b"\r\nPOST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n" {
        client.send([*byte]);
    }
    assert_eq!(client.response().json()["body"], "ab");
}

#[test]
fn a_chunked_request_arrives_whole_whatever_its_chunks() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n\
         5;name=value\r\nhello\r\n00B\r\n, wide worl\r\n1;a;b=\"c\"\r\nd\r\n000\r\n\r\n",
    );
    let response = client.response();
    assert_eq!(response.json()["body"], "hello, wide world");
    assert!(!response.text().contains("name=value"), "chunk extensions are for one hop");
    assert_eq!(client.get("/").status, 200, "the next request begins where it should");
}

#[test]
fn bodies_with_a_length_keep_it_in_both_directions() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    let body = "x".repeat(200_000);
    client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let response = client.response();
    assert_eq!(echoed(&response, "content-length"), ["200000"]);
    assert_eq!(echoed(&response, "transfer-encoding"), Vec::<String>::new());
    assert_eq!(response.json()["body"], body);
    assert!(matches!(response.framing, Framing::Length(_)));
}

#[test]
fn a_request_without_a_body_is_forwarded_without_framing() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let response = gateway.get("/");
    assert_eq!(echoed(&response, "transfer-encoding"), Vec::<String>::new());
    assert!(matches!(echoed(&response, "content-length").join(",").as_str(), "" | "0"));
    let response = gateway.fetch("POST", "/", &[("Content-Length", "0")]);
    assert_eq!(echoed(&response, "content-length"), ["0"], "a POST says that there is none");
}

#[test]
fn trailers_pass_both_ways() {
    let backend = Backend::scripted(|conn| {
        while conn.request().is_some() {
            conn.reply(
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Sum: 99\r\n\r\n",
            );
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: TE\r\nTrailer: X-Check\r\n\
         Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Check: 42\r\nContent-Length: 7\r\nHost: evil\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.text().as_str(), response.framing), ("abc", Framing::Chunked));
    assert_eq!(response.trailers, [("x-sum".to_owned(), "99".to_owned())].map(lower_name));
    let request = &backend.requests()[0];
    let names: Vec<_> = request.trailers.iter().map(|(name, _)| name.to_lowercase()).collect();
    assert_eq!(names, ["x-check"], "what frames or routes has no place among trailers");
    assert_eq!(client.get("/").status, 200);
}

fn lower_name((name, value): (String, String)) -> (String, String) {
    (name.to_lowercase(), value)
}

#[test]
fn head_is_answered_with_the_fields_alone() {
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request() {
            let framing = match request.target.as_str() {
                "/length" => "Content-Length: 12345\r\n",
                "/chunked" => "Transfer-Encoding: chunked\r\n",
                _ => "",
            };
            conn.reply(format!("HTTP/1.1 200 OK\r\nX-Seen: {}\r\n{framing}\r\n", request.method));
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for (target, length) in [("/length", Some("12345")), ("/chunked", None), ("/none", None)] {
        let response = client.request("HEAD", target, &[]);
        assert_eq!((response.status, response.header("x-seen")), (200, Some("HEAD")), "{target}");
        assert_eq!(response.header("content-length"), length, "{target}");
    }
    assert_eq!(backend.accepted(), 1, "no answer to HEAD ends with its connection");
}

#[test]
fn answers_204_and_304_have_no_body() {
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request() {
            conn.reply(match request.target.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
                _ => "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
            });
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/204");
        assert_eq!((response.status, response.header("x-a")), (204, Some("1")));
        assert_eq!((response.header("content-length"), response.header("transfer-encoding")), (None, None));
        let response = client.get("/304");
        assert_eq!((response.status, response.header("etag")), (304, Some("\"x\"")));
        assert_eq!(response.header("transfer-encoding"), None);
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn an_answer_that_ends_with_its_connection_arrives_whole() {
    let backend = Backend::close_delimited("until the end");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "until the end"));
        assert_eq!(response.framing, Framing::Chunked, "its end is known to our client");
    }
}

#[test]
fn a_http_1_0_backend_serves_1_1_clients() {
    let backend = Backend::http10("old but good");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!((response.version.as_str(), response.status), ("HTTP/1.1", 200));
        assert_eq!(response.text(), "old but good");
    }
    assert_eq!(backend.accepted(), 3, "it closes each time");
    assert!(backend.requests().iter().all(|request| request.version == "HTTP/1.1"));
}

#[test]
fn a_http_1_0_client_gets_what_it_can_read() {
    let chunked =
        Backend::fixed("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let gateway = gateway(&rule("", &[&chunked]));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    let response = client.response();
    assert_eq!((response.header("transfer-encoding"), response.text().as_str()), (None, "abc"));
    assert!(client.closes_within(PATIENCE), "it did not ask to keep the connection");
    let seen = &chunked.requests()[0];
    assert_eq!((seen.version.as_str(), seen.headers("host")), ("HTTP/1.1", vec!["x"]));
}

/// Its framing is the end of the connection, so that one in the middle of the answer must not look like it.
#[test]
fn a_http_1_0_client_is_reset_where_its_answer_breaks_off() {
    let broken = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").ok();
        std::thread::sleep(Duration::from_millis(50));
    });
    let gateway = gateway(&rule("passive = false", &[&broken]));
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    let end = std::io::Read::read_to_end(&mut client.stream(), &mut Vec::new());
    assert_eq!(end.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
}

#[test]
fn a_http_1_0_client_may_keep_its_connection_and_may_have_no_host() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let response = client.response();
        assert_eq!(echoed(&response, "host").len(), 1, "the backend's 1.1 demands one");
        assert_eq!(response.header("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn interim_answers_of_a_backend_are_not_taken_for_the_answer() {
    let backend = Backend::fixed(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal",
    );
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send(GET);
        let mut response = client.response();
        while response.status < 200 {
            assert_ne!(response.status, 100, "nobody asked to continue");
            response = client.response();
        }
        assert_eq!((response.status, response.text().as_str()), (200, "final"));
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_client_that_expects_100_continue_gets_it_before_its_body() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-Continue\r\n\r\n");
        assert_eq!(client.response().status, 100);
        client.send("body");
        assert_eq!(client.response().json()["body"], "body");
    }
}

#[test]
fn nobody_is_asked_to_continue_in_vain() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("path_prefix = \"/a\"", &[&backend]));
    let mut client = gateway.client();
    client.send("POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 404, "the answer is known without the body");
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody");
    let response = client.response();
    let response = if response.status == 100 { client.response() } else { response };
    assert_eq!(response.json()["body"], "body", "a client need not wait for 100");
    let mut client = gateway.client();
    client.send("POST /a HTTP/1.0\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody");
    assert_eq!(client.response().status, 200, "HTTP/1.0 knows no 100");
}

#[test]
fn any_other_expectation_fails_with_417() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let response = gateway.fetch("GET", "/", &[("Expect", "a-pony")]);
    assert_eq!((response.status, response.problem().as_str()), (417, "expectation_failed"));
    assert_eq!(backend.bytes_received(), 0);
}

#[test]
fn every_answer_has_one_date() {
    let undated = Backend::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let dated = Backend::fixed(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n"));
    let gateway = gateway(&format!(
        "{}{}",
        rule("path = \"/undated\"", &[&undated]),
        rule("path = \"/dated\"", &[&dated])
    ));
    // RFC 9110 §6.6.1: who forwards an answer without a Date appends the time of its arrival.
    assert_eq!(gateway.get("/undated").headers("date").len(), 1);
    assert_eq!(gateway.get("/dated").headers("date"), [date]);
    assert_eq!(gateway.get("/none").headers("date").len(), 1);
}

#[test]
fn methods_unknown_to_us_pass() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for method in ["OPTIONS", "PATCH", "PROPFIND", "M-SEARCH", "X"] {
        assert_eq!(gateway.fetch(method, "/", &[]).json()["method"], method);
    }
}

#[test]
fn connect_is_405_without_a_forward_proxy() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
    let response = client.response();
    assert_eq!((response.status, response.problem().as_str()), (405, "method_not_allowed"));
    assert_eq!(backend.bytes_received(), 0);
}

#[test]
fn an_upload_reaches_the_backend_while_it_is_sent() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for (framing, pieces) in [
        ("Content-Length: 8", ["1234", "5678"]),
        ("Transfer-Encoding: chunked", ["4\r\n1234\r\n", "4\r\n5678\r\n0\r\n\r\n"]),
    ] {
        let before = backend.bytes_received();
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n{}", pieces[0]));
        eventually("the first piece arrives", PATIENCE, || backend.bytes_received() > before + 100);
        client.send(pieces[1]);
        assert_eq!(client.response().json()["body"], "12345678");
    }
}

#[test]
fn an_early_answer_reaches_a_client_that_still_uploads() {
    let backend = Backend::scripted(|conn| {
        conn.request_head();
        conn.reply("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop");
        conn.wait_for_close();
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nsome of it");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "stop"));
    client.try_send("more").ok();
    assert!(client.closes_within(PATIENCE), "the rest of the upload cannot be told from a next request");
    eventually("nor is the backend's connection used again", PATIENCE, || backend.open_connections() == 0);
    assert_eq!(gateway.fetch("POST", "/", &[("Content-Length", "0")]).status, 413);
}

#[test]
fn a_backend_that_answers_and_closes_without_reading_the_upload_is_heard() {
    let backend = Backend::scripted(|conn| {
        conn.request_head();
        conn.reply("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        std::thread::sleep(Duration::from_millis(100));
    });
    let gateway = gateway(&rule("", &[&backend]));
    for _ in 0..5 {
        let mut client = gateway.client();
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
        client.try_send(vec![b'x'; 20_000]).ok();
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (401, "no"));
    }
}

#[test]
fn a_connection_whose_backend_has_not_taken_all_of_an_upload_is_not_used_again() {
    let backend = Backend::scripted(|conn| {
        conn.request_head();
        conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        conn.wait_for_close();
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    // More than sockets hold on the way, so that the end of it is still with the gateway.
    let length = 64 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"));
    let sender = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let mut sender = sender;
        std::io::Write::write_all(&mut sender, &vec![b'x'; length]).ok();
    });
    assert_eq!(client.response().text(), "ok");
    drop(client);
    sending.join().unwrap();
    eventually("the backend's connection is closed", PATIENCE, || backend.open_connections() == 0);
}

/// Bytes of which no stretch looks like another one nearby.
fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn long_bodies_pass_byte_for_byte_and_leave_what_follows_them() {
    const LONG: usize = 3_000_001;
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request_head() {
            let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
            let body = conn.read_exact(length).unwrap();
            assert!(body == pattern(length), "an upload arrived changed");
            conn.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n"));
            conn.reply(pattern(LONG));
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for round in 0..3 {
        let mut upload = pattern(LONG + round);
        let head = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", upload.len());
        upload.splice(0..0, head.into_bytes());
        // Two requests on the heels of one another: the second begins right behind the first one's body.
        upload.extend_from_slice(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.send(upload);
        for _ in 0..2 {
            assert!(client.response().body == pattern(LONG), "an answer arrived changed");
        }
    }
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_client_that_hangs_up_while_it_waits_frees_the_backend() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let gateway = gateway(&rule("", &[&backend]));
    let wait = || eventually("the backend is busy", PATIENCE, || gate.waiting() == 1);
    // The backend's script is busy, so its socket is asked.
    let freed = |how: &str| eventually(how, PATIENCE, || backend.connections_closed_by_peer() > 0);
    let mut client = gateway.client();
    client.send(GET);
    wait();
    client.finish();
    freed("a FIN is an abort");
    gate.admit(1);
    eventually("the backend is idle", PATIENCE, || backend.open_connections() == 0);

    let mut client = gateway.client();
    client.send(GET);
    wait();
    client.into_wire().reset();
    freed("a reset is one");
    gate.admit(1);
}

#[test]
fn a_client_that_hangs_up_in_an_endless_answer_frees_the_backend() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
        while conn.try_send("5\r\nevent\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    for reset in [false, true] {
        let mut client = gateway.client();
        client.send(GET);
        assert_eq!(client.response_head("GET").unwrap().status, 200);
        if reset {
            client.into_wire().reset();
        } else {
            drop(client);
        }
        eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
    }
}

#[test]
fn a_client_that_hangs_up_in_its_upload_does_not_look_finished() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    for upload in ["Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: x\r\n{upload}"));
        eventually("it arrives", PATIENCE, || backend.open_connections() == 1);
        drop(client);
        eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
    }
    assert_eq!(backend.hits(), 0, "no whole request was made of half a one");
}
