//! What operators read: status endpoints in the seeds' shapes with figures that match the traffic, metrics a strict
//! parser takes, and an access log with a line a request.

mod exposition;

use std::collections::BTreeSet;

use lb_testkit::{Backend, Gate, Gateway, PATIENCE, eventually};
use serde_json::Value;

use crate::support::{STATUS_LISTENER, backend_status, gateway, launch, rule, urls, weighted};
use exposition::Sample;

/// Three requests to `a` for each to `b`, and one rule that fails.
struct Scene {
    gateway: Gateway,
    a: Backend,
    b: Backend,
}

fn scene(root: &str) -> Scene {
    let (a, b, broken) = (Backend::echo("a"), Backend::echo("b"), Backend::reset_mid_head());
    let backends = weighted(&[(&a, "3"), (&b, "1")]);
    let gateway = gateway(&format!(
        "{root}\n[[rules]]\nname = \"app\"\npath_prefix = \"/app\"\nload_balancing = \"weighted_round_robin\"\n\
         backends = [{backends}]\n{}{STATUS_LISTENER}[admin]\naddress = \"{{admin}}\"\n",
        rule("name = \"broken\"\npath_prefix = \"/broken\"", &[&broken]),
    ));
    Scene { gateway, a, b }
}

impl Scene {
    /// 40 good requests, 4 that find no rule, 2 that fail.
    fn traffic(&self) {
        for _ in 0..40 {
            assert_eq!(self.gateway.get("/app/x").status, 200);
        }
        for _ in 0..4 {
            assert_eq!(self.gateway.get("/none").status, 404);
        }
        for _ in 0..2 {
            assert_eq!(self.gateway.get("/broken").status, 502);
        }
    }

    fn metrics(&self) -> Vec<Sample> {
        exposition::parse(&self.gateway.get("/metrics").text())
    }
}

/// The sum of a metric's samples that carry all of these labels.
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |sample: &&Sample| {
        sample.name == name
            && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|have| have == value))
    };
    samples.iter().filter(fits).map(|sample| sample.value).sum()
}

fn is_rfc3339(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() >= 20 && text.as_bytes()[10] == b'T' && (text.ends_with('Z') || text.contains('+'))
    })
}

#[test]
fn health_tells_that_it_is_well() {
    let scene = scene("");
    let response = scene.gateway.get("/health");
    let json = response.json();
    assert_eq!(response.status, 200);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    assert_eq!(json["status"], "ok", "{json}");
    assert!(is_rfc3339(&json["timestamp"]), "{json}");
    assert!(json["version"].is_string(), "{json}");
    assert_eq!(scene.gateway.get("/ready").status, 200);
    assert!(scene.gateway.get("/health").header("x-request-id").is_some());
}

#[test]
fn status_is_whole_from_the_first_answer_on() {
    let backend = Backend::echo("a");
    let config = format!("{}{STATUS_LISTENER}", rule("name = \"app\"", &[&backend]));
    for start in 0..20 {
        let gateway = gateway(&config);
        let json = gateway.get("/proxy-status").json();
        assert_eq!(json["upstreams"][0]["name"], "app", "start {start}: {json}");
    }
}

#[test]
fn ping_has_figures_that_match_the_traffic() {
    let scene = scene("");
    scene.traffic();
    let json = || scene.gateway.get("/ping").json();
    let backend = |url: &str| -> Value {
        let json = json();
        let backends = json["backends"].as_array().cloned().unwrap_or_default();
        backends.into_iter().find(|backend| backend["url"] == url).unwrap_or_else(|| panic!("{json}"))
    };
    eventually("all are counted", PATIENCE, || backend(&scene.a.url())["total_requests"] == 30);
    let (a, b) = (backend(&scene.a.url()), backend(&scene.b.url()));
    assert_eq!(b["total_requests"], 10, "{b}");
    assert_eq!((a["weight"].as_f64(), b["weight"].as_f64()), (Some(3.0), Some(1.0)));
    assert_eq!((&a["active_connections"], &a["healthy"]), (&0.into(), &true.into()), "{a}");
    assert!(is_rfc3339(&a["last_request_time"]), "{a}");
    let json = json();
    for member in ["version", "strategy", "active_backends", "total_requests"] {
        assert!(!json[member].is_null(), "no {member} in {json}");
    }
    assert!(json["total_requests"].as_u64().is_some_and(|total| total >= 40), "{json}");
}

