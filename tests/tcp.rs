//! TCP listeners: connections that are passed on as they are. What a backend is here says its name first, unless it is told otherwise.

mod clients;
mod names;

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use lb_testkit::{Backend, Client, Gate, Gateway, PATIENCE, Port, eventually, fetch};

use crate::support::{STATUS_LISTENER, assert_tally, backend_status, cli, launch};

/// A TCP listener `db` on `{listen2}` with these keys, which leads to an upstream of these lines; status pages on `{listen}`.
fn tcp(keys: &str, upstream: &str) -> String {
    format!(
        "{STATUS_LISTENER}[[listeners]]\nname = \"db\"\naddress = \"{{listen2}}\"\nprotocol = \"tcp\"\n{keys}\n\
         [upstreams.db]\n{upstream}\n[admin]\naddress = \"{{admin}}\"\n"
    )
}

/// The same with these backends, by turns.
fn over(backends: &[&Backend], more: &str) -> String {
    tcp("upstream = \"db\"", &format!("backends = [{}]\n{more}", urls(backends)))
}

fn url(backend: &Backend) -> String {
    format!("tcp://{}", backend.address())
}

fn urls(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("\"{}\"", url(backend))).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn gateway(config: &str) -> Gateway {
    launch().config(config).start()
}

/// A new connection to the TCP listener.
#[track_caller]
fn connect(gateway: &Gateway) -> Client {
    Client::connect(gateway.address_of("listen2"))
}

/// Whether a new connection is closed, or reset at once, without a word.
#[track_caller]
fn is_turned_away(gateway: &Gateway) -> bool {
    let mut word = Vec::new();
    let heard = TcpStream::connect(gateway.address_of("listen2")).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whatever is said may come too late.
        std::io::Write::write_all(&mut stream, b"hello?").ok();
        std::io::Read::read_to_end(&mut stream, &mut word)
    });
    word.is_empty()
        && heard.map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
}

/// Says its name to whoever connects, then says back whatever it hears.
fn named(name: &'static str) -> Backend {
    Backend::scripted(move |conn| {
        conn.send(name);
        while let Ok(heard) = conn.read_some(64 << 10)
            && !heard.is_empty()
        {
            if conn.try_send(heard).is_err() {
                return;
            }
        }
    })
}

/// Whose name it is that a connection is greeted with.
#[track_caller]
fn greeted(client: &mut Client) -> String {
    String::from_utf8(client.read_exact(1).unwrap()).unwrap()
}

/// How many connections failed for this reason.
#[track_caller]
fn failed(gateway: &Gateway, reason: &str) -> u64 {
    let series = format!("gatewayd_tcp_connections_failed_total{{listener=\"db\",reason=\"{reason}\"}}");
    metric(gateway, &series)
}

#[track_caller]
fn metric(gateway: &Gateway, series: &str) -> u64 {
    let metrics = gateway.get("/metrics").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}

/// Bytes in which no two places look alike.
fn pattern(seed: u8, count: usize) -> Vec<u8> {
    let mut state = u64::from(seed) | 1;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33).to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}

const BULK: usize = 24 << 20;

