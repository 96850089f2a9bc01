//! What operators do to a running gateway: drain a backend and take it back, weigh it, be told of what breaks, end it.

use std::time::Duration;

use lb_testkit::{Authority, Backend, Gate, Gateway, PATIENCE, eventually, fetch};
use serde_json::{Value, json};

use crate::support::{cli, launch, rule, tally};

/// A gateway with an admin address.
fn operated(admin: &str, rules: &str) -> Gateway {
    launch().config(&format!("[admin]\naddress = \"{{admin}}\"\n{admin}\n{rules}")).start()
}

/// A command against its admin address: whether it succeeded, and what it said.
fn command(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let admin = gateway.address_of("admin").to_string();
    let output = cli(&[arguments, &["--admin", &admin]].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Who answers so many requests.
fn answers(gateway: &Gateway, count: usize) -> Vec<String> {
    tally((0..count).map(|_| gateway.get("/").backend())).into_keys().collect()
}

#[test]
fn a_drained_backend_finishes_what_it_has_and_gets_nothing_new() {
    let gate = Gate::new();
    let (held, other) = (Backend::held("held", &gate), Backend::echo("other"));
    let gateway = operated("", &rule("name = \"r\"\nload_balancing = \"round_robin\"", &[&held, &other]));
    let mut sticky = gateway.client();
    sticky.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is in flight", PATIENCE, || gate.waiting() == 1);
    let (done, said) = command(&gateway, &["drain", &held.url()]);
    assert!(done, "{said}");
    eventually("nothing new goes there", PATIENCE, || answers(&gateway, 1) == ["other"]);
    assert_eq!(answers(&gateway, 20), ["other"]);
    let (_, status) = command(&gateway, &["status"]);
    assert!(status.contains("draining"), "{status}");
    gate.open();
    assert_eq!(sticky.response().backend(), "held");
    assert!(command(&gateway, &["undrain", &held.url()]).0);
    eventually("it is used again", PATIENCE, || answers(&gateway, 4) == ["held", "other"]);
    gateway.log_line("it is in the log", |line| {
        line["component"] == "admin" && line["action"] == "undrain" && line["backend"] == held.url()
    });
}

#[test]
fn a_weight_is_changed_while_it_runs() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let gateway = operated("", &rule("load_balancing = \"weighted_round_robin\"", &[&a, &b]));
    let (done, said) = command(&gateway, &["weight", &a.url(), "3", "--json"]);
    assert!(done && said.contains("\"changed\":1"), "{said}");
    eventually("three to one", PATIENCE, || {
        tally((0..4).map(|_| gateway.get("/").backend())) == [("a".to_owned(), 3), ("b".to_owned(), 1)].into()
    });
    for (arguments, words) in [
        (["weight", &a.url(), "-1"], "weight"),
        (["weight", "http://10.9.9.9:1", "1"], "there is no backend"),
    ] {
        let (done, said) = command(&gateway, &arguments);
        assert!(!done && said.contains(words), "{said}");
    }
}

#[test]
fn with_a_token_nothing_changes_without_it() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let gateway = operated("token = \"s3cret\"", &rule("", &[&a, &b]));
    let (done, said) = command(&gateway, &["drain", &a.url()]);
    assert!(!done && said.contains("401"), "{said}");
    assert!(!command(&gateway, &["drain", &a.url(), "--token", "s3creT"]).0);
    assert_eq!(answers(&gateway, 4), ["a", "b"]);
    assert!(command(&gateway, &["drain", &a.url(), "--token", "s3cret"]).0);
    eventually("it is drained", PATIENCE, || answers(&gateway, 4) == ["b"]);
    assert!(!gateway.errors().contains("s3cret"), "no token in the log");
}

#[test]
fn without_a_token_no_page_of_another_site_changes_anything() {
    let a = Backend::echo("a");
    let gateway = operated("", &rule("", &[&a]));
    let admin = gateway.address_of("admin");
    let body = json!({ "backend": a.url() }).to_string();
    let length = body.len().to_string();
    let ask = |method: &str, host: &str, origin: Option<&str>| {
        let mut client = lb_testkit::Client::connect(admin);
        let origin = origin.map(|origin| format!("Origin: {origin}\r\n")).unwrap_or_default();
        client.send(format!(
            "{method} /api/backends/drain HTTP/1.1\r\nHost: {host}\r\n{origin}Content-Length: {length}\r\n\r\n{body}"
        ));
        client.response()
    };
    let own = admin.to_string();
    for (method, host, origin, status, code) in [
        ("POST", "evil.example", None, 403, "forbidden"),
        ("POST", &*own, Some("http://evil.example"), 403, "forbidden"),
        ("POST", &*own, Some("null"), 403, "forbidden"),
        ("PUT", &*own, None, 405, "method_not_allowed"),
    ] {
        let response = ask(method, host, origin);
        assert_eq!(
            (response.status, response.json()["code"].as_str()),
            (status, Some(code)),
            "{method} {host} {origin:?}"
        );
    }
    assert_eq!(answers(&gateway, 2), ["a"]);
    assert_eq!(ask("POST", &own, Some(&format!("http://{own}"))).status, 200);
    eventually("it is drained", PATIENCE, || gateway.get("/").status == 503);
}

