//! Bounds: pooled connections, deadlines, memory, descriptors.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Client, Gate, PATIENCE, eventually};

use crate::http2::frames::{DATA, GET as GET_OF_HTTP2, Peer};
use crate::support::{STATUS_LISTENER, backend_status, gateway, rule};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const MIB: usize = 1 << 20;

#[test]
fn ten_thousand_requests_use_a_handful_of_connections() {
    let backend = Backend::echo("a");
    let config = rule("", &[&backend]);
    let gateway = gateway(&format!("max_idle_conns_per_host = 16\n{config}"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..1250 {
                    assert_eq!(client.get("/").status, 200);
                }
            });
        }
    });
    assert_eq!(backend.hits(), 10_000);
    assert!(backend.accepted() <= 16, "{} connections", backend.accepted());
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let config = rule("", &[&backend]);
    let gateway = gateway(&format!("max_idle_conns_per_host = 4\n{config}"));
    let mut clients: Vec<_> = (0..30).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(GET);
    }
    eventually("all are in flight", PATIENCE, || gate.waiting() == 30);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    eventually("the rest is closed", PATIENCE, || backend.open_connections() <= 4);
}

#[test]
fn an_idle_connection_is_closed_when_its_time_is_over() {
    let backend = Backend::echo("a");
    let config = rule("", &[&backend]);
    let gateway = gateway(&format!("idle_conn_timeout = \"1s\"\n{config}"));
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!(backend.open_connections(), 1, "kept for the next request");
    eventually("closed", PATIENCE, || backend.open_connections() == 0);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn a_pooled_connection_that_the_backend_closed_costs_no_client_an_error() {
    // It closes after each answer without having said so: at once for GET, which may be sent again …
    let backend = Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    for number in 0..300 {
        assert_eq!(client.get("/").status, 200, "request {number}");
    }
    // … and long before the next request for POST, which may not.
    for number in 0..20 {
        std::thread::sleep(Duration::from_millis(20));
        let response = client.request("POST", "/", &[("Content-Length", "0")]);
        assert_eq!(response.status, 200, "request {number}");
    }
    assert_eq!(backend.hits(), 320, "none was lost, none was sent twice");
}

#[test]
fn a_restarted_backend_costs_no_client_an_error() {
    let mut backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let mut clients: Vec<_> = (0..10).map(|_| gateway.client()).collect();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").status, 200);
        }
        backend.stop();
        backend.start();
    }
}

/// The status for one request under these deadlines; the answer must come long before ten seconds.
#[track_caller]
fn status_with(backend: &Backend, global: &str, rule: &str, backend_timeout: &str) -> u16 {
    let key = |name: &str, value: &str| match value {
        "" => String::new(),
        value => format!("{name} = \"{value}\""),
    };
    let gateway = gateway(&format!(
        "{}\n[[rules]]\n{}\nbackends = [{{ url = \"{}\"{}{} }}]\n",
        key("global_timeout", global),
        key("timeout", rule),
        backend.url(),
        if backend_timeout.is_empty() { "" } else { ", " },
        key("timeout", backend_timeout),
    ));
    let start = Instant::now();
    let response = gateway.get("/");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    if response.status != 200 {
        assert_eq!(response.problem(), "upstream_timeout");
    }
    response.status
}

#[test]
fn the_most_specific_deadline_to_the_response_head_counts() {
    let slow = Backend::slow("a", Duration::from_millis(1500));
    assert_eq!(status_with(&slow, "", "", ""), 200, "thirty seconds where nothing is said");
    assert_eq!(status_with(&slow, "300ms", "", ""), 504);
    assert_eq!(status_with(&slow, "", "300ms", ""), 504);
    assert_eq!(status_with(&slow, "", "", "300ms"), 504);
    assert_eq!(status_with(&slow, "300ms", "20s", ""), 200, "a rule beats the global one, also upwards");
    assert_eq!(status_with(&slow, "20s", "300ms", ""), 504);
    assert_eq!(status_with(&slow, "300ms", "300ms", "20s"), 200, "a backend beats both");
    assert_eq!(status_with(&slow, "20s", "20s", "300ms"), 504);
}