#[test]
fn megabytes_pass_byte_by_byte_both_ways_at_once() {
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let backend = Backend::scripted(move |conn| {
        let mut out = conn.stream().try_clone().unwrap();
        let saying = std::thread::spawn(move || {
            std::io::Write::write_all(&mut out, &pattern(2, BULK)).unwrap();
            out.shutdown(std::net::Shutdown::Write).unwrap();
        });
        *kept.lock().unwrap() = conn.read_to_close();
        saying.join().unwrap();
    });
    let gateway = gateway(&format!("access_log = true\n{}", over(&[&backend], "")));
    let mut client = connect(&gateway);
    let mut out = client.stream().try_clone().unwrap();
    let saying = std::thread::spawn(move || {
        std::io::Write::write_all(&mut out, &pattern(1, BULK)).unwrap();
        out.shutdown(std::net::Shutdown::Write).unwrap();
    });
    assert!(client.read_to_close() == pattern(2, BULK), "to the client");
    saying.join().unwrap();
    let line = gateway.log_line("the connection is logged", |line| line["protocol"] == "tcp");
    eventually("the backend has read to the end", PATIENCE, || !heard.lock().unwrap().is_empty());
    assert!(*heard.lock().unwrap() == pattern(1, BULK), "to the backend");
    assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&BULK.into(), &BULK.into()));
    assert_eq!((&line["msg"], &line["listener"]), (&"proxy connection".into(), &"db".into()));
    assert_eq!((&line["status_code"], &line["backend"]), (&200.into(), &url(&backend).into()));
    assert_eq!((&line["rule"], &line["attempts"]), (&serde_json::Value::Null, &1.into()));
    assert_eq!(line["client_ip"], "127.0.0.1");
}

#[test]
fn small_pieces_pass_at_once_and_bulk_between_them_changes_nothing() {
    let backend = named("a");
    let gateway = gateway(&over(&[&backend], ""));
    let mut client = connect(&gateway);
    assert_eq!(greeted(&mut client), "a");
    for (round, size) in (0..).zip([1, 100, 1 << 20, 1, 70_000, 5, 3 << 20, 2]) {
        let piece = pattern(round, size);
        let mut out = client.stream().try_clone().unwrap();
        let sent = piece.clone();
        let saying = std::thread::spawn(move || std::io::Write::write_all(&mut out, &sent).unwrap());
        assert!(client.read_exact(size).unwrap() == piece, "{size} bytes");
        saying.join().unwrap();
    }
}

#[test]
fn each_sides_end_is_passed_on_and_the_other_side_goes_on() {
    // The client is done first: it still gets the answer that its end asks for.
    let answering = Backend::scripted(|conn| {
        let asked = conn.read_to_close();
        conn.send(format!("{} bytes", asked.len()));
    });
    let first = gateway(&over(&[&answering], ""));
    for _ in 0..20 {
        let mut client = connect(&first);
        client.send(pattern(1, 100_000));
        client.finish();
        assert_eq!(client.read_to_close(), b"100000 bytes");
    }
    // The backend is done first: it still hears everything.
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    let listening = Backend::scripted(move |conn| {
        conn.send("go on");
        conn.finish();
        *kept.lock().unwrap() = conn.read_to_close();
    });
    let second = gateway(&over(&[&listening], ""));
    let mut client = connect(&second);
    assert_eq!(client.read_to_close(), b"go on");
    client.send(pattern(3, 200_000));
    std::thread::sleep(Duration::from_millis(50));
    client.send("and the rest");
    client.finish();
    eventually("it heard all", PATIENCE, || heard.lock().unwrap().len() == 200_012);
    eventually("and it is over", PATIENCE, || {
        metric(&second, "gatewayd_connections_active{listener=\"db\"}") == 0
    });
    assert_eq!(failed(&second, "upstream_reset") + failed(&first, "upstream_reset"), 0);
}

#[test]
fn a_client_that_has_said_all_at_once_is_served_like_any_other() {
    let backend = Backend::scripted(|conn| {
        let asked = conn.read_to_close();
        std::thread::sleep(Duration::from_millis(100));
        conn.send(asked);
    });
    let gateway = gateway(&over(&[&backend], "queue = { timeout = \"5s\" }"));
    let mut client = connect(&gateway);
    client.finish();
    assert_eq!(client.read_to_close(), b"");
    eventually("the backend saw it", PATIENCE, || backend.accepted() == 1);
}