#[test]
fn without_a_token_no_page_whose_name_is_led_here_reads_anything() {
    let a = Backend::echo("a");
    let gateway = operated("", &rule("", &[&a]));
    let admin = gateway.address_of("admin");
    let private = [
        "/",
        "/proxy-status",
        "/info",
        "/strategies",
        "/api/log-level",
        "/api/edits",
        "/api/openapi.json",
        "/nothing",
    ];
    let ask = |path: &str, host: &str| fetch(admin, "GET", path, &[("Host", host)]);
    for path in private {
        for host in ["evil.example", "evil.example:8081", "127.0.0.1.evil.example"] {
            let response = ask(path, host);
            assert_eq!(response.status, 403, "{path} {host}");
            let document = response.json();
            assert_eq!(document["code"], "forbidden", "{path} {host}");
            let detail = document["detail"].as_str().unwrap();
            assert!(detail.contains(&admin.to_string()) && detail.contains("admin.token"), "{detail}");
            assert!(!response.text().contains(&a.url()));
        }
    }
    // A live view would go on for ever.
    assert_eq!(ask("/api/live", "evil.example").status, 403);
    for host in ["localhost:8081", "gatewayd.localhost", "127.0.0.1:8081", "10.1.2.3:8081", "[::1]:8081"] {
        assert_eq!(ask("/proxy-status", host).status, 200, "{host}");
    }
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(ask(path, "gatewayd.internal:8081").status, 200, "{path}");
    }
    let with_token = operated("token = \"s3cret\"", &rule("", &[&a]));
    let response = fetch(with_token.address_of("admin"), "GET", "/proxy-status", &[("Host", "lb.example")]);
    assert_eq!(response.status, 200);
}

#[test]
fn readiness_turns_red_before_the_last_request_has_been_answered() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let mut gateway = operated("", &rule("", &[&backend]));
    let admin = gateway.address_of("admin");
    let mut busy = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", PATIENCE, || gate.waiting() == 1);
    assert_eq!(fetch(admin, "GET", "/ready", &[]).status, 200);
    gateway.sigterm();
    eventually("readiness is red", PATIENCE, || fetch(admin, "GET", "/ready", &[]).status == 503);
    gate.open();
    assert_eq!(busy.response().backend(), "a");
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let mut gateway =
        operated("", &format!("[server]\nshutdown_timeout = \"10m\"\n{}", rule("", &[&backend])));
    let mut busy = gateway.client();
    busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("a request is in flight", PATIENCE, || gate.waiting() == 1);
    gateway.sigterm();
    eventually("it drains", PATIENCE, || std::net::TcpStream::connect(gateway.address()).is_err());
    assert!(gateway.exited().is_none());
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    gate.open();
}

