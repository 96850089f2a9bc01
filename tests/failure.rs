//! Backends that fail, each in its own way: the client gets an honest answer, others notice nothing, nothing is sent
//! twice, and a gateway told to end finishes what it began.

use std::time::{Duration, Instant};

use lb_testkit::{Backend, Gate, PATIENCE, Port, eventually};

use crate::support::{STATUS_LISTENER, gateway, rule, tally};

/// The codes a failed backend may be given by the contract, with 502.
const BAD_GATEWAY: [&str; 2] = ["connect_failed", "upstream_reset"];

/// While one rule's backend misbehaves, another rule's clients are served, and the failure is told as `status`.
#[track_caller]
fn check(misbehaving: &Backend, status: u16, codes: &[&str]) {
    let good = Backend::echo("good");
    let gateway = gateway(&format!(
        "[access_log]\nenabled = true\n{}{}",
        rule("name = \"bad\"\npath_prefix = \"/bad\"\ntimeout = \"700ms\"", &[misbehaving]),
        rule("name = \"good\"", &[&good])
    ));
    let mut other = gateway.client();
    std::thread::scope(|scope| {
        let failures = scope.spawn(|| (0..3).map(|_| gateway.get("/bad")).collect::<Vec<_>>());
        while !failures.is_finished() {
            assert_eq!(other.get("/").backend(), "good");
            std::thread::sleep(Duration::from_millis(1));
        }
        for response in failures.join().unwrap() {
            assert_eq!(response.status, status, "{}", response.text());
            assert!(codes.contains(&response.problem().as_str()), "{}", response.text());
            let port = misbehaving.address().port().to_string();
            assert!(!response.text().contains(&port), "the backend is named: {}", response.text());
        }
    });
    gateway
        .log_line("the failure is in the log", |line| line["rule"] == "bad" && line["status_code"] == status);
}

#[test]
fn a_backend_that_is_down_is_502() {
    let mut down = Backend::echo("down");
    down.stop();
    check(&down, 502, &["connect_failed"]);
}

#[test]
fn a_backend_that_resets_in_its_head_is_502() {
    check(&Backend::reset_mid_head(), 502, &["upstream_reset"]);
}

#[test]
fn a_backend_that_closes_without_a_word_is_502() {
    check(&Backend::once(""), 502, &["upstream_reset"]);
}

#[test]
fn a_backend_that_talks_garbage_is_502() {
    check(&Backend::garbage(), 502, &BAD_GATEWAY);
}

#[test]
fn a_backend_whose_head_has_no_end_is_502() {
    check(&Backend::endless_head(), 502, &BAD_GATEWAY);
}

#[test]
fn a_backend_that_stays_silent_is_504() {
    check(&Backend::silent(), 504, &["upstream_timeout"]);
}

#[test]
fn a_backend_that_is_too_slow_is_504() {
    check(&Backend::slow("slow", Duration::from_secs(3)), 504, &["upstream_timeout"]);
}

#[test]
fn ambiguous_framing_from_a_backend_is_502() {
    for framing in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: 5x",
        "Content-Length: 5\r\nTransfer-Encoding: gzip",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\nhello");
        check(&Backend::once(answer), 502, &BAD_GATEWAY);
    }
}

#[test]
fn switching_protocols_that_nobody_asked_for_is_502() {
    check(&Backend::once("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), 502, &BAD_GATEWAY);
}

#[test]
fn interim_answers_without_end_are_502_or_504() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        while conn.try_send("HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
    });
    let gateway = gateway(&rule("timeout = \"2s\"", &[&backend]));
    let response = gateway.get("/");
    let response = if response.status == 102 { skip_interim(&gateway) } else { response };
    assert!([502, 504].contains(&response.status), "{response:?}");
    assert!(gateway.resident_bytes() < 200 << 20);
}

fn skip_interim(gateway: &lb_testkit::Gateway) -> lb_testkit::Response {
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    (0..100_000).map(|_| client.response()).find(|response| response.status >= 200).unwrap()
}

