//! Clients that wear the gateway out: slow ones, many ones, ones with odd names. Each row of the table of denial of
//! service (`benches/README.md`) in its short form; and what operators rely on meanwhile: logs, metrics, the address list.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Client, Gate, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, echoed_target, gateway, launch, rule};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const MIB: u64 = 1 << 20;

/// A listener with these lines.
fn listener(lines: &str) -> String {
    format!("[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\n{lines}\n")
}

/// Send a piece again and again until the gateway has closed; gives back how long it took and what it said.
fn drip(client: &mut Client, piece: &str) -> (Duration, String) {
    let start = Instant::now();
    let mut heard = Vec::new();
    client.stream().set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    while start.elapsed() < PATIENCE {
        client.try_send(piece).ok();
        match client.read_some(4096) {
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => heard.extend(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    (start.elapsed(), String::from_utf8_lossy(&heard).into_owned())
}

#[test]
fn slow_headers_the_deadline_is_for_the_whole_head_and_not_for_a_byte() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{}", rule("", &[&backend]), listener("header_timeout = \"700ms\"")));
    for begin in ["G", "GET / HTTP/1.1\r\nHost: x\r\nX: ", "\r\nGET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut client = gateway.client();
        client.send(begin);
        let piece = if begin.ends_with('\n') { "A: b\r\n" } else { "x" };
        let (elapsed, heard) = drip(&mut client, piece);
        assert!(elapsed < PATIENCE, "{begin:?}: every byte bought more time");
        assert!(heard.is_empty() || heard.starts_with("HTTP/1.1 408 "), "{heard}");
    }
    // A connection that says nothing at all is no better.
    assert!(gateway.client().closes_within(PATIENCE));
    assert_eq!(backend.bytes_received(), 0);
}

#[test]
fn slow_read_a_client_that_reads_nothing_is_let_go() {
    let backend = Backend::scripted(|conn| {
        while conn.request().is_some() {
            conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").ok();
            let piece = vec![b'x'; 64 << 10];
            while conn.try_send(&piece).is_ok() {}
        }
    });
    let gateway = gateway(&rule("idle_timeout = \"700ms\"", &[&backend]));
    let mut client = Client::connect_slow_reader(gateway.address());
    client.send(GET);
    eventually("it has begun", PATIENCE, || backend.accepted() == 1);
    eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn unread_body_memory_many_uploads_to_a_backend_that_reads_none_take_little() {
    const UPLOADS: usize = 200;
    let gate = Gate::new();
    let backend = {
        let gate = gate.clone();
        Backend::scripted(move |conn| {
            conn.request_head();
            gate.wait();
        })
    };
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    let piece = vec![b'x'; 1 << 20];
    let clients: Vec<Client> = (0..UPLOADS)
        .map(|_| {
            let mut client = gateway.client();
            client.send("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n");
            client.stream().set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            for _ in 0..3 {
                client.try_send(&piece).ok();
            }
            client
        })
        .collect();
    eventually("all are under way", PATIENCE, || gate.waiting() == UPLOADS);
    std::thread::sleep(Duration::from_millis(500));
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 48 * MIB, "{} KiB for each upload", grown / 1024 / UPLOADS as u64);
    drop(clients);
    gate.open();
}

#[test]
fn fd_exhaustion_admin_answers_and_service_returns() {
    let backend = Backend::echo("a");
    let config = format!(
        "[admin]\naddress = \"{{admin}}\"\n{}{}",
        rule("", &[&backend]),
        listener("header_timeout = \"3s\"")
    );
    let gateway = launch().config(&config).max_open_files(64).start();
    let clients: Vec<_> = (0..500).filter_map(|_| TcpStream::connect(gateway.address()).ok()).collect();
    assert!(clients.len() > 400);
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..5 {
        let health = lb_testkit::fetch(gateway.address_of("admin"), "GET", "/health", &[]);
        assert_eq!(health.status, 200, "the operator gets in");
    }
    assert!(gateway.open_files() < 64);
    let complaints = gateway.errors().lines().filter(|line| line.contains("accept")).count();
    assert!(complaints < 20, "{complaints} lines about the same thing");
    drop(clients);
    eventually("it accepts again", PATIENCE, || {
        let mut client = gateway.client();
        client.send(GET);
        client.try_response("GET").is_ok_and(|response| response.status == 200)
    });
}

/// A client that has been answered, where the gateway takes one.
fn served(gateway: &lb_testkit::Gateway) -> Option<Client> {
    let mut client = gateway.client();
    client.try_send(GET).ok()?;
    client.try_response("GET").ok().filter(|response| response.status == 200)?;
    Some(client)
}

#[test]
fn one_address_gets_no_more_connections_than_its_share() {
    let backend = Backend::echo("a");
    let gateway =
        gateway(&format!("{}{}", rule("", &[&backend]), listener("max_connections_per_address = 10")));
    let mut clients = Vec::new();
    // Whoever looked whether the gateway listens may not be forgotten yet.
    eventually("ten are served", PATIENCE, || {
        clients.extend(served(&gateway));
        clients.len() == 10
    });
    for _ in 0..20 {
        assert!(gateway.client().closes_within(PATIENCE), "the eleventh is not served");
    }
    let mut other = Client::connect_from([127, 0, 0, 9].into(), gateway.address());
    assert_eq!(other.get("/").status, 200, "another address is");
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200, "and so are those that were there");
    }
    clients.pop();
    eventually("room is given back", PATIENCE, || served(&gateway).is_some());
}