#[test]
fn a_stream_outlives_the_deadline_to_its_head() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
        for _ in 0..6 {
            std::thread::sleep(Duration::from_millis(500));
            conn.try_send("5\r\nevent\r\n").ok();
        }
        conn.reply("0\r\n\r\n");
    });
    let gateway = gateway(&rule("timeout = \"1500ms\"", &[&backend]));
    assert_eq!(gateway.get("/").text(), "event".repeat(6));
}

#[test]
fn an_upload_outlives_the_deadline_to_the_response_head_while_it_moves() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("timeout = \"5s\"\nidle_timeout = \"2s\"", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n");
    for _ in 0..6 {
        std::thread::sleep(Duration::from_millis(300));
        client.send("x");
    }
    assert_eq!(client.response().json()["body"], "xxxxxx");
}

#[test]
fn a_body_that_stops_moving_is_given_up() {
    let stalled = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").ok();
        conn.wait_for_close();
    });
    let gateway = gateway(&rule("idle_timeout = \"500ms\"", &[&stalled]));
    let mut client = gateway.client();
    client.send(GET);
    let error = client.try_response("GET").unwrap_err();
    assert!([ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
    eventually("the backend is let go", PATIENCE, || stalled.open_connections() == 0);
}

#[test]
fn an_upload_that_stops_moving_is_given_up() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("idle_timeout = \"500ms\"", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
    let answer = client.read_to_close();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
    assert_eq!(backend.hits(), 0);
}

#[test]
fn a_head_that_does_not_end_and_a_connection_without_requests_are_closed() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!(
        "{}[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nheader_timeout = \"500ms\"\n\
         keep_alive_timeout = \"700ms\"\n",
        rule("", &[&backend])
    ));
    let start = Instant::now();
    let mut slow = gateway.client();
    slow.send("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    let answer = String::from_utf8_lossy(&slow.read_to_close()).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let mut idle = gateway.client();
    assert_eq!(idle.get("/").status, 200);
    assert!(idle.closes_within(PATIENCE));
    assert!(start.elapsed() >= Duration::from_secs(1), "but not before their time");
}