#[test]
fn connections_are_balanced_as_requests_are() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let all = [&a, &b, &c];
    let names = |gateway: &Gateway, count: usize| -> Vec<String> {
        (0..count).map(|_| greeted(&mut connect(gateway))).collect()
    };
    let turns = gateway(&over(&all, ""));
    assert_eq!(names(&turns, 9).concat(), "abcabcabc");
    let hashed = gateway(&over(&all, "load_balancing = \"ip_hash\""));
    let first = greeted(&mut connect(&hashed));
    assert_tally(names(&hashed, 20), &[(&first, 20)]);
    let from = |last: u8| {
        let source = format!("127.0.1.{last}").parse().unwrap();
        greeted(&mut Client::connect_from(source, hashed.address_of("listen2")))
    };
    let spread: Vec<String> = (1..60).map(from).collect();
    assert_eq!(crate::support::tally(spread.clone()).len(), 3, "{spread:?}");
    assert_eq!((1..60).map(from).collect::<Vec<_>>(), spread);
    // What is open counts: whoever has least gets the next.
    let least = gateway(&over(&all, "load_balancing = \"least_connections\""));
    let mut held: Vec<Client> = (0..6).map(|_| connect(&least)).collect();
    let greetings: Vec<String> = held.iter_mut().map(greeted).collect();
    assert_tally(greetings.clone(), &[("a", 2), ("b", 2), ("c", 2)]);
    let active =
        |backend: &Backend| backend_status(&least, "db", &url(backend))["active_connections"].clone();
    assert_eq!(active(&b), 2);
    let of_b: Vec<usize> = (0..6).filter(|place| greetings[*place] == "b").collect();
    for place in of_b.into_iter().rev() {
        drop(held.remove(place));
    }
    eventually("b has none", PATIENCE, || active(&b) == 0);
    held.extend((0..2).map(|_| connect(&least)));
    assert_eq!(greeted(&mut held[4]), "b");
    assert_eq!(greeted(&mut held[5]), "b");
    drop(held);
    eventually("all are given back", PATIENCE, || all.iter().all(|backend| active(backend) == 0));
    let total = backend_status(&least, "db", &url(&b))["total_requests"].as_u64();
    assert_eq!(total, Some(4), "each connection is counted once");
}

#[test]
fn max_connections_holds_and_whoever_is_above_it_waits_or_is_turned_away() {
    let a = named("a");
    let limited = format!("backends = [{{ url = \"{}\", max_connections = 2 }}]\n", url(&a));
    let gateway = gateway(&tcp(
        "upstream = \"db\"",
        &format!("{limited}queue = {{ max_pending = 1, timeout = \"10s\" }}"),
    ));
    let mut held = [connect(&gateway), connect(&gateway)];
    held.iter_mut().for_each(|client| drop(greeted(client)));
    let mut waiting = connect(&gateway);
    waiting.send("x");
    // It has to wait before the next one comes.
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_turned_away(&gateway));
    assert_eq!(failed(&gateway, "overloaded"), 1);
    assert_eq!(a.accepted(), 2);
    let [first, _second] = held;
    drop(first);
    assert_eq!(waiting.read_exact(2).unwrap(), b"ax");
    assert_eq!(a.accepted(), 3);
}

#[test]
fn a_dead_backend_is_made_good_for_elsewhere_and_taken_out() {
    let a = named("a");
    let dead = Port::free();
    let gateway = gateway(&tcp(
        "upstream = \"db\"",
        &format!("backends = [\"tcp://{}\", \"{}\"]\n", dead.address(), url(&a)),
    ));
    for _ in 0..12 {
        assert_eq!(greeted(&mut connect(&gateway)), "a");
    }
    let status = backend_status(&gateway, "db", &format!("tcp://{}", dead.address()));
    assert_eq!(status["state"], "ejected", "{status}");
    let failures = status["failed_requests"].as_u64().unwrap();
    // Whoever waited for the gateway to listen had a connection too, which may be tried when the fifth fails.
    assert!((5..=6).contains(&failures), "{status}");
    assert_eq!(failed(&gateway, "connect_failed"), 0, "no client has noticed");
    assert_eq!(metric(&gateway, "gatewayd_retries_total{upstream=\"db\"}"), failures);
}

