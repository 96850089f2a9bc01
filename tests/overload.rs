//! Too much at once, or too slowly: concurrency limits, shedding, and the least rate of a body.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Client, Gate, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, gateway, rule};

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn no_more_requests_of_a_rule_are_under_way_than_it_allows() {
    let gate = Gate::new();
    let (held, other) = (Backend::held("held", &gate), Backend::echo("other"));
    let gateway = gateway(&format!(
        "{STATUS_LISTENER}{}{}",
        rule("name = \"r\"\npath_prefix = \"/r\"\nconcurrency = { max = 3 }", &[&held]),
        rule("name = \"other\"", &[&other])
    ));
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send("GET /r HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("all three are under way", PATIENCE, || gate.waiting() == 3);
    let refused = gateway.get("/r");
    assert_eq!((refused.status, refused.problem().as_str()), (503, "overloaded"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(gateway.get("/other").backend(), "other", "other rules are none of its business");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().backend(), "held");
    }
    assert_eq!(gateway.get("/r").backend(), "held");
    let metrics = gateway.get("/metrics").text();
    let counted = "gatewayd_policy_rejections_total{rule=\"r\",policy=\"concurrency\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn clients_that_leave_give_their_places_back() {
    let gate = Gate::new();
    let held = Backend::held("held", &gate);
    let gateway = gateway(&rule("concurrency = { max = 2 }", &[&held]));
    for _ in 0..5 {
        let mut clients = [gateway.client(), gateway.client()];
        eventually("there is room", PATIENCE, || {
            clients = [gateway.client(), gateway.client()];
            clients.iter_mut().for_each(|client| client.send(GET));
            std::thread::sleep(Duration::from_millis(50));
            gate.waiting() >= 1
        });
        drop(clients);
        gate.admit(gate.waiting());
    }
    gate.open();
    eventually("there is room", PATIENCE, || gateway.get("/").status == 200);
}

/// A backend that works on so many requests at once and lets others wait in line.
fn of_capacity(capacity: usize, work: Duration) -> Backend {
    let (free, working) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    Backend::scripted(move |conn| {
        while conn.request().is_some() {
            while working.fetch_update(SeqCst, SeqCst, |busy| (busy < capacity).then_some(busy + 1)).is_err()
            {
                drop(free.lock());
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(work);
            working.fetch_sub(1, SeqCst);
            if !conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") {
                return;
            }
        }
    })
}

#[test]
fn an_adaptive_limit_sheds_what_would_only_wait() {
    let backend = of_capacity(4, Duration::from_millis(10));
    let gateway = gateway(&rule("concurrency = { adaptive = true }", &[&backend]));
    // What it is used to.
    let mut client = gateway.client();
    for _ in 0..30 {
        assert_eq!(client.get("/").status, 200);
    }
    let (served, shed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while shed.load(SeqCst) < 200 || served.load(SeqCst) < 200 {
                    assert!(start.elapsed() < PATIENCE * 2, "{served:?} served, {shed:?} shed");
                    let response = client.get("/");
                    match response.status {
                        200 => drop(served.fetch_add(1, SeqCst)),
                        _ => {
                            assert_eq!((response.status, response.problem().as_str()), (503, "overloaded"));
                            shed.fetch_add(1, SeqCst);
                            std::thread::sleep(Duration::from_millis(5));
                        }
                    }
                }
            });
        }
    });
    eventually("it takes requests again", PATIENCE, || gateway.get("/").status == 200);
}

#[test]
fn an_upload_slower_than_the_least_rate_is_408() {
    let backend = Backend::echo("a");
    let gateway = gateway(&rule("min_rate = \"10KiB\"", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    let start = Instant::now();
    let mut answer = Vec::new();
    client.stream().set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    while answer.is_empty() && start.elapsed() < PATIENCE * 2 {
        // It never stands still, so that no idle deadline would end it.
        client.try_send("x").ok();
        answer = client.read_some(4096).unwrap_or_default();
    }
    assert!(String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 408 "), "{answer:?}");
    assert!(start.elapsed() >= Duration::from_secs(4), "it is given some time: {:?}", start.elapsed());
    eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn an_upload_above_the_least_rate_and_a_backend_that_takes_its_time_pass() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok();
        std::thread::sleep(Duration::from_secs(7));
        conn.reply("2\r\nok\r\n0\r\n\r\n");
    });
    let gateway = gateway(&rule("min_rate = \"1KiB\"", &[&backend]));
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 14000\r\n\r\n");
    for _ in 0..7 {
        std::thread::sleep(Duration::from_secs(1));
        client.send("x".repeat(2000));
    }
    assert_eq!(client.response().text(), "ok");
}

#[test]
fn a_client_that_hardly_reads_is_cut() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\n").ok();
        while conn.try_send(vec![b'x'; 1 << 20]).is_ok() {}
    });
    // Ten megabytes a second: what the kernel has taken is worth little time.
    let config = rule("min_rate = \"10MB\"", &[&backend]);
    let gateway = gateway(&format!("{STATUS_LISTENER}[access_log]\nenabled = true\n{config}"));
    let mut client = Client::connect_slow_reader(gateway.address());
    client.send(GET);
    assert_eq!(client.response_head("GET").unwrap().status, 200);
    let start = Instant::now();
    let mut received = 0;
    while start.elapsed() < PATIENCE * 2 {
        match client.read_some(4096) {
            Ok(piece) if !piece.is_empty() => received += piece.len(),
            _ => break,
        }
        std::thread::sleep(Duration::from_millis(100));
        if gateway.log().iter().any(|line| line["status_code"] == 200) {
            break;
        }
    }
    assert!(start.elapsed() < PATIENCE, "it was cut after {received} bytes and {:?}", start.elapsed());
    let metrics = gateway.get("/metrics").text();
    assert!(metrics.contains("gatewayd_clients_stalled_total{rule=\"rule-1\"} 1\n"), "{metrics}");
    let rest = std::iter::from_fn(|| client.read_some(4096).ok().filter(|piece| !piece.is_empty()));
    let rest: usize = rest.map(|piece| piece.len()).sum();
    assert!(rest < 1 << 20, "the kernel keeps nothing for it: {rest} bytes");
    eventually("the backend is let go", PATIENCE, || backend.open_connections() == 0);
}
