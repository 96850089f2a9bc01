//! Probes and ejection from outside: what takes a backend out of rotation, what does not, and how it comes back.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use lb_testkit::{Backend, Conn, Gate, Gateway, PATIENCE, eventually};

use crate::support::{STATUS_LISTENER, backend_status, gateway, rule};

/// An answer with this status and body.
pub(crate) fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Any\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers 500 while the switch is on, and with its name otherwise.
fn switched(name: &'static str, failing: &Arc<AtomicBool>) -> Backend {
    let failing = Arc::clone(failing);
    Backend::scripted(move |conn| {
        while conn.request().is_some() {
            conn.reply(if failing.load(SeqCst) { answer(500, "") } else { answer(200, name) });
        }
    })
}

fn is_healthy(gateway: &Gateway, upstream: &str, backend: &Backend) -> bool {
    backend_status(gateway, upstream, &backend.url())["healthy"] == true
}

/// How many of the gateway's log lines say this.
fn said(gateway: &Gateway, message: &str) -> usize {
    gateway.log().iter().filter(|line| line["msg"] == message || line["message"] == message).count()
}

/// Sends half a head to whoever asks for `/download`, and an answer to all others.
fn stalls_in_its_head(conn: &mut Conn) {
    while let Some(request) = conn.request() {
        if request.target == "/download" {
            conn.try_send("HTTP/1.1 200 OK\r\nContent-Le").ok();
            conn.wait_for_close();
            return;
        }
        conn.reply(answer(200, "served"));
    }
}

#[test]
fn twenty_curls_that_give_up_amid_a_head_leave_both_backends_in_rotation() {
    let (a, b) = (Backend::scripted(stalls_in_its_head), Backend::scripted(stalls_in_its_head));
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule("name = \"app\"", &[&a, &b])));
    let url = format!("http://{}/download", gateway.address());
    let curls: Vec<Child> = (0..20)
        .map(|_| {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-o", "/dev/null", "-m", "60", &url]).stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    eventually("all downloads stand still", PATIENCE, || a.hits() + b.hits() == 20);
    for mut curl in curls {
        curl.kill().unwrap();
        curl.wait().unwrap();
    }
    for backend in [&a, &b] {
        eventually("nothing is in flight", PATIENCE, || {
            backend_status(&gateway, "app", &backend.url())["active_connections"] == 0
        });
        assert!(is_healthy(&gateway, "app", backend));
    }
    let before = (a.hits(), b.hits());
    for _ in 0..10 {
        assert_eq!(gateway.get("/").text(), "served");
    }
    assert_eq!((a.hits() - before.0, b.hits() - before.1), (5, 5), "both serve as before");
    assert_eq!(said(&gateway, "backend unhealthy"), 0);
}

#[test]
fn a_backend_ejected_without_any_probe_comes_back_by_itself() {
    let failing = Arc::new(AtomicBool::new(true));
    let (a, b) = (switched("a", &failing), Backend::fixed(answer(200, "b")));
    let lines = "name = \"app\"\npassive = { consecutive_failures = 3, ejection_time = \"700ms\" }";
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(lines, &[&a, &b])));
    eventually("it is ejected", PATIENCE, || {
        gateway.get("/");
        !is_healthy(&gateway, "app", &a)
    });
    failing.store(false, SeqCst);
    eventually("it serves again", PATIENCE, || gateway.get("/").text() == "a");
    assert!(is_healthy(&gateway, "app", &a));
    assert_eq!(said(&gateway, "backend unhealthy"), said(&gateway, "backend recovered"));
}

#[test]
fn a_backend_that_comes_back_with_a_slow_start_gets_a_tenth_of_its_share_at_first() {
    let failing = Arc::new(AtomicBool::new(true));
    let (a, b) = (switched("a", &failing), Backend::fixed(answer(200, "b")));
    let lines = "name = \"app\"\nload_balancing = \"weighted_round_robin\"\nslow_start = \"1h\"\n\
                 passive = { consecutive_failures = 1, ejection_time = \"300ms\" }";
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(lines, &[&a, &b])));
    eventually("it is ejected", PATIENCE, || {
        gateway.get("/");
        !is_healthy(&gateway, "app", &a)
    });
    failing.store(false, SeqCst);
    eventually("it serves again", PATIENCE, || gateway.get("/").text() == "a");
    let served = (0..110).filter(|_| gateway.get("/").text() == "a").count();
    assert_eq!(served, 10, "one in eleven: a weight of 0.1 beside one of 1");
}