#[test]
fn without_attempts_a_failed_connect_is_the_clients() {
    let a = named("a");
    let dead = Port::free();
    let gateway = gateway(&tcp(
        "upstream = \"db\"",
        &format!(
            "passive = false\nretries = {{ attempts = 0 }}\nbackends = [\"tcp://{}\", \"{}\"]\n",
            dead.address(),
            url(&a)
        ),
    ));
    assert!(is_turned_away(&gateway));
    assert_eq!(greeted(&mut connect(&gateway)), "a");
    assert_eq!(failed(&gateway, "connect_failed"), 1);
}

#[test]
fn where_nobody_is_left_a_connection_is_closed_at_once_and_counted() {
    let ports = [Port::free(), Port::free()];
    let gateway = gateway(&format!(
        "access_log = true\n{}",
        tcp(
            "upstream = \"db\"",
            &format!(
                "backends = [\"tcp://{}\", \"tcp://{}\"]\nhealth_check = {{ type = \"tcp\", interval = \"50ms\", unhealthy_threshold = 1 }}",
                ports[0].address(),
                ports[1].address()
            ),
        )
    ));
    eventually("probes have told", PATIENCE, || {
        backend_status(&gateway, "db", &format!("tcp://{}", ports[1].address()))["healthy"] == false
    });
    for count in 1..4 {
        assert!(is_turned_away(&gateway), "no answer, and no waiting");
        let counted = || failed(&gateway, "no_backend") + failed(&gateway, "connect_failed");
        eventually("it is counted", PATIENCE, || counted() == count);
    }
    let line = gateway.log_line("it is logged", |line| line["protocol"] == "tcp");
    assert_eq!((&line["upstream"], &line["level"]), (&serde_json::Value::Null, &"error".into()));
}

#[test]
fn a_backend_that_breaks_off_breaks_its_clients_off_and_is_counted() {
    let gate = Gate::new();
    let opened = gate.clone();
    let backend = Backend::scripted(move |conn| {
        conn.send("a");
        opened.wait();
        conn.reset();
    });
    let gateway = gateway(&over(&[&backend], ""));
    let mut client = connect(&gateway);
    assert_eq!(greeted(&mut client), "a");
    gate.open();
    let ended = client.read_some(1);
    assert!(ended.is_err(), "a reset is no end: {ended:?}");
    assert_eq!(failed(&gateway, "upstream_reset"), 1);
    assert_eq!(backend_status(&gateway, "db", &url(&backend))["failed_requests"], 1);
}

#[test]
fn a_client_that_breaks_off_breaks_its_backend_off() {
    let ended = Arc::new(std::sync::Mutex::new(None));
    let kept = Arc::clone(&ended);
    let backend = Backend::scripted(move |conn| {
        conn.send("a");
        *kept.lock().unwrap() = Some(conn.read_some(1).map_err(|error| error.kind()));
    });
    let gateway = gateway(&over(&[&backend], ""));
    let mut client = connect(&gateway);
    assert_eq!(greeted(&mut client), "a");
    client.into_wire().reset();
    eventually("the backend is told", PATIENCE, || ended.lock().unwrap().is_some());
    assert_eq!(*ended.lock().unwrap(), Some(Err(std::io::ErrorKind::ConnectionReset)));
    assert_eq!(failed(&gateway, "upstream_reset"), 0, "it is nobody's failure");
}

#[test]
fn a_connection_on_which_nothing_moves_is_ended() {
    let backend = named("a");
    let gateway = gateway(&tcp(
        "upstream = \"db\"\nidle_timeout = \"400ms\"",
        &format!("backends = [{}]\n", urls(&[&backend])),
    ));
    let mut lively = connect(&gateway);
    assert_eq!(greeted(&mut lively), "a");
    let mut idle = connect(&gateway);
    assert_eq!(greeted(&mut idle), "a");
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(100));
        lively.send("x");
        assert_eq!(lively.read_exact(1).unwrap(), b"x", "what moves stays");
    }
    assert!(idle.closes_within(PATIENCE));
    assert_eq!(failed(&gateway, "idle_timeout"), 1);
    eventually("the backend is told too", PATIENCE, || backend.open_connections() == 1);
    let status = backend_status(&gateway, "db", &url(&backend));
    assert_eq!(status["healthy"], true);
}