/// What a webhook was told.
fn told(webhook: &Backend) -> Vec<Value> {
    webhook.requests().iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

#[test]
fn each_change_of_health_is_one_call_of_the_webhook() {
    let webhook = Backend::echo("webhook");
    let [mut a, b] = ["a", "b"].map(Backend::echo);
    let health = "health_check = { path = \"/\", interval = \"100ms\" }\npassive = false";
    let rules = rule(&format!("name = \"r\"\n{health}"), &[&a, &b]);
    let gateway = operated(
        "",
        &format!("[alerts]\nwebhook = \"http://user:p%3Aw@{}/hook?x=1\"\n{rules}", webhook.address()),
    );
    let url = a.url();
    a.stop();
    eventually("it is told", PATIENCE, || !told(&webhook).is_empty());
    a.start();
    eventually("and of its recovery", PATIENCE, || told(&webhook).len() == 2);
    std::thread::sleep(Duration::from_millis(500));
    let told = told(&webhook);
    let events: Vec<&str> = told.iter().filter_map(|alert| alert["event"].as_str()).collect();
    assert_eq!(events, ["backend unhealthy", "backend recovered"]);
    assert_eq!(
        (&told[0]["backend"], &told[0]["upstream"], &told[0]["healthy"]),
        (&json!(url), &json!("r"), &json!(false))
    );
    assert!(told[0]["error"].as_str().is_some_and(|error| !error.is_empty()), "{}", told[0]);
    assert_eq!(webhook.requests()[0].target, "/hook?x=1");
    assert_eq!(webhook.requests()[0].header("authorization"), Some("Basic dXNlcjpwOnc="), "user:p:w");
    let lines =
        gateway.log().into_iter().filter(|line| line["component"] == "proxy" && line["backend"] == url);
    assert_eq!(lines.filter(|line| line["healthy"].is_boolean()).count(), 2, "one line a change");
}

#[test]
fn a_webhook_that_fails_is_called_again() {
    let calls = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let webhook = {
        let calls = std::sync::Arc::clone(&calls);
        Backend::scripted(move |conn| {
            conn.request();
            let first = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let status = if first { "500 Internal Server Error" } else { "204 No Content" };
            conn.reply(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        })
    };
    let (mut a, b) = (Backend::echo("a"), Backend::echo("b"));
    let rules = rule("health_check = { path = \"/\", interval = \"100ms\" }", &[&a, &b]);
    let gateway = operated("", &format!("[alerts]\nwebhook = \"{}\"\n{rules}", webhook.url()));
    a.stop();
    eventually("it is called again", PATIENCE, || calls.load(std::sync::atomic::Ordering::SeqCst) == 2);
    let admin = gateway.address_of("admin");
    eventually("and that is counted", PATIENCE, || {
        fetch(admin, "GET", "/metrics", &[]).text().contains("gatewayd_alerts_total{result=\"sent\"} 1")
    });
}

/// Another gateway stands for the TLS that a webhook has.
#[test]
fn a_webhook_by_tls_is_told_where_its_certificate_is_believed_and_only_there() {
    let webhook = Backend::echo("webhook");
    let (authority, other) = (Authority::new("Hooks"), Authority::new("Others"));
    let directory = tempfile::TempDir::new().unwrap();
    let pair = authority.issue(&["hooks.internal"]).write(directory.path(), "hooks");
    let hooks = crate::support::gateway(&format!(
        "[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\ntls = {{ {pair} }}\n{}",
        rule("", &[&webhook])
    ));
    let [right, wrong] = [(&authority, "right.pem"), (&other, "wrong.pem")]
        .map(|(authority, name)| authority.write(&directory.path().join(name)).display().to_string());
    let (mut a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateways = [right, wrong].map(|ca| {
        operated(
            "",
            &format!(
                "[alerts]\nwebhook = \"https://{}/hook\"\ntls = {{ ca = \"{ca}\", server_name = \"hooks.internal\" }}\n{}",
                hooks.address(),
                rule("health_check = { path = \"/\", interval = \"100ms\" }\npassive = false", &[&a, &b])
            ),
        )
    });
    a.stop();
    eventually("it is told", PATIENCE, || told(&webhook).len() == 1);
    assert_eq!(told(&webhook)[0]["event"], "backend unhealthy");
    assert_eq!((webhook.requests()[0].method.as_str(), &*webhook.requests()[0].target), ("POST", "/hook"));
    let line = gateways[1].log_line("the other gives up", |line| line["component"] == "alerts");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("no TLS with")), "{line}");
    assert_eq!(told(&webhook).len(), 1);
}

#[test]
fn what_is_cut_when_the_time_to_end_is_over_is_recorded_and_blames_nobody() {
    let silent = Backend::silent();
    let config = format!(
        "[server]\nworkers = 2\nshutdown_timeout = \"300ms\"\n[access_log]\nenabled = true\n[traffic_dump]\nenabled = true\ndirectory = \"{{dir}}/dumps\"\n{}",
        rule("timeout = \"60s\"", &[&silent])
    );
    let mut gateway = launch().config(&config).start();
    let mut client = gateway.client();
    client.send("GET /cut HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is under way", PATIENCE, || silent.hits() == 1);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    let lines: Vec<_> = gateway.log().into_iter().filter(|line| line["path"] == "/cut").collect();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["status_code"], &line["attempts"]), (&503.into(), &1.into()));
    assert!(line["error"].as_str().unwrap().contains("shutdown_timeout"), "{line}");
    let dumped = std::fs::read_to_string(gateway.directory().join("dumps/traffic_dump_000.jsonl")).unwrap();
    assert!(dumped.contains("/cut"), "{dumped}");
}