#[test]
fn with_every_backend_failing_for_a_while_service_returns_without_a_restart() {
    let failing = Arc::new(AtomicBool::new(true));
    let (a, b) = (switched("a", &failing), switched("b", &failing));
    let lines = "passive = { consecutive_failures = 2, ejection_time = \"500ms\" }";
    let gateway = gateway(&rule(lines, &[&a, &b]));
    for _ in 0..30 {
        assert!(gateway.get("/").status >= 500);
    }
    failing.store(false, SeqCst);
    for name in ["a", "b"] {
        eventually("each serves again", PATIENCE, || gateway.get("/").text() == name);
    }
}

/// Answers the n-th probe of `/health` as the script says, repeating its last part, and everything else with 200.
fn probed(probes: &Arc<AtomicUsize>, status: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Backend {
    let probes = Arc::clone(probes);
    Backend::scripted(move |conn| {
        while let Some(request) = conn.request() {
            let status = match request.target.as_str() {
                "/health" => status(probes.fetch_add(1, SeqCst)),
                _ => 200,
            };
            conn.reply(answer(status, ""));
        }
    })
}

/// Two up, three down, and probes as quick as a busy machine's threads allow.
const PROBED: &str = "name = \"app\"\nhealth_check = { path = \"/health\", interval = \"400ms\", timeout = \"400ms\", \
    healthy_threshold = 2, unhealthy_threshold = 3 }";

#[test]
fn two_bad_probes_in_a_row_never_take_a_backend_out() {
    let probes = Arc::new(AtomicUsize::new(0));
    let backend = probed(&probes, |number| [503, 503, 200][number % 3]);
    let gateway = gateway(&rule(PROBED, &[&backend]));
    eventually("a dozen probes", PATIENCE, || probes.load(SeqCst) > 12);
    assert_eq!(said(&gateway, "backend unhealthy"), 0);
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn the_third_bad_probe_takes_a_backend_out_and_one_good_one_does_not_bring_it_back() {
    let probes = Arc::new(AtomicUsize::new(0));
    let good = Arc::new(AtomicBool::new(false));
    let backend = {
        let good = Arc::clone(&good);
        probed(
            &probes,
            move |number| if number > 2 && (number % 2 == 0 || good.load(SeqCst)) { 200 } else { 503 },
        )
    };
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(PROBED, &[&backend])));
    eventually("it is out", PATIENCE, || !is_healthy(&gateway, "app", &backend));
    let at = probes.load(SeqCst);
    assert!((3..=5).contains(&at), "out after {at} probes");
    assert_eq!(gateway.get("/").status, 503);
    eventually("every other probe is good", PATIENCE, || probes.load(SeqCst) > at + 8);
    assert_eq!(said(&gateway, "backend recovered"), 0);
    good.store(true, SeqCst);
    eventually("two good ones in a row", PATIENCE, || is_healthy(&gateway, "app", &backend));
    assert_eq!(gateway.get("/").status, 200);
    assert_eq!((said(&gateway, "backend unhealthy"), said(&gateway, "backend recovered")), (1, 1));
}

#[test]
fn the_first_probe_comes_at_once_and_once_to_each_backend_at_the_path_that_is_its_own() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let gateway = gateway(&format!(
        "[[rules]]\nbackends = [{{ url = \"{}\", health_check_path = \"/alive\" }}, \
         {{ url = \"{}/base\", health_check_path = \"/ready?deep=1\" }}, \"{}\"]\n\
         health_check = {{ path = \"/health\", interval = \"1h\" }}\n",
        a.url(),
        b.url(),
        c.url()
    ));
    let targets = |backend: &Backend| -> Vec<String> {
        backend.requests().into_iter().map(|request| request.target).collect()
    };
    for (backend, probe) in [(&a, "/alive"), (&b, "/base/ready?deep=1"), (&c, "/health")] {
        eventually("the first probe", PATIENCE, || backend.hits() > 0);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(targets(backend), [probe]);
        eventually("it leaves no connection behind", PATIENCE, || backend.open_connections() == 0);
        let request = &backend.requests()[0];
        assert_eq!(request.header("host"), Some(backend.address().to_string().as_str()));
    }
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn probes_leave_no_connections_behind_and_end_with_the_gateway() {
    let probes = Arc::new(AtomicUsize::new(0));
    let backend = probed(&probes, |_| 200);
    let lines = "health_check = { path = \"/health\", interval = \"50ms\", timeout = \"50ms\" }";
    let mut gateway = gateway(&rule(lines, &[&backend]));
    eventually("many probes", PATIENCE, || probes.load(SeqCst) > 20);
    assert!(backend.open_connections() <= 2, "{} are open", backend.open_connections());
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0), "probes keep no process alive");
    let after = backend.accepted();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(backend.accepted(), after);
}

