//! Circuit breakers from outside: one a backend, failures in a row, exact trials, no deadlock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Client, Gate, Gateway, PATIENCE, eventually};

use crate::health::answer;
use crate::support::{STATUS_LISTENER, backend_status, gateway, rule};

/// Answers what `?status` says.
fn obedient(name: &'static str) -> Backend {
    Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let status = request.target.rsplit_once('=').map_or(200, |(_, status)| status.parse().unwrap());
            conn.reply(answer(status, name));
        }
    })
}

/// One rule with a breaker of these options.
fn with_breaker(options: &str, backends: &[&Backend]) -> Gateway {
    let lines = format!("name = \"app\"\ncircuit_breaker = {{ {options} }}");
    gateway(&format!("{}{STATUS_LISTENER}", rule(&lines, backends)))
}

fn circuit(gateway: &Gateway, backend: &Backend) -> String {
    backend_status(gateway, "app", &backend.url())["circuit"].as_str().unwrap().to_owned()
}

#[test]
fn each_backend_has_a_circuit_of_its_own() {
    let (bad, good) = (Backend::fixed(answer(500, "")), obedient("good"));
    let gateway = with_breaker("failure_threshold = 3, recovery_timeout = \"1h\"", &[&bad, &good]);
    eventually("the bad one is cut off", PATIENCE, || {
        gateway.get("/");
        circuit(&gateway, &bad) == "open"
    });
    let before = bad.hits();
    for _ in 0..20 {
        assert_eq!(gateway.get("/").text(), "good");
    }
    assert_eq!(bad.hits(), before);
    assert_eq!(circuit(&gateway, &good), "closed");
}

#[test]
fn only_failures_in_a_row_open_a_circuit_and_4xx_are_none() {
    let backend = obedient("a");
    let gateway = with_breaker("failure_threshold = 3, recovery_timeout = \"1h\"", &[&backend]);
    let mut client = gateway.client();
    for _ in 0..20 {
        for status in [500, 503, 200] {
            assert_eq!(client.get(&format!("/?status={status}")).status, status);
        }
    }
    for _ in 0..20 {
        for status in [400, 404, 301, 429] {
            assert_eq!(client.get(&format!("/?status={status}")).status, status);
        }
    }
    assert_eq!(circuit(&gateway, &backend), "closed", "forty failures, but never three in a row");
    for _ in 0..3 {
        assert_eq!(client.get("/?status=500").status, 500);
    }
    let before = backend.hits();
    let start = Instant::now();
    let response = client.get("/");
    assert_eq!((response.status, response.problem().as_str()), (503, "no_backend"));
    assert!(start.elapsed() < Duration::from_secs(5), "at once");
    assert_eq!((backend.hits(), circuit(&gateway, &backend).as_str()), (before, "open"));
}

/// Fails until told otherwise, and then holds whoever comes at a gate.
struct Patient {
    gate: Gate,
    failing: Arc<AtomicBool>,
    backend: Backend,
}

impl Patient {
    fn new() -> Self {
        let (gate, failing) = (Gate::new(), Arc::new(AtomicBool::new(true)));
        let backend = {
            let (gate, failing) = (gate.clone(), Arc::clone(&failing));
            Backend::scripted(move |conn| {
                while conn.request().is_some() {
                    if failing.load(SeqCst) {
                        conn.reply(answer(500, ""));
                        continue;
                    }
                    gate.wait();
                    conn.reply(answer(200, "back"));
                }
            })
        };
        Self { gate, failing, backend }
    }

    /// Open the circuit; from now on the backend works, and takes its time.
    fn open_circuit(&self, gateway: &Gateway) {
        eventually("the circuit is open", PATIENCE, || {
            gateway.get("/");
            circuit(gateway, &self.backend) == "open"
        });
        self.failing.store(false, SeqCst);
    }