#[test]
fn ping_is_a_page_for_a_browser() {
    let scene = scene("");
    let page = scene.gateway.fetch("GET", "/ping", &[("Accept", "text/html,*/*;q=0.8")]);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    for word in ["Strategy", "Total", &scene.a.url()] {
        assert!(page.text().contains(word), "no {word} in {}", page.text());
    }
}

#[test]
fn proxy_status_keeps_the_seeds_shapes_and_adds_the_backends() {
    let scene = scene("");
    scene.traffic();
    let json = scene.gateway.get("/proxy-status").json();
    assert_eq!((&json["proxy_enabled"], &json["rules_count"]), (&true.into(), &2.into()), "{json}");
    assert!(json["traffic_dump"].is_boolean(), "{json}");
    assert!(json["strategies"]["app"].is_string(), "{json}");
    for member in ["traffic_dump", "health_check", "sample_rate"] {
        assert!(!json["features"][member].is_null(), "no {member} in {json}");
    }
    eventually("all are counted", PATIENCE, || {
        backend_status(&scene.gateway, "app", &scene.a.url())["total_requests"] == 30
    });
    let a = backend_status(&scene.gateway, "app", &scene.a.url());
    for member in ["url", "weight", "healthy", "state", "active_connections", "failed_requests", "circuit"] {
        assert!(!a[member].is_null(), "no {member} in {a}");
    }
    assert!(a.as_object().is_some_and(|a| a.contains_key("ejected_until")), "{a}");
    assert!(is_rfc3339(&a["last_request_time"]), "{a}");
    for quantile in ["p50", "p95", "p99"] {
        assert!(a["latency_ms"][quantile].as_f64().is_some_and(|ms| ms > 0.0 && ms < 20_000.0), "{a}");
    }
    let failed = |json: &Value| -> u64 {
        let upstreams = json["upstreams"].as_array().cloned().unwrap_or_default();
        let backends = upstreams.iter().filter(|upstream| upstream["name"] == "broken");
        backends.filter_map(|upstream| upstream["backends"][0]["failed_requests"].as_u64()).sum()
    };
    assert!(failed(&scene.gateway.get("/proxy-status").json()) >= 2);
}

#[test]
fn active_connections_are_those_in_flight() {
    let gate = Gate::new();
    let held = Backend::held("a", &gate);
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule("name = \"app\"", &[&held])));
    let mut clients: Vec<_> = (0..7).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    eventually("all are in flight", PATIENCE, || gate.waiting() == 7);
    let active = || backend_status(&gateway, "app", &held.url())["active_connections"].clone();
    assert_eq!(active(), 7);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().status, 200);
    }
    eventually("none is left", PATIENCE, || active() == 0);
}

#[test]
fn strategies_and_info_tell_what_there_is() {
    let scene = scene("");
    let json = scene.gateway.get("/strategies").json();
    for name in
        ["round_robin", "weighted_round_robin", "least_connections", "random", "weighted_random", "ip_hash"]
    {
        assert!(json["strategies"][name].is_string(), "no {name} in {json}");
    }
    let used = &json["load_balancing_strategies"]["weighted_round_robin"];
    assert!(used.is_object() && used["description"].is_string(), "{json}");
    assert!(json["endpoints"].to_string().contains("weighted_round_robin"), "{json}");
    let json = scene.gateway.get("/info").json();
    for member in ["service", "version", "uptime"] {
        assert!(!json[member].is_null(), "no {member} in {json}");
    }
    assert!(is_rfc3339(&json["timestamp"]), "{json}");
}

