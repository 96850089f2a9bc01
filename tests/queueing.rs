//! `max_connections` and the queue behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Gate, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, backend_status, gateway};

/// One rule `r` whose backends each take so many requests at once.
fn limited(lines: &str, backends: &[(&Backend, u32)]) -> String {
    let item = |(backend, limit): &(&Backend, u32)| {
        format!("{{ url = \"{}\", max_connections = {limit} }}", backend.url())
    };
    let items: Vec<String> = backends.iter().map(item).collect();
    format!("{STATUS_LISTENER}[[rules]]\nname = \"r\"\n{lines}\nbackends = [{}]\n", items.join(", "))
}

#[test]
fn two_hundred_at_once_never_pass_a_limit_of_ten_and_all_are_served_in_turn() {
    let backend = Backend::slow("a", Duration::from_millis(5));
    let config = limited("queue = { max_pending = 200, timeout = \"60s\" }", &[(&backend, 10)]);
    let gateway = gateway(&format!("[server]\nworkers = 4\n{config}"));
    std::thread::scope(|scope| {
        for _ in 0..200 {
            scope.spawn(|| {
                let mut client = gateway.client();
                for _ in 0..3 {
                    assert_eq!(client.get("/").backend(), "a");
                }
            });
        }
    });
    assert_eq!(backend.hits(), 600);
    assert!(backend.peak() <= 10, "{}", backend.peak());
    assert_eq!(backend_status(&gateway, "r", &backend.url())["active_connections"], 0);
}

#[test]
fn what_overflows_goes_to_others_before_it_waits() {
    let (gate, roomy) = (Gate::new(), Backend::echo("roomy"));
    let small = Backend::held("small", &gate);
    let gateway = gateway(&limited("", &[(&small, 1), (&roomy, 50)]));
    let mut held = gateway.client();
    while gate.waiting() == 0 {
        held.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
    }
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").backend(), "roomy");
    }
    assert!(start.elapsed() < PATIENCE / 2, "none of them waited");
    gate.open();
}

#[test]
fn who_waits_too_long_or_finds_the_queue_full_is_told_to_come_back() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let gateway = gateway(&limited("queue = { max_pending = 1, timeout = \"1s\" }", &[(&backend, 1)]));
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the backend is full", PATIENCE, || gate.waiting() == 1);
    let mut second = gateway.client();
    let start = Instant::now();
    second.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    // One of these two waits, the other finds the queue full.
    let third = gateway.get("/");
    let second = second.response();
    assert!(start.elapsed() >= Duration::from_secs(1));
    for refused in [second, third] {
        assert_eq!((refused.status, refused.problem().as_str()), (503, "overloaded"));
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    gate.open();
    assert_eq!(first.response().backend(), "a");
    assert_eq!(gateway.get("/").backend(), "a");
}

#[test]
fn who_waits_is_let_in_when_a_place_is_free() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let gateway = gateway(&limited("queue = { timeout = \"60s\" }", &[(&backend, 1)]));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("one is in", PATIENCE, || gate.waiting() == 1);
    for served in 1..=5 {
        gate.admit(1);
        eventually("the next one is in", PATIENCE, || backend.hits() > served.min(4));
    }
    for client in &mut clients {
        assert_eq!(client.response().backend(), "a");
    }
    assert_eq!(backend.peak(), 1);
}

#[test]
fn a_client_that_leaves_the_queue_takes_no_place() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let gateway = gateway(&format!(
        "[access_log]\nenabled = true\n{}",
        limited("queue = { max_pending = 1, timeout = \"60s\" }", &[(&backend, 1)])
    ));
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the backend is full", PATIENCE, || gate.waiting() == 1);
    for number in 1..=3 {
        let mut waiting = gateway.client();
        waiting.send("GET /left HTTP/1.1\r\nHost: x\r\n\r\n");
        std::thread::sleep(Duration::from_millis(50));
        drop(waiting);
        eventually("it is noticed", PATIENCE, || {
            gateway.log().iter().filter(|line| line["path"] == "/left" && line["status_code"] == 499).count()
                == number
        });
    }
    gate.open();
    assert_eq!(first.response().backend(), "a");
    assert_eq!(backend.hits(), 1, "nobody else came");
}

#[test]
fn without_a_queue_the_answer_comes_at_once() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let gateway = gateway(&limited("queue = { max_pending = 0, timeout = \"60s\" }", &[(&backend, 1)]));
    let mut first = gateway.client();
    first.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("the backend is full", PATIENCE, || gate.waiting() == 1);
    assert_eq!(gateway.get("/").problem(), "overloaded");
    gate.open();
}

#[test]
fn who_has_waited_longest_is_served_next() {
    const CLIENTS: usize = 150;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (served, is_open) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
    let url = format!("http://{}", listener.local_addr().unwrap());
    {
        let (served, is_open) = (Arc::clone(&served), Arc::clone(&is_open));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, is_open) = (Arc::clone(&served), Arc::clone(&is_open));
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(&stream).lines();
                    while let Some(Ok(line)) = lines.next() {
                        let number = line.strip_prefix("GET /").and_then(|rest| rest.split(' ').next());
                        if let Some(number) = number {
                            served.lock().unwrap().push(number.parse::<usize>().unwrap());
                        }
                        if !line.is_empty() {
                            continue;
                        }
                        while !is_open.load(SeqCst) {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        std::thread::sleep(Duration::from_millis(2));
                        (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
                    }
                });
            }
        });
    }
    let gateway = gateway(&format!(
        "[server]\nworkers = 4\n[[rules]]\nqueue = {{ max_pending = 200, timeout = \"60s\" }}\n\
         backends = [{{ url = \"{url}\", max_connections = 1 }}]\n"
    ));
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let mut client = gateway.client();
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n"));
        clients.push(client);
        std::thread::sleep(Duration::from_millis(3));
    }
    is_open.store(true, SeqCst);
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    let served = served.lock().unwrap();
    // They may have come a little otherwise than they were sent.
    let late = served.iter().enumerate().map(|(turn, number)| turn.saturating_sub(*number)).max().unwrap();
    assert!(late < 20, "{served:?}");
}

#[test]
fn who_waits_for_another_backend_has_no_place_at_the_one_that_failed() {
    let gate = Gate::new();
    let busy = Backend::held("busy", &gate);
    let failing = Backend::scripted(|conn| {
        while let Some(request) = conn.request() {
            if request.target == "/reset" {
                return conn.reset();
            }
            conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let lines = "passive = false\ntimeout = \"120s\"\nqueue = { timeout = \"60s\" }";
    let gateway = gateway(&limited(lines, &[(&busy, 1), (&failing, 1)]));
    let mut held = gateway.client();
    while gate.waiting() == 0 {
        held.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        std::thread::sleep(Duration::from_millis(100));
    }
    let mut moved = gateway.client();
    moved.send("GET /reset HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it waits for the busy one", PATIENCE, || {
        failing.requests().iter().any(|request| request.target == "/reset") && failing.open_connections() == 0
    });
    eventually("its place at the other is free", PATIENCE, || {
        backend_status(&gateway, "r", &failing.url())["active_connections"] == 0
    });
    assert_eq!(gateway.get("/").text(), "ok", "which another may have");
    gate.open();
    assert_eq!(moved.response().backend(), "busy");
}