#[test]
fn a_drained_backend_keeps_its_connections_and_gets_no_new_ones() {
    let (a, b) = (named("a"), named("b"));
    let gateway = gateway(&over(&[&a, &b], ""));
    let mut held = connect(&gateway);
    assert_eq!(greeted(&mut held), "a");
    let admin = gateway.address_of("admin").to_string();
    let drained = cli(&["drain", &url(&a), "--admin", &admin]);
    assert!(drained.status.success(), "{}", String::from_utf8_lossy(&drained.stderr));
    for _ in 0..6 {
        assert_eq!(greeted(&mut connect(&gateway)), "b");
    }
    held.send("still here");
    assert_eq!(held.read_exact(10).unwrap(), b"still here");
    assert!(cli(&["undrain", &url(&a), "--admin", &admin]).status.success());
    eventually("it is back", PATIENCE, || greeted(&mut connect(&gateway)) == "a");
}

#[test]
fn a_gateway_that_ends_lets_its_connections_finish_within_their_time() {
    let backend = named("a");
    let config =
        |timeout: &str| format!("[server]\nshutdown_timeout = \"{timeout}\"\n{}", over(&[&backend], ""));
    let mut patient = gateway(&config("30s"));
    let mut client = connect(&patient);
    assert_eq!(greeted(&mut client), "a");
    patient.sigterm();
    let address = patient.address_of("listen2");
    eventually("nobody new is let in", PATIENCE, || TcpStream::connect(address).is_err());
    client.send("the rest");
    assert_eq!(client.read_exact(8).unwrap(), b"the rest");
    drop(client);
    assert_eq!(patient.wait_exit(PATIENCE), Some(0));
    let mut hasty = gateway(&config("300ms"));
    let mut client = connect(&hasty);
    assert_eq!(greeted(&mut client), "a");
    hasty.sigterm();
    assert!(client.closes_within(PATIENCE));
    assert!(hasty.wait_exit(PATIENCE).is_some());
}