#[test]
fn metrics_pass_a_strict_parser_and_add_up() {
    let scene = scene("");
    scene.traffic();
    let total = |samples: &[Sample], labels: &[(&str, &str)]| sum(samples, "gatewayd_requests_total", labels);
    eventually("all are counted", PATIENCE, || total(&scene.metrics(), &[("rule", "app")]) >= 40.0);
    let samples = scene.metrics();
    assert!((total(&samples, &[("rule", "app"), ("code", "2xx")]) - 40.0).abs() < 0.1);
    assert!((total(&samples, &[("rule", "broken"), ("code", "5xx")]) - 2.0).abs() < 0.1);
    assert!(total(&samples, &[("code", "4xx")]) >= 4.0, "those without a rule count too");
    let count = sum(&samples, "gatewayd_request_duration_seconds_count", &[("rule", "app")]);
    assert!((count - 40.0).abs() < 0.1, "{count}");
    for (backend, share) in [(&scene.a, 30.0), (&scene.b, 10.0)] {
        let labels = [("upstream", "app"), ("backend", &*backend.url())];
        for name in ["gatewayd_backend_requests_total", "gatewayd_backend_request_duration_seconds_count"] {
            let have = sum(&samples, name, &labels);
            assert!((have - share).abs() < 0.1, "{name}: {have}");
        }
        assert!((sum(&samples, "gatewayd_backend_up", &labels) - 1.0).abs() < 0.1);
        assert!(sum(&samples, "gatewayd_backend_active_connections", &labels).abs() < 0.1);
        assert!(sum(&samples, "gatewayd_backend_circuit_state", &labels).abs() < 0.1);
    }
    assert!((sum(&samples, "gatewayd_build_info", &[]) - 1.0).abs() < 0.1);
    assert!(samples.iter().any(|sample| sample.name == "gatewayd_connections_active"));
    let kind = scene.gateway.get("/metrics");
    assert!(kind.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")), "{kind:?}");
}

#[test]
fn metrics_come_as_json_too() {
    let scene = scene("");
    scene.traffic();
    let json = scene.gateway.get("/metrics?format=json");
    assert!(json.header("content-type").is_some_and(|kind| kind.starts_with("application/json")));
    let json = json.json();
    let targets = json["targets"].as_array().cloned().unwrap_or_default();
    let a = targets.iter().find(|target| target["url"] == scene.a.url()).unwrap_or_else(|| panic!("{json}"));
    for member in ["total_requests", "failed_requests", "p95_response_time_ms", "is_healthy"] {
        assert!(!a[member].is_null(), "no {member} in {a}");
    }
    assert!(json["aggregated"]["total_requests"].is_u64(), "{json}");
}

#[test]
fn figures_of_single_backends_can_be_left_out() {
    let a = Backend::echo("a");
    let config = format!("{}{STATUS_LISTENER}", rule("name = \"app\"\npath_prefix = \"/app\"", &[&a]));
    let gateway = launch().config(&config).env("LB_STATS_ENABLED", "false").start();
    assert_eq!(gateway.get("/app").status, 200);
    assert!(!gateway.errors().contains("warning"), "{}", gateway.errors());
    let samples = || exposition::parse(&gateway.get("/metrics").text());
    eventually("it is counted", PATIENCE, || {
        sum(&samples(), "gatewayd_requests_total", &[("rule", "app")]) > 0.0
    });
    let of_backends = |name: &str| samples().into_iter().any(|sample| sample.name.starts_with(name));
    for name in
        ["gatewayd_backend_requests", "gatewayd_backend_request_duration", "gatewayd_backend_failures"]
    {
        assert!(!of_backends(name), "{name}");
    }
    assert!(of_backends("gatewayd_backend_up"));
    assert!(backend_status(&gateway, "app", &a.url())["total_requests"].is_null());
    let ping = gateway.get("/ping").json();
    assert!(ping["total_requests"].is_null() && ping["backends"][0]["total_requests"].is_null(), "{ping}");
    let report = gateway.get("/metrics?format=json").json();
    assert!(report["aggregated"].is_null() && report["targets"].as_array().unwrap().is_empty(), "{report}");
    assert_eq!(
        (&report["backend_statistics"], &report["total_targets"]),
        (&Value::Bool(false), &Value::from(1))
    );
}

#[test]
fn policies_that_turn_nobody_away_have_no_series_of_it() {
    let a = Backend::echo("a");
    let lines = "name = \"app\"\nrequest_headers = { set = { X-A = \"1\" } }\nconcurrency = { max = 9 }";
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule(lines, &[&a])));
    let text = gateway.get("/metrics").text();
    let series = text.lines().filter(|line| line.starts_with("gatewayd_policy_rejections_total{"));
    let series: Vec<&str> = series.collect();
    assert_eq!(series, ["gatewayd_policy_rejections_total{rule=\"app\",policy=\"concurrency\"} 0"]);
}

