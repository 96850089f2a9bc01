//! Splits that are taken back by themselves, and faults on purpose.

use std::time::{Duration, Instant};

use lb_testkit::{Backend, Gateway, PATIENCE, eventually, fetch};
use serde_json::json;

use crate::support::{assert_tally, cli, launch, rule, urls};
use crate::takeover::upgraded;

const FAILS: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n";

fn split(app: &Backend, next: &Backend, rollback: &str) -> Gateway {
    launch().config(&config(app, next, 3, rollback)).start()
}

fn config(app: &Backend, next: &Backend, weight: u32, rollback: &str) -> String {
    format!(
        "[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\nbackends = [{}]\n[upstreams.next]\nbackends = [{}]\n\
         [[rules]]\nname = \"web\"\nsplit = [{{ upstream = \"app\", weight = {weight} }}, {{ upstream = \"next\" }}]\n\
         split_header = \"X-Part\"\n{rollback}\n",
        urls(&[app]),
        urls(&[next])
    )
}

/// Asks until the condition holds.
fn ask_until(gateway: &Gateway, what: &str, condition: impl Fn() -> bool) {
    let mut client = gateway.client();
    eventually(what, PATIENCE, || {
        for _ in 0..40 {
            client.get("/");
        }
        condition()
    });
}

fn rolled_back(gateway: &Gateway) -> bool {
    let status = fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json();
    status["rules"][0]["rollbacks"] != json!([])
}