#[test]
fn a_reload_changes_where_new_connections_go_and_leaves_those_there_are() {
    let (a, b) = (named("a"), named("b"));
    let listener = |name: &str, place: &str, upstream: &str| {
        format!(
            "[[listeners]]\nname = \"{name}\"\naddress = \"{{{place}}}\"\nprotocol = \"tcp\"\nupstream = \"{upstream}\"\n"
        )
    };
    let rest = format!(
        "[upstreams.one]\nbackends = [{}]\n[upstreams.two]\nbackends = [{}]\n[admin]\naddress = \"{{admin}}\"\n",
        urls(&[&a]),
        urls(&[&b])
    );
    let config = |listeners: &str| format!("{listeners}{rest}");
    let first = listener("first", "listen", "one");
    let gateway = gateway(&config(&first));
    let apply = |listeners: &str| {
        gateway.write_config(&config(listeners));
        let output = cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut held = gateway.client();
    assert_eq!(greeted(&mut held), "a");
    let said = apply(&format!("{first}{}", listener("second", "listen2", "two")));
    assert!(said.contains("second"), "{said}");
    assert_eq!(greeted(&mut connect(&gateway)), "b");
    let said =
        apply(&format!("{}{}", listener("first", "listen", "two"), listener("second", "listen2", "one")));
    assert!(said.contains("first") && said.contains("second"), "{said}");
    assert_eq!((greeted(&mut gateway.client()), greeted(&mut connect(&gateway))), ("b".into(), "a".into()));
    apply(&listener("first", "listen", "two"));
    eventually("it is gone", PATIENCE, || TcpStream::connect(gateway.address_of("listen2")).is_err());
    held.send("as ever");
    assert_eq!(held.read_exact(7).unwrap(), b"as ever");
    // Neither listener nor rule would be left.
    gateway.write_config(&config("[[listeners]]\naddress = \"{listen}\"\n"));
    let output = cli(&["reload", "--admin", &gateway.address_of("admin").to_string()]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(greeted(&mut gateway.client()), "b");
}

#[test]
fn what_a_listener_does_is_seen_from_outside() {
    let backend = named("a");
    let gateway = gateway(&over(&[&backend], "health_check = true"));
    let mut client = connect(&gateway);
    assert_eq!(greeted(&mut client), "a");
    let status = gateway.get("/proxy-status").json();
    let listener =
        status["listeners"].as_array().unwrap().iter().find(|it| it["name"] == "db").unwrap().clone();
    assert_eq!((&listener["protocol"], &listener["upstreams"]), (&"tcp".into(), &serde_json::json!(["db"])));
    assert_eq!((&listener["active_connections"], &listener["tls"]), (&1.into(), &false.into()));
    assert_eq!(metric(&gateway, "gatewayd_connections_active{listener=\"db\"}"), 1);
    drop(client);
    let labels = format!("{{upstream=\"db\",backend=\"{}\"", url(&backend));
    let requests = format!("gatewayd_backend_requests_total{labels},code=\"2xx\"}}");
    eventually("it is counted at its end", PATIENCE, || metric(&gateway, &requests) == 1);
    assert!(!gateway.get("/metrics").text().contains("rule=\"(none)\",code=\"5xx\"} 1"));
    // `health_check = true` asks for a connection and no more: an HTTP probe would have been a failure.
    eventually("it is probed", PATIENCE, || {
        !backend_status(&gateway, "db", &url(&backend))["last_probe_time"].is_null()
    });
    let seen = backend_status(&gateway, "db", &url(&backend));
    assert_eq!((&seen["healthy"], &seen["error"]), (&true.into(), &serde_json::Value::Null));
    let live = fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json();
    assert_eq!(live["rules_count"], 0);
}

#[test]
fn who_does_not_read_holds_the_other_side_back() {
    let backend = Backend::scripted(|conn| while conn.try_send(vec![7; 1 << 20]).is_ok() {});
    let gateway = gateway(&over(&[&backend], ""));
    let before = gateway.resident_bytes();
    let mut clients: Vec<Client> =
        (0..8).map(|_| Client::connect_slow_reader(gateway.address_of("listen2"))).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.read_exact(1).unwrap(), [7]));
    std::thread::sleep(Duration::from_millis(500));
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes are kept for clients that do not read");
}

#[test]
fn a_client_that_breaks_off_while_it_waits_is_noticed_at_once() {
    let a = named("a");
    let limited = format!("backends = [{{ url = \"{}\", max_connections = 1 }}]\n", url(&a));
    let queue = "queue = { max_pending = 1, timeout = \"5m\" }";
    let gateway =
        gateway(&format!("access_log = true\n{}", tcp("upstream = \"db\"", &format!("{limited}{queue}"))));
    let mut held = connect(&gateway);
    assert_eq!(greeted(&mut held), "a");
    let mut leaves = connect(&gateway);
    leaves.send("x");
    std::thread::sleep(Duration::from_millis(200));
    assert!(is_turned_away(&gateway), "it waits");
    leaves.into_wire().reset();
    gateway.log_line("it is told to have left", |line| line["status_code"] == 499);
    // Who has merely said all that there is to say still waits.
    let mut ends = connect(&gateway);
    ends.send("y");
    ends.finish();
    std::thread::sleep(Duration::from_millis(200));
    drop(held);
    assert_eq!(ends.read_exact(2).unwrap(), b"ay");
}