#[test]
fn above_max_connections_clients_wait_until_one_leaves() {
    let backend = Backend::echo("a");
    let config = format!("[server]\nworkers = 1\nmax_connections = 5\n{}", rule("", &[&backend]));
    let gateway = gateway(&config);
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    let mut waiting = gateway.client();
    waiting.send(GET);
    waiting.stream().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    waiting.try_response("GET").expect_err("there is no room");
    waiting.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(backend.hits(), 5);
    drop(clients);
    assert_eq!(waiting.response().status, 200, "it was not turned away");
}

#[test]
fn metric_cardinality_what_clients_name_makes_no_series() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule("", &[&backend])));
    let series = || gateway.get("/metrics").text().lines().filter(|line| !line.starts_with('#')).count();
    let mut client = gateway.client();
    let mut ask = |number: usize| {
        let head = format!(
            "M{number} /p{number}?q={number} HTTP/1.1\r\nHost: h{number}.example\r\nUser-Agent: u{number}\r\n\r\n"
        );
        client.send(head);
        assert_eq!(client.response().status, 200);
    };
    (0..10).for_each(&mut ask);
    let before = series();
    (10..2000).for_each(&mut ask);
    assert_eq!(series(), before);
}

#[test]
fn log_injection_every_request_is_one_line_that_says_what_was_sent() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("[access_log]\nenabled = true\n{}", rule("name = \"r\"", &[&backend])));
    let targets = [
        "/a%0d%0a%7b%22msg%22:%22forged%22%7d",
        "/%1b[31mred",
        "/\",\"forged\":\"1",
        "/{\"a\":1}",
        "/a?\x7f",
    ];
    for target in targets {
        let fields = [("User-Agent", "x\" \\ \u{e9} {}"), ("X-Request-Id", "\",\"forged\":\"1")];
        gateway.fetch("GET", target, &fields);
    }
    gateway.get("/last");
    gateway.log_line("the last is logged", |line| line["path"] == "/last");
    let errors = gateway.errors();
    assert!(!errors.contains('\u{1b}'), "{errors}");
    for line in gateway.log() {
        assert!(line.get("forged").is_none() && line["msg"] != "forged", "{line}");
    }
    let of_requests = gateway.log().into_iter().filter(|line| line["msg"] == "proxy request").count();
    assert_eq!(of_requests, targets.len() + 1, "{errors}");
}

#[test]
fn ssrf_no_name_in_a_request_chooses_an_address() {
    let backend = Backend::echo("a");
    let secret = Backend::echo("secret");
    let gateway = gateway(&rule("", &[&backend]));
    let place = secret.address();
    for request in [
        format!("GET http://{place}/a HTTP/1.1\r\nHost: {place}\r\n\r\n"),
        format!(
            "GET /a HTTP/1.1\r\nHost: {place}\r\nX-Forwarded-Host: {place}\r\nForwarded: host={place}\r\n\r\n"
        ),
        format!("GET //{place}/a HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET http://{place}/a HTTP/1.0\r\n\r\n"),
        format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n"),
        format!("GET /@{place}/a HTTP/1.1\r\nHost: x\r\nX-Original-URL: http://{place}/\r\n\r\n"),
    ] {
        let mut client = gateway.client();
        client.send(&request);
        let response = client.response();
        match response.status {
            200 => assert!(echoed_target(&response).starts_with('/'), "{request}"),
            status => assert!([400, 405].contains(&status), "{status} to {request}"),
        }
    }
    assert_eq!(secret.accepted(), 0);
}

#[test]
fn many_small_chunks_and_a_byte_a_packet_pass_and_take_little() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..200 {
        client.send("1\r\nx\r\n".repeat(100));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.response().json()["body"], "x".repeat(20_000));
    assert!(gateway.resident_bytes() < before + 16 * MIB);
}

#[test]
fn huge_cookies_and_header_floods_are_refused_before_they_take_room() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    for (begin, more) in [
        ("GET / HTTP/1.1\r\nHost: x\r\nCookie: a=", "xxxxxxxxxxxxxxxx"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "Cookie: a=b\r\n"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "X: \r\n"),
        ("GET /", "xxxxxxxxxxxxxxxx"),
        ("", "GGGGGGGGGGGGGGGG"),
        ("GET / HTTP/1.1\r\nHost: x\r\n", "xxxxxxxxxxxxxxxx"),
    ] {
        let mut client = gateway.client();
        let flood = more.repeat(4096);
        client.send(begin);
        for _ in 0..256 {
            if client.try_send(&flood).is_err() {
                break;
            }
        }
        let answer = String::from_utf8_lossy(&client.read_to_close()).into_owned();
        let refused =
            ["400", "414", "431"].iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} ")));
        // A client that goes on and on may lose the answer to a reset.
        assert!(refused || answer.is_empty(), "{answer}");
    }
    assert!(gateway.resident_bytes() < before + 16 * MIB);
    assert_eq!(backend.bytes_received(), 0);
    assert_eq!(gateway.get("/").status, 200);
}