#[test]
fn names_that_clients_think_up_make_neither_series_nor_memory() {
    let scene = scene("");
    scene.traffic();
    let mut client = scene.gateway.client();
    let mut send = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            let (host, field) = (format!("h{number}.test"), format!("X-{number}"));
            let fields = [("Host", host.as_str()), (field.as_str(), "1")];
            client.request("GET", &format!("/app/{number}?q={number}"), &fields);
            client.request(&format!("M{number}"), &format!("/none/{number}"), &[]);
        }
    };
    // What is allocated once is allocated by then.
    send(0..2000);
    let (series, memory) = (scene.metrics().len(), scene.gateway.resident_bytes());
    send(2000..6000);
    assert_eq!(scene.metrics().len(), series);
    // 8000 requests that left 1 KiB each would come to 8 MiB.
    let after = scene.gateway.resident_bytes();
    assert!(after < memory + (4 << 20), "from {memory} to {after} bytes");
}

#[test]
fn every_metric_of_the_contract_is_there_from_the_first_scrape() {
    let scene = scene("");
    scene.gateway.get("/app/x");
    let text = scene.gateway.get("/metrics").text();
    let labels: &[(&str, &[&str])] = &[
        ("gatewayd_requests_total", &["rule", "code"]),
        ("gatewayd_request_duration_seconds_bucket", &["rule", "le"]),
        ("gatewayd_backend_requests_total", &["upstream", "backend", "code"]),
        ("gatewayd_backend_request_duration_seconds_bucket", &["upstream", "backend", "le"]),
        ("gatewayd_backend_active_connections", &["upstream", "backend"]),
        ("gatewayd_backend_up", &["upstream", "backend"]),
        ("gatewayd_backend_circuit_state", &["upstream", "backend"]),
        ("gatewayd_retries_total", &["upstream"]),
        ("gatewayd_dump_dropped_total", &[]),
        ("gatewayd_config_reloads_total", &["result"]),
        ("gatewayd_connections_active", &["listener"]),
        ("gatewayd_build_info", &["version"]),
    ];
    let samples = exposition::parse(&text);
    for (name, labels) in labels {
        let sample = samples
            .iter()
            .find(|sample| sample.name == *name)
            .unwrap_or_else(|| panic!("no {name}:\n{text}"));
        let mut have: Vec<&str> = sample.labels.keys().map(String::as_str).collect();
        let mut want = labels.to_vec();
        have.sort_unstable();
        want.sort_unstable();
        assert_eq!(have, want, "{name}");
    }
    assert!(text.contains("# TYPE gatewayd_policy_rejections_total counter"), "{text}");
    let buckets = samples.iter().filter(|sample| {
        sample.name == "gatewayd_request_duration_seconds_bucket" && sample.labels["rule"] == "app"
    });
    assert!((2..=20).contains(&buckets.count()));
}

#[test]
fn a_listener_without_status_endpoints_leaves_those_paths_to_the_rules() {
    let backend = Backend::echo("a");
    let config = format!("{}[admin]\naddress = \"{{admin}}\"\n", rule("", &[&backend]));
    let gateway = gateway(&config);
    for path in ["/health", "/metrics", "/ping", "/proxy-status", "/strategies"] {
        assert_eq!(gateway.get(path).backend(), "a", "{path}");
        let own = lb_testkit::fetch(gateway.address_of("admin"), "GET", path, &[]);
        assert_eq!(own.status, 200, "{path}");
        assert!(!own.text().contains("\"backend\":\"a\""), "{path}");
    }
    let metrics = lb_testkit::fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
    exposition::parse(&metrics);
}

#[test]
fn status_endpoints_answer_ahead_of_a_rule_for_everything() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{STATUS_LISTENER}", rule("", &[&backend])));
    assert_eq!(gateway.get("/health").json()["status"], "ok");
    assert_eq!(gateway.get("/healthy").backend(), "a", "only that very path");
    assert_eq!(backend.hits(), 1);
}