#[test]
fn heads_below_the_limit_pass() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("", &[&backend]));
    let cookie = "c".repeat(20 << 10);
    let response = gateway.fetch("GET", "/", &[("Cookie", &cookie)]);
    assert_eq!(crate::support::echoed(&response, "cookie"), [cookie]);
    let names: Vec<String> = (0..80).map(|number| format!("X-Field-{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "v")).collect();
    let response = gateway.fetch("GET", "/", &fields);
    assert!(names.iter().all(|name| crate::support::echoed(&response, name) == ["v"]));
    let target = format!("/{}?{}", "p".repeat(4000), "q".repeat(4000));
    assert_eq!(crate::support::echoed_target(&gateway.get(&target)), target);
}

#[test]
fn an_event_arrives_while_its_stream_is_open() {
    let gate = Gate::new();
    let backend = {
        let gate = gate.clone();
        Backend::scripted(move |conn| {
            conn.request();
            conn.try_send(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .ok();
            gate.wait();
            conn.try_send("9\r\ndata: 1\n\n\r\n").ok();
            gate.wait();
            conn.reply("0\r\n\r\n");
        })
    };
    let gateway = gateway(&rule("", &[&backend]));
    let mut client = gateway.client();
    client.send(GET);
    let head = client.response_head("GET").unwrap();
    assert_eq!(head.header("content-type"), Some("text/event-stream"), "the head comes before any event");
    gate.admit(1);
    let start = Instant::now();
    let line = client.read_line().unwrap();
    assert_eq!(line, "9");
    assert!(start.elapsed() < Duration::from_secs(2));
    gate.open();
}

/// How much a process may grow while 256 MiB pass through it.
const FLAT: u64 = 24 << 20;

#[test]
fn a_large_download_passes_at_flat_memory() {
    let backend = Backend::scripted(|conn| {
        let piece = vec![b'x'; MIB];
        while conn.request().is_some() {
            conn.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 * MIB)).ok();
            for _ in 0..256 {
                if conn.try_send(&piece).is_err() {
                    return;
                }
            }
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.response_head("GET").unwrap().status, 200);
    let (mut received, mut peak, mut next) = (0, 0, 0);
    while received < 256 * MIB {
        let piece = client.read_some(256 << 10).unwrap();
        assert!(!piece.is_empty(), "it ends after {received} bytes");
        received += piece.len();
        if received >= next {
            peak = peak.max(gateway.resident_bytes());
            next += 8 * MIB;
        }
    }
    assert_eq!(received, 256 * MIB);
    assert!(peak < before + FLAT, "from {before} to {peak} bytes");
}

#[test]
fn a_large_upload_passes_at_flat_memory() {
    let backend = Backend::scripted(|conn| {
        while conn.request_head().is_some() {
            let mut left = 256 * MIB;
            while left > 0 {
                match conn.read_some(left.min(MIB)) {
                    Ok(piece) if !piece.is_empty() => left -= piece.len(),
                    _ => return,
                }
            }
            conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 256 * MIB));
    let piece = vec![b'x'; MIB];
    let mut peak = 0;
    for number in 0..256 {
        client.send(&piece);
        if number % 8 == 0 {
            peak = peak.max(gateway.resident_bytes());
        }
    }
    assert_eq!(client.response().text(), "ok");
    assert!(peak < before + FLAT, "from {before} to {peak} bytes");
}

/// What kernels hold in sockets on the way, at most, with room to spare: no proxy can bound that.
const IN_SOCKETS: usize = 64 * MIB;

#[test]
fn a_client_that_does_not_read_holds_its_backend_back() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let backend = {
        let sent = std::sync::Arc::clone(&sent);
        Backend::scripted(move |conn| {
            conn.request();
            conn.try_send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4096 * MIB)).ok();
            let piece = vec![b'x'; 64 << 10];
            while conn.try_send(&piece).is_ok() {
                sent.fetch_add(piece.len(), std::sync::atomic::Ordering::SeqCst);
            }
        })
    };
    let gateway = gateway(&rule("", &[&backend]));
    let before = gateway.resident_bytes();
    let mut client = Client::connect_slow_reader(gateway.address());
    client.send(GET);
    assert_eq!(client.response_head("GET").unwrap().status, 200);
    settle(|| sent.load(std::sync::atomic::Ordering::SeqCst));
    let taken = sent.load(std::sync::atomic::Ordering::SeqCst);
    assert!(taken < IN_SOCKETS, "{taken} bytes were taken for a client that reads none");
    assert!(gateway.resident_bytes() < before + FLAT);
}