#[test]
fn a_client_that_leaves_at_any_moment_leaves_no_counter_behind() {
    let gate = Gate::new();
    let held = Backend::held("a", &gate);
    let large = Backend::scripted(|conn| {
        while conn.request().is_some() {
            conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n").ok();
            if conn.try_send(vec![b'x'; 32 << 20]).is_err() {
                return;
            }
        }
    });
    let gateway = crate::support::launch()
        .config(&format!(
            "{}{}[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\n[admin]\naddress = \"{{admin}}\"\n",
            rule("name = \"large\"\npath_prefix = \"/large\"", &[&large]),
            rule("name = \"held\"", &[&held]),
        ))
        .start();
    let moments = [
        "",
        "GET / HT",
        "GET /held HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /held HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
        "GET /large HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let mut client = gateway.client();
            client.send(moments[number % moments.len()]);
            client
        })
        .collect();
    eventually("some are in flight everywhere", PATIENCE, || gate.waiting() == 20 && large.hits() == 10);
    for (number, client) in clients.into_iter().enumerate() {
        if number % 4 < 2 {
            client.into_wire().reset();
        }
    }
    gate.open();
    eventually("every counter is zero", PATIENCE, || {
        in_flight(gateway.address_of("admin")) == Vec::<String>::new()
    });
}

/// Series of connections and requests in flight that are not zero.
fn in_flight(admin: SocketAddr) -> Vec<String> {
    let metrics = lb_testkit::fetch(admin, "GET", "/metrics", &[]).text();
    let active = |line: &&str| {
        line.starts_with("gatewayd_connections_active")
            || line.starts_with("gatewayd_backend_active_connections")
    };
    let lines: Vec<&str> = metrics.lines().filter(active).collect();
    assert!(lines.len() >= 2, "the counters are there: {metrics}");
    lines.into_iter().filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

/// Where most seem to be down, it is rather their health that is wrong, and the few others could not bear it.
#[test]
fn below_the_panic_threshold_all_backends_are_used() {
    let sick: [Arc<AtomicBool>; 4] = Default::default();
    let backends: Vec<Backend> = sick
        .iter()
        .map(|sick| {
            let sick = Arc::clone(sick);
            Backend::scripted(move |conn| {
                while let Some(request) = conn.request() {
                    let is_bad = request.target == "/health" && sick.load(SeqCst);
                    conn.reply(answer(if is_bad { 503 } else { 200 }, ""));
                }
            })
        })
        .collect();
    let lines = "name = \"app\"\npanic_threshold = 0.5\npassive = false\n\
                 health_check = { path = \"/health\", interval = \"100ms\", healthy_threshold = 1 }";
    let all: Vec<&Backend> = backends.iter().collect();
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(lines, &all)));
    let served = |backend: &Backend| backend.requests().iter().filter(|it| it.target == "/r").count();
    let used = || -> Vec<bool> {
        let before: Vec<usize> = backends.iter().map(served).collect();
        (0..8).for_each(|_| assert_eq!(gateway.get("/r").status, 200));
        backends.iter().zip(before).map(|(backend, before)| served(backend) > before).collect()
    };
    let healthy = || backends.iter().filter(|backend| is_healthy(&gateway, "app", backend)).count();
    assert_eq!(used(), [true; 4]);
    sick[0].store(true, SeqCst);
    sick[1].store(true, SeqCst);
    eventually("two are out", PATIENCE, || healthy() == 2);
    eventually("half of them is enough", PATIENCE, || used() == [false, false, true, true]);
    sick[2].store(true, SeqCst);
    eventually("three are out", PATIENCE, || healthy() == 1);
    eventually("one could not bear it", PATIENCE, || used() == [true; 4]);
    sick[1].store(false, SeqCst);
    sick[2].store(false, SeqCst);
    eventually("two are back", PATIENCE, || healthy() == 3);
    eventually("the one that is out is left alone again", PATIENCE, || used() == [false, true, true, true]);
}

#[test]
fn a_probe_of_tcp_wants_a_connection_and_no_more() {
    let mut silent = Backend::silent();
    let good = Backend::echo("good");
    let gateway = gateway(&format!(
        "{STATUS_LISTENER}[[rules]]\nname = \"app\"\nbackends = [\"{}\", \"{}\"]\n\
         health_check = {{ type = \"tcp\", interval = \"100ms\" }}\n",
        silent.url(),
        good.url()
    ));
    eventually("many probes", PATIENCE, || silent.accepted() > 5);
    assert!(is_healthy(&gateway, "app", &silent));
    assert_eq!(silent.hits() + good.hits(), 0, "nothing was sent");
    silent.stop();
    eventually("it is out", PATIENCE, || !is_healthy(&gateway, "app", &silent));
    silent.start();
    eventually("it is back", PATIENCE, || is_healthy(&gateway, "app", &silent));
}