#[test]
fn a_body_that_breaks_off_never_looks_complete() {
    for (answer, what) in [
        ("Content-Length: 10\r\n\r\nhalf", "short of its length"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "without a last chunk"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n", "with a broken chunk"),
    ] {
        let backend = Backend::once(format!("HTTP/1.1 200 OK\r\n{answer}"));
        let gateway = gateway(&rule("", &[&backend]));
        let mut client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        let outcome = client.try_response("GET");
        match outcome {
            Ok(response) => assert_eq!(response.status, 502, "{what}: {response:?}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::InvalidData, "{what}: {error}"),
        }
    }
}

#[test]
fn bytes_after_an_answer_never_reach_the_next_client() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL";
    let backend = Backend::fixed(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK{evil}"));
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "OK");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(backend.accepted(), 5, "such a connection is not used again");
}

#[test]
fn an_answer_nobody_asked_for_is_thrown_away() {
    let backend = Backend::scripted(|conn| {
        while conn.request().is_some() {
            conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
            std::thread::sleep(Duration::from_millis(50));
            conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL").ok();
        }
    });
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").text(), "OK");
        std::thread::sleep(Duration::from_millis(150));
    }
}

#[test]
fn body_bytes_where_no_body_may_be_are_not_forwarded() {
    let backend = Backend::scripted(|conn| {
        while let Some(request) = conn.request() {
            conn.reply(match request.target.as_str() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\nEVIL",
                "/304" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nEVIL",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
            });
        }
    });
    let gateway = gateway(&format!("[server]\nworkers = 1\n{}", rule("", &[&backend])));
    let mut client = gateway.client();
    for (method, target, status) in [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/head", 200)] {
        let response = client.request(method, target, &[]);
        assert_eq!((response.status, response.body.len()), (status, 0), "{target}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.get("/plain").text(), "EVIL", "here it is the body");
}

#[test]
fn a_backend_that_does_not_accept_is_passed_over() {
    let [a, mut b, c] = ["a", "b", "c"].map(Backend::echo);
    b.stop();
    let gateway = gateway(&rule("", &[&a, &b, &c]));
    let names = tally((0..30).map(|number| {
        let method = if number % 2 == 0 { "GET" } else { "POST" };
        gateway.fetch(method, "/", &[("Content-Length", "0")]).backend()
    }));
    assert_eq!(names.keys().collect::<Vec<_>>(), ["a", "c"]);
    b.start();
    eventually("it is used again", PATIENCE * 2, || gateway.get("/").backend() == "b");
}

#[test]
fn a_name_with_several_addresses_is_tried_at_each() {
    // Where localhost is ::1 first, nobody listens there.
    let backend = Backend::echo("a");
    let url = format!("http://localhost:{}", backend.address().port());
    let gateway = gateway(&format!("[[rules]]\nbackends = [\"{url}\"]\n"));
    for _ in 0..10 {
        assert_eq!(gateway.get("/").backend(), "a");
    }
}

#[test]
fn a_post_is_never_sent_twice() {
    let backends = [Backend::reset_mid_head(), Backend::reset_mid_head(), Backend::reset_mid_head()];
    let gateway = gateway(&rule("", &[&backends[0], &backends[1], &backends[2]]));
    for sent in 1..=6 {
        let mut client = gateway.client();
        client.send("POST /order HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none");
        assert_eq!(client.response().status, 502);
        assert_eq!(backends.iter().map(Backend::hits).sum::<usize>(), sent);
    }
}

#[test]
fn without_an_eligible_backend_the_answer_is_503_at_once() {
    let backend = Backend::echo("a");
    let gateway =
        gateway(&format!("[[rules]]\nbackends = [{{ url = \"{}\", weight = 0 }}]\n", backend.url()));
    let start = Instant::now();
    let response = gateway.get("/");
    assert_eq!((response.status, response.problem().as_str()), (503, "no_backend"));
    assert!(response.header("retry-after").is_some_and(|value| value.parse::<u32>().is_ok()));
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(backend.accepted(), 0);
}

#[test]
fn a_name_that_does_not_resolve_is_503_and_harms_nobody_else() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!(
        "[[rules]]\npath_prefix = \"/lost\"\nbackends = [\"http://no-such-name.invalid:8080\"]\n{}",
        rule("", &[&backend])
    ));
    let start = Instant::now();
    assert_eq!(gateway.get("/").backend(), "a");
    let response = gateway.get("/lost");
    assert_eq!((response.status, response.problem().as_str()), (503, "no_backend"));
    assert!(start.elapsed() < Duration::from_secs(5), "at once, not after a resolver's patience");
    assert!(!response.text().contains("invalid"), "{}", response.text());
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_exits_0() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let mut gateway = gateway(&rule("", &[&backend]));
    let mut idle = gateway.client();
    let mut busy = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", PATIENCE, || gate.waiting() == 1);
    gateway.sigterm();
    eventually("no new client is accepted", PATIENCE, || {
        std::net::TcpStream::connect(gateway.address()).is_err()
    });
    assert!(idle.closes_within(PATIENCE), "an idle connection is closed");
    assert!(gateway.exited().is_none(), "it waits for the request in flight");
    gate.open();
    assert_eq!(busy.response().backend(), "a");
    assert!(busy.closes_within(PATIENCE));
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn sigterm_cuts_none_of_many_requests_in_flight() {
    let backend = Backend::slow("a", Duration::from_secs(1));
    let mut gateway = gateway(&format!("[server]\nworkers = 4\n{}", rule("", &[&backend])));
    let mut clients: Vec<_> = (0..30).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("all are in flight", PATIENCE, || backend.accepted() == 30);
    gateway.sigterm();
    for client in &mut clients {
        assert_eq!(client.response().backend(), "a");
    }
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn with_a_drain_delay_readiness_is_red_before_the_listeners_close() {
    let backend = Backend::echo("a");
    let server = "[server]\nshutdown_timeout = \"60s\"\ndrain_delay = \"3s\"\n";
    let mut gateway = gateway(&format!("{server}{STATUS_LISTENER}{}", rule("", &[&backend])));
    let mut client = gateway.client();
    assert_eq!(client.get("/").header("connection"), None);
    assert_eq!(gateway.get("/ready").status, 200);
    gateway.sigterm();
    eventually("it is not ready any more", PATIENCE, || gateway.get("/ready").status == 503);
    // Who does not know yet is served, and sent elsewhere with the next request.
    assert_eq!(gateway.get("/").backend(), "a");
    let response = client.get("/");
    assert_eq!((response.backend().as_str(), response.header("connection")), ("a", Some("close")));
    eventually("no new client is accepted", PATIENCE, || {
        std::net::TcpStream::connect(gateway.address()).is_err()
    });
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn a_second_signal_ends_a_drain_delay_at_once() {
    let backend = Backend::echo("a");
    let server = "[server]\nshutdown_timeout = \"600s\"\ndrain_delay = \"500s\"\n";
    let mut gateway = gateway(&format!("{server}{STATUS_LISTENER}{}", rule("", &[&backend])));
    gateway.sigterm();
    eventually("it is not ready any more", PATIENCE, || gateway.get("/ready").status == 503);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn sigterm_waits_no_longer_than_the_shutdown_timeout() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let config = format!("[server]\nshutdown_timeout = \"1s\"\n{}", rule("", &[&backend]));
    let mut gateway = gateway(&config);
    let mut busy = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", PATIENCE, || gate.waiting() == 1);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    gate.open();
}

#[test]
fn sigterm_without_work_ends_at_once() {
    let backend = Backend::echo("a");
    let mut gateway = gateway(&rule("", &[&backend]));
    assert_eq!(gateway.get("/").status, 200);
    let start = Instant::now();
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_dead_port_of_ours_is_an_ordinary_refusal() {
    let free = Port::free();
    let backend = Backend::echo_at("a", free.address());
    let gateway = gateway(&rule("", &[&backend]));
    assert_eq!(gateway.get("/").backend(), "a");
}

/// What the client sent last has gone on, the backend has no more to say for the time being, and nobody else is to blame for that.
#[test]
fn a_client_that_leaves_behind_its_body_while_it_is_answered_is_noticed_at_once() {
    for (framing, body) in
        [("Content-Length: 6", "theend"), ("Transfer-Encoding: chunked", "6\r\ntheend\r\n0\r\n\r\n")]
    {
        let gate = Gate::new();
        let there = gate.clone();
        let backend = Backend::scripted(move |conn| {
            conn.request_head();
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n");
            let mut read = Vec::new();
            while !read.windows(3).any(|it| it == b"end") {
                read.extend(conn.read_some(100).unwrap());
            }
            there.wait();
            // Until it is let go.
            while conn.read_some(100).is_ok_and(|bytes| !bytes.is_empty()) {}
        });
        // No other deadline wakes anybody within the test's time.
        let lines = "connect_timeout = \"60s\"\ntimeout = \"60s\"";
        let gateway = gateway(&format!("[access_log]\nenabled = true\n{}", rule(lines, &[&backend])));
        let mut client = gateway.client();
        client.send(format!("POST /left HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n"));
        client.response_head("POST").unwrap();
        assert_eq!(client.read_exact(7).unwrap(), b"2\r\nok\r\n");
        client.send(body);
        eventually("all of it is there", PATIENCE, || gate.waiting() == 1);
        std::thread::sleep(Duration::from_millis(50));
        drop(client);
        gate.open();
        eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
        let line = gateway.log_line("it is logged", |line| line["path"] == "/left");
        assert!(line["error"].as_str().is_some_and(|error| error.contains("the client left")), "{line}");
    }
}