#[test]
fn a_backend_that_does_not_read_holds_its_client_back() {
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
    let mut client = gateway.client();
    client.send(format!("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 4096 * MIB));
    client.stream().set_write_timeout(Some(Duration::from_millis(1500))).unwrap();
    let piece = vec![b'x'; 64 << 10];
    let mut taken = 0;
    while client.try_send(&piece).is_ok() {
        taken += piece.len();
        assert!(taken < IN_SOCKETS, "{taken} bytes were taken for a backend that reads none");
    }
    assert!(gateway.resident_bytes() < before + FLAT);
    gate.open();
}

/// Wait until a figure stops growing.
fn settle(figure: impl Fn() -> usize) {
    let mut last = usize::MAX;
    eventually("it comes to rest", PATIENCE, || {
        let now = figure();
        let rests = now == last && now > 0;
        last = now;
        std::thread::sleep(Duration::from_millis(500));
        rests
    });
}

#[test]
fn descriptors_return_to_where_they_were_after_aborts() {
    let gate = Gate::new();
    let held = Backend::held("a", &gate);
    let echo = Backend::echo("b");
    let gateway = gateway(&format!(
        "idle_conn_timeout = \"1s\"\n{}{}",
        rule("path_prefix = \"/held\"", &[&held]),
        rule("", &[&echo])
    ));
    assert_eq!(gateway.get("/").status, 200);
    eventually("idle connections are gone", PATIENCE, || echo.open_connections() == 0);
    let before = gateway.open_files();
    for round in 0..4 {
        let clients: Vec<_> = (0..60)
            .map(|number| {
                let mut client = gateway.client();
                let sent = match number % 4 {
                    0 => "GET /held HTTP/1.1\r\nHost: x\r\n\r\n",
                    1 => "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
                    2 => "GET / HTTP/1.1\r\nHo",
                    _ => GET,
                };
                client.send(sent);
                client
            })
            .collect();
        eventually("some are in flight", PATIENCE, || gate.waiting() >= 15);
        for (number, client) in clients.into_iter().enumerate() {
            if (number + round) % 2 == 0 {
                client.into_wire().reset();
            }
        }
        gate.admit(gate.waiting());
    }
    eventually("every descriptor is given back", PATIENCE, || gateway.open_files() <= before);
    gate.open();
}

#[test]
fn requests_go_on_when_descriptors_run_out_and_come_back() {
    let backend = Backend::echo("a");
    let gateway = crate::support::launch().config(&rule("", &[&backend])).max_open_files(80).start();
    let clients: Vec<_> =
        (0..200).filter_map(|_| std::net::TcpStream::connect(gateway.address()).ok()).collect();
    std::thread::sleep(Duration::from_millis(300));
    drop(clients);
    eventually("it accepts again", PATIENCE, || {
        let mut client = gateway.client();
        client.send(GET);
        client.try_response("GET").is_ok_and(|response| response.status == 200)
    });
}

/// A client of HTTP/2 has a descriptor here, and each of its requests may have one more.
#[test]
fn descriptors_that_run_out_are_no_backends_fault() {
    let gate = Gate::new();
    let backends = [Backend::held("a", &gate), Backend::held("b", &gate)];
    let lines = "name = \"r\"\npassive = { consecutive_failures = 1, ejection_time = \"60s\" }";
    let config = format!("{STATUS_LISTENER}{}", rule(lines, &[&backends[0], &backends[1]]));
    let gateway = crate::support::launch().config(&config).max_open_files(100).start();
    let mut client = Peer::connect(gateway.address());
    for number in 0..95 {
        client.headers(2 * number + 1, &GET_OF_HTTP2, true);
    }
    let refused = client.until("a refusal", |frame| frame.kind == DATA);
    let refused = String::from_utf8_lossy(&refused.payload).into_owned();
    assert!(refused.contains("\"status\":503") && refused.contains("\"code\":\"overloaded\""), "{refused}");
    gate.open();
    eventually("it is over", PATIENCE, || {
        backends
            .iter()
            .all(|backend| backend_status(&gateway, "r", &backend.url())["active_connections"] == 0)
    });
    for backend in &backends {
        let status = backend_status(&gateway, "r", &backend.url());
        assert_eq!(
            (&status["state"], &status["failed_requests"]),
            (&"healthy".into(), &0.into()),
            "{status}"
        );
    }
}

#[test]
fn clients_that_stop_reading_cost_a_backend_nothing_of_its_health() {
    // Made beforehand: on a busy machine that takes longer than the idle deadline.
    let body = "x".repeat(32 << 20);
    let large = Backend::scripted(move |connection| {
        while connection.request().is_some() {
            connection.try_send("HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n").ok();
            connection.try_send(&body).ok();
        }
    });
    let spare = Backend::echo("spare");
    let root = "idle_timeout = \"500ms\"\n";
    let gateway = gateway(&format!("{root}{}", rule("", &[&large, &spare])));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = gateway.client();
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            client
        })
        .collect();
    std::thread::sleep(Duration::from_secs(3));
    drop(clients);
    let log = gateway.log();
    assert!(!log.iter().any(|line| line["message"] == "backend unhealthy"), "{log:?}");
}