    /// Send requests until one is let through as a trial, and return its connection.
    fn first_trial(&self, gateway: &Gateway) -> Client {
        let end = Instant::now() + PATIENCE;
        let before = self.gate.waiting();
        loop {
            let mut client = gateway.client();
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            // It is turned away, or reaches the gate: each is waited for, however long it takes.
            while !is_answered(&client) {
                assert!(Instant::now() < end, "no trial call");
                if self.gate.waiting() > before {
                    return client;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Whether something can be read.
fn is_answered(client: &Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    peeked
}

#[test]
fn a_half_open_circuit_admits_exactly_its_trial_calls_and_closes_when_all_were_good() {
    let patient = Patient::new();
    let options = "failure_threshold = 3, recovery_timeout = \"500ms\", half_open_max_calls = 3";
    let gateway = with_breaker(options, &[&patient.backend]);
    patient.open_circuit(&gateway);
    let first = patient.first_trial(&gateway);
    let before = patient.backend.hits();
    let mut others: Vec<Client> = (0..30).map(|_| gateway.client()).collect();
    for client in &mut others {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("all trials are under way", PATIENCE, || patient.gate.waiting() == 3);
    let answered = std::thread::scope(|scope| {
        let waiting: Vec<_> =
            others.into_iter().map(|mut client| scope.spawn(move || client.response().status)).collect();
        // Those that are no trial are turned away while the trials are still held.
        eventually("the others are answered", PATIENCE, || {
            waiting.iter().filter(|thread| thread.is_finished()).count() == 28
        });
        assert_eq!((patient.gate.waiting(), patient.backend.hits() - before), (3, 2));
        assert_eq!(circuit(&gateway, &patient.backend), "half_open");
        patient.gate.open();
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(answered.iter().filter(|&&status| status == 200).count(), 2);
    assert_eq!(answered.iter().filter(|&&status| status == 503).count(), 28);
    drop(first);
    eventually("it is closed", PATIENCE, || circuit(&gateway, &patient.backend) == "closed");
    assert_eq!(gateway.get("/").text(), "back");
}

#[test]
fn a_client_that_leaves_gives_its_trial_call_back() {
    let patient = Patient::new();
    let options = "failure_threshold = 1, recovery_timeout = \"300ms\", half_open_max_calls = 1";
    let gateway = with_breaker(options, &[&patient.backend]);
    patient.open_circuit(&gateway);
    for _ in 0..3 {
        patient.first_trial(&gateway).into_wire().reset();
    }
    patient.gate.open();
    eventually("another trial closes it", PATIENCE, || gateway.get("/").text() == "back");
    eventually("nothing is counted any more", PATIENCE, || {
        let status = backend_status(&gateway, "app", &patient.backend.url());
        status["active_connections"] == 0 && status["circuit"] == "closed"
    });
}

#[test]
fn circuits_open_and_recover_under_load_while_everything_is_read() {
    let failing = Arc::new(AtomicBool::new(false));
    let backend = {
        let failing = Arc::clone(&failing);
        Backend::scripted(move |conn| {
            while conn.request().is_some() {
                conn.reply(if failing.load(SeqCst) { answer(500, "") } else { answer(200, "well") });
            }
        })
    };
    let options = "failure_threshold = 2, recovery_timeout = \"50ms\", half_open_max_calls = 2";
    let gateway = with_breaker(options, &[&backend]);
    let (served, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = gateway.client();
                while !over.load(SeqCst) {
                    if client.get("/").status == 200 {
                        served.fetch_add(1, SeqCst);
                    }
                }
            });
        }
        for page in ["/metrics", "/proxy-status"] {
            let (gateway, over) = (&gateway, &over);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    assert_eq!(gateway.get(page).status, 200);
                }
            });
        }
        let rounds = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..8 {
                failing.store(true, SeqCst);
                eventually("it opens", PATIENCE, || circuit(&gateway, &backend) == "open");
                failing.store(false, SeqCst);
                eventually("it closes", PATIENCE, || circuit(&gateway, &backend) == "closed");
                let before = served.load(SeqCst);
                eventually("it serves", PATIENCE, || served.load(SeqCst) > before + 50);
                assert!(round < 8);
            }
        }));
        over.store(true, SeqCst);
        rounds.unwrap();
    });
}