#[test]
fn a_part_that_fails_is_taken_back_and_a_new_split_tries_it_again() {
    let (app, next) = (Backend::echo("app"), Backend::fixed(FAILS));
    let gateway =
        split(&app, &next, "split_rollback = { error_rate = 0.05, min_requests = 50, window = \"20s\" }");
    ask_until(&gateway, "it is taken back", || rolled_back(&gateway));
    assert_tally((0..20).map(|_| gateway.get("/").backend()), &[("app", 20)]);
    let line = gateway.log_line("it is said", |line| line["component"] == "split");
    assert_eq!(
        (&line["rule"], &line["upstream"], &line["level"]),
        (&json!("web"), &json!("next"), &json!("WARN"))
    );
    assert!(line["reason"].as_str().unwrap().contains("requests failed"), "{line}");
    let admin = gateway.address_of("admin");
    let metrics = fetch(admin, "GET", "/metrics", &[]).text();
    assert!(
        metrics.contains("gatewayd_split_rollbacks_total{rule=\"web\",upstream=\"next\"} 1"),
        "{metrics}"
    );
    let status = fetch(admin, "GET", "/proxy-status", &[]).json();
    assert_eq!(status["rules"][0]["split"][1], json!({ "upstream": "next", "weight": 0.0, "share": 0.0 }));
    let shown = cli(&["status", "--admin", &admin.to_string()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("next was taken back at"), "{shown:?}");
    // Who names it still gets there, and a file that is read again changes nothing.
    assert_eq!(gateway.fetch("GET", "/", &[("X-Part", "next")]).status, 500);
    gateway.signal("HUP");
    gateway.log_line("it is read", |line| line["message"] == "configuration reloaded");
    assert_tally((0..20).map(|_| gateway.get("/").backend()), &[("app", 20)]);
    // Nor does another process in the place of this one.
    let _successor = upgraded(&gateway);
    assert_tally((0..20).map(|_| gateway.get("/").backend()), &[("app", 20)]);
    let shown = cli(&["status", "--admin", &admin.to_string()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("next was taken back at"), "{shown:?}");
    // Set anew it begins anew, also with the same shares.
    let again = cli(&["split", "web", "app=3", "next=1", "--admin", &admin.to_string()]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!((0..8).filter(|_| gateway.get("/").status == 500).count(), 2);
    ask_until(&gateway, "it is taken back again", || rolled_back(&gateway));
    assert_tally((0..20).map(|_| gateway.get("/").backend()), &[("app", 20)]);
}

#[test]
fn what_was_taken_back_stays_so_across_restarts_as_long_as_its_split_is_the_same() {
    let (app, next) = (Backend::echo("app"), Backend::fixed(FAILS));
    let folder = tempfile::tempdir().unwrap();
    let file = |ending: &str| folder.path().join(format!("gatewayd.state{ending}"));
    let start = |weight: u32| {
        let rollback = "split_rollback = { error_rate = 0.05, min_requests = 50, window = \"20s\" }";
        let root = format!("[server]\nstate_file = \"{}\"\n", file("").display());
        launch().config(&(root + &config(&app, &next, weight, rollback))).start()
    };
    let is_taken_back = |gateway: &Gateway| {
        assert_tally((0..20).map(|_| gateway.get("/").backend()), &[("app", 20)]);
        let shown = cli(&["status", "--admin", &gateway.address_of("admin").to_string()]);
        assert!(String::from_utf8_lossy(&shown.stdout).contains("next was taken back at"), "{shown:?}");
    };
    let mut gateway = start(3);
    ask_until(&gateway, "it is taken back", || rolled_back(&gateway));
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));

    let gateway = start(3);
    is_taken_back(&gateway);
    let line = gateway.log_line("it is said", |line| line["component"] == "split");
    assert!(line["message"].as_str().unwrap().starts_with("split stays taken back"), "{line}");
    assert_eq!((&line["rule"], &line["upstream"]), (&json!("web"), &json!("next")));
    assert!(line["reason"].as_str().unwrap().contains("requests failed"), "{line}");

    // Set anew it begins anew; this is kept as the split is, and by one that is killed, too.
    let again = cli(&[
        "split",
        "web",
        "app=3",
        "next=1",
        "--persist",
        "--admin",
        &gateway.address_of("admin").to_string(),
    ]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!((0..8).filter(|_| gateway.get("/").status == 500).count(), 2);
    ask_until(&gateway, "it is taken back again", || rolled_back(&gateway));
    eventually("it is kept", PATIENCE, || {
        std::fs::read_to_string(file(".rollbacks")).is_ok_and(|text| text.contains("\"turn\": 1"))
    });
    drop(gateway);
    let gateway = start(3);
    is_taken_back(&gateway);
    drop(gateway);

    // Without what was set by hand, and with other shares, it is another split.
    std::fs::remove_file(file(".edits")).unwrap();
    let gateway = start(4);
    assert!(!rolled_back(&gateway));
    assert_eq!((0..10).filter(|_| gateway.get("/").status == 500).count(), 2);
    eventually("nothing is kept any more", PATIENCE, || {
        std::fs::read_to_string(file(".rollbacks")).is_ok_and(|text| !text.contains("reason"))
    });
    drop(gateway);
    std::fs::write(file(".rollbacks"), "{\"version\": 1, \"rollbacks\": [7]}").unwrap();
    let gateway = start(3);
    gateway.log_line("it is said", |line| {
        line["message"] == "splits that were taken back of an earlier run are not taken up"
    });
    assert!(!rolled_back(&gateway));
}

#[test]
fn a_part_that_is_slow_is_taken_back_and_one_that_is_as_good_is_not() {
    let (app, next) = (Backend::echo("app"), Backend::slow("next", Duration::from_millis(60)));
    let gateway = split(&app, &next, "split_rollback = { p99 = 3.0, min_requests = 20, window = \"30s\" }");
    ask_until(&gateway, "it is taken back", || rolled_back(&gateway));
    let line = gateway.log_line("it is said", |line| line["component"] == "split");
    assert!(line["reason"].as_str().unwrap().contains("99 % of its answers"), "{line}");
    drop(gateway);

    let (app, next) = (Backend::fixed(FAILS), Backend::fixed(FAILS));
    let gateway =
        split(&app, &next, "split_rollback = { error_rate = 0.0, min_requests = 20, window = \"20s\" }");
    let end = Instant::now() + Duration::from_secs(4);
    ask_until(&gateway, "some looks have passed", || Instant::now() > end);
    assert!(!rolled_back(&gateway));
    assert!(next.hits() > 20 && app.hits() > 20);
}

#[test]
fn faults_are_injected_by_share_and_by_who_may_ask_for_them() {
    let backend = Backend::echo("a");
    let faulty = |fault: &str| {
        let lines = format!("name = \"r\"\ntimeout = \"5s\"\nfault = {fault}");
        launch().config(&format!("{}{}", crate::support::STATUS_LISTENER, rule(&lines, &[&backend]))).start()
    };
    let gateway = faulty("{ abort = { status = 503, percent = 50 } }");
    let failed = (0..400).filter(|_| gateway.get("/").status == 503).count();
    assert!((130..=270).contains(&failed), "{failed} of 400");
    let metrics = gateway.get("/metrics").text();
    let counted = format!("gatewayd_policy_rejections_total{{rule=\"r\",policy=\"fault\"}} {failed}");
    assert!(metrics.contains(&counted), "{metrics}");
    // Nobody may ask for one here.
    let ask = |gateway: &Gateway, fault: &str| gateway.fetch("GET", "/", &[("X-Fault", fault)]);
    let gateway =
        faulty("{ abort = { status = 418, percent = 0 }, delay = { duration = \"1h\", percent = 0 } }");
    assert_eq!(ask(&gateway, "abort=503").status, 200);

    let gateway = faulty("{ abort = { status = 429 }, header = \"X-Fault\" }");
    let refused = gateway.get("/");
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("fault_injected")));
    assert_eq!(ask(&gateway, "none").status, 200);
    assert_eq!(ask(&gateway, "abort=502").status, 502);
    assert_eq!(ask(&gateway, "nonsense").status, 429);

    // A delay is part of the request's own time.
    let gateway = faulty("{ delay = { duration = \"300ms\" }, header = \"X-Fault\" }");
    let start = Instant::now();
    assert_eq!(gateway.get("/").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert_eq!(ask(&gateway, "delay=60s").status, 504);
}

#[test]
fn a_share_that_comes_to_nothing_is_said() {
    for (percent, is_said) in [("0.00004", true), ("0.0001", false), ("0", false)] {
        let text = format!(
            "[[rules]]\nbackends = [\"127.0.0.1:9001\"]\nfault = {{ abort = {{ status = 503, percent = {percent} }} }}\n"
        );
        let launch = launch();
        let file = launch.directory().join("x.toml").display().to_string();
        let output = launch.config_file("x.toml", &text).args(&["check", &file]).run();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{said}");
        assert_eq!(
            said.contains("`0.00004` is never") && said.contains("one in a million"),
            is_said,
            "{said}"
        );
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_place() {
    for (lines, words) in [
        ("fault = {}", "injects nothing"),
        ("fault = { abort = { percent = 5 } }", "with what"),
        ("fault = { abort = { status = 200 } }", "no status that a failure has"),
        ("fault = { delay = { percent = 5 } }", "how long"),
        ("fault = { delay = { duration = \"1s\", percent = 101 } }", "no percentage"),
        ("fault = { abort = { status = 503 }, header = \"a b\" }", "header"),
        ("split_rollback = { error_rate = 0.1 }", "this rule has none"),
    ] {
        let text = format!("[[rules]]\nbackends = [\"127.0.0.1:9001\"]\n{lines}\n");
        let launch = launch();
        let file = launch.directory().join("x.toml").display().to_string();
        let output = launch.config_file("x.toml", &text).args(&["check", &file]).run();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(78) && said.contains(words), "{lines}: {said}");
    }
    for (rollback, words) in [
        ("{}", "watches nothing"),
        ("{ error_rate = 1.5 }", "error_rate"),
        ("{ p99 = 0.5 }", "less than 1"),
        ("{ p99 = 2.0, window = \"100ms\" }", "window"),
    ] {
        let text = format!(
            "[upstreams.a]\nbackends = [\"127.0.0.1:9001\"]\n[[rules]]\nsplit = [{{ upstream = \"a\" }}]\nsplit_rollback = {rollback}\n"
        );
        let launch = launch();
        let file = launch.directory().join("x.toml").display().to_string();
        let output = launch.config_file("x.toml", &text).args(&["check", &file]).run();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(78) && said.contains(words), "{rollback}: {said}");
    }
}

#[test]
fn a_client_that_leaves_while_a_policy_holds_its_request_is_let_go_at_once() {
    let backend = Backend::echo("a");
    let lines = "name = \"r\"\ntimeout = \"2h\"\nfault = { delay = { duration = \"1h\", percent = 100 } }";
    let config = format!("[access_log]\nenabled = true\n{}", rule(lines, &[&backend]));
    let gateway = launch().config(&config).start();
    let mut client = gateway.client();
    client.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    std::thread::sleep(Duration::from_millis(100));
    drop(client);
    let line = gateway.log_line("it is over", |line| line["path"] == "/held");
    assert_eq!((&line["status_code"], &line["attempts"]), (&499.into(), &0.into()));
    assert_eq!(backend.hits(), 0);
}

#[test]
fn a_request_that_a_policy_holds_for_all_of_its_time_blames_no_backend() {
    let backend = Backend::echo("a");
    let lines = "name = \"r\"\ntimeout = \"300ms\"\nfault = { delay = { duration = \"1h\", percent = 100 } }";
    let config = format!("[access_log]\nenabled = true\n{}", rule(lines, &[&backend]));
    let gateway = launch().config(&config).start();
    let answer = gateway.get("/held");
    assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("upstream_timeout")));
    let line = gateway.log_line("it is told", |line| line["path"] == "/held");
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("a policy held") && line["backend"].is_null(), "{line}");
}