#[test]
fn the_access_log_has_a_line_a_request() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = gateway(&format!(
        "[access_log]\nenabled = true\n[[rules]]\nname = \"app\"\npath_prefix = \"/app\"\nbackends = [{}]\n",
        urls(&[&a, &b])
    ));
    let mut client = gateway.client();
    client
        .send("POST /app/x?q=1 HTTP/1.1\r\nHost: x\r\nX-Request-Id: id-1\r\nContent-Length: 5\r\n\r\nhello");
    let response = client.response();
    assert_eq!(gateway.get("/none").status, 404);
    let line = gateway.log_line("the request's line", |line| line["request_id"] == "id-1");
    for (member, value) in [
        ("level", "info"),
        ("msg", "proxy request"),
        ("component", "proxy"),
        ("rule", "app"),
        ("backend", &*a.url()),
        ("method", "POST"),
        ("load_balancing", "round_robin"),
        ("client_ip", "127.0.0.1"),
    ] {
        assert_eq!(line[member], value, "{member} of {line}");
    }
    assert!(line["path"].as_str().is_some_and(|path| path.starts_with("/app/x")), "{line}");
    assert_eq!((&line["status_code"], &line["bytes_in"]), (&200.into(), &5.into()), "{line}");
    assert_eq!(line["bytes_out"].as_u64(), Some(response.body.len() as u64), "{line}");
    assert_eq!((&line["attempts"], &line["backend_healthy"]), (&1.into(), &true.into()), "{line}");
    assert!(line["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0 && ms < 20_000.0), "{line}");
    assert!(line["backend_connections"].is_u64(), "{line}");
}

#[test]
fn every_request_is_logged_once_and_every_line_is_json() {
    let backend = Backend::echo("a");
    let gateway =
        gateway(&format!("[access_log]\nenabled = true\n{}", rule("path_prefix = \"/app\"", &[&backend])));
    let mut client = gateway.client();
    for number in 0..200 {
        client.get(if number % 4 == 0 { "/none" } else { "/app" });
    }
    let lines = || gateway.log().into_iter().filter(|line| line["msg"] == "proxy request").count();
    eventually("all are logged", PATIENCE, || lines() >= 200);
    assert_eq!(lines(), 200);
    for line in gateway.errors().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
}

#[test]
fn no_line_of_the_log_is_lost_when_the_gateway_ends() {
    let backend = Backend::echo("a");
    let mut gateway = gateway(&format!(
        "[server]\nworkers = 3\n[access_log]\nenabled = true\n{}",
        rule("path_prefix = \"/app\"", &[&backend])
    ));
    std::thread::scope(|scope| {
        for client in 0..6 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut connection = gateway.client();
                for number in 0..50 {
                    assert_eq!(connection.get(&format!("/app/{client}-{number}")).status, 200);
                }
            });
        }
    });
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    let log = gateway.log();
    let paths =
        log.iter().filter(|line| line["msg"] == "proxy request").filter_map(|line| line["path"].as_str());
    let paths: BTreeSet<&str> = paths.collect();
    assert_eq!(paths.len(), 300);
}

#[test]
fn what_a_client_sends_cannot_forge_a_line_of_the_log() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("[access_log]\nenabled = true\n{}", rule("", &[&backend])));
    let target = "/x\",\"rule\":\"forged\",\"y\":\"%0d%0a%1b[31m";
    gateway.fetch("GET", target, &[("X-Request-Id", "quote\"in\\it")]);
    let line = gateway.log_line("the request's line", |line| line["msg"] == "proxy request");
    assert_ne!(line["rule"], "forged");
    assert_eq!(line["request_id"], "quote\"in\\it");
}

#[test]
fn a_client_that_left_is_499_in_the_log() {
    let gate = Gate::new();
    let held = Backend::held("a", &gate);
    let gateway = gateway(&format!("[access_log]\nenabled = true\n{}", rule("name = \"app\"", &[&held])));
    let mut client = gateway.client();
    client.send("GET /left HTTP/1.1\r\nHost: x\r\n\r\n");
    eventually("it is in flight", PATIENCE, || gate.waiting() == 1);
    drop(client);
    gateway.log_line("its line", |line| line["path"] == "/left" && line["status_code"] == 499);
    gate.open();
}

#[test]
fn run_writes_no_access_log_unless_asked() {
    let backend = Backend::echo("a");
    let mut gateway = launch().config(&rule("", &[&backend])).start();
    assert_eq!(gateway.get("/").status, 200);
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    assert!(!gateway.errors().contains("proxy request"), "{}", gateway.errors());
}
