//! The status pages as their readers see them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use lb_observe::{Exchange, Figures, Recorder, Registry};
use serde_json::{Value, json};

use crate::*;

const BROWSER: Option<&str> = Some("text/html,application/xhtml+xml,*/*;q=0.8");

struct Fixed(GatewayView);

impl StatusSource for Fixed {
    fn view(&self) -> GatewayView {
        self.0.clone()
    }
}

struct Gateway {
    registry: Arc<Registry>,
    view: GatewayView,
}

impl Gateway {
    /// The tutorial's first rule and one more, after 30, 20 and 10 requests.
    fn tutorial() -> Self {
        let registry = Arc::new(Registry::default());
        let weights =
            [("http://localhost:8081", 3.0), ("http://localhost:8082", 2.0), ("http://localhost:8083", 1.0)];
        let backends = weights.map(|(url, weight)| backend(&registry, "api", url, weight));
        let figures = Figures::new(&registry, 1);
        for backend in &backends {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            for _ in 0..backend.weight as u32 * 10 {
                figures.record(&Exchange {
                    backend: Some(&backend.stats),
                    upstream_latency: Some(Duration::from_millis(4)),
                    ended_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                    ..Exchange::new(0)
                });
            }
        }
        let view = GatewayView {
            version: "1.2.3",
            uptime: Duration::from_secs(3_723),
            draining: false,
            default_strategy: "round_robin".to_owned(),
            strategies: vec![
                StrategyView { name: "round_robin", summary: "each in turn" },
                StrategyView { name: "weighted_round_robin", summary: "in turn, by weight" },
            ],
            listeners: vec![ListenerView {
                name: "db".to_owned(),
                address: "127.0.0.1:5432".to_owned(),
                protocol: "tcp",
                tls: false,
                upstreams: vec!["api".to_owned()],
            }],
            rules: vec![
                rule("api_v1", "/api/v1/*", "api", "weighted_round_robin"),
                rule("auth", "/auth/*", "api", "ip_hash"),
            ],
            upstreams: vec![UpstreamView {
                name: "api".to_owned(),
                strategy: "weighted_round_robin".to_owned(),
                backends: backends.into(),
            }],
            features: Features { traffic_dump: true, health_check: true, sample_rate: 0.3 },
            configuration: None,
            discovery: Vec::new(),
        };
        Self { registry, view }
    }

    fn with(mut self, change: impl FnOnce(&mut GatewayView)) -> Self {
        change(&mut self.view);
        self
    }

    fn pages(&self) -> StatusPages {
        StatusPages::new(Arc::new(Fixed(self.view.clone())), Arc::clone(&self.registry))
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_slice(get(&self.pages(), path, None).body()).unwrap()
    }
}

fn rule(name: &str, path: &str, upstream: &str, strategy: &str) -> RuleView {
    RuleView {
        name: name.to_owned(),
        host: None,
        path: path.to_owned(),
        methods: Vec::new(),
        upstream: upstream.to_owned(),
        split: Vec::new(),
        rollbacks: Vec::new(),
        strategy: strategy.to_owned(),
    }
}

fn backend(registry: &Registry, upstream: &str, url: &str, weight: f64) -> BackendView {
    BackendView {
        stats: registry.backend(upstream, url, 1),
        weight,
        backup: false,
        healthy: true,
        state: BackendState::Healthy,
        active_connections: 2,
        max_connections: Some(50),
        circuit: Circuit::Closed,
        ejected_until: None,
        open_until: None,
        since: None,
        last_probe: None,
        error: None,
    }
}

fn get(pages: &StatusPages, target: &str, accept: Option<&str>) -> Response<Bytes> {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    pages.respond(&Method::GET, path, query, accept).unwrap()
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[test]
fn health_is_200_also_while_draining() {
    let gateway = Gateway::tutorial();
    let health = gateway.get("/health");
    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!("1.2.3")));
    assert!(health["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let draining = gateway.with(|view| view.draining = true);
    let response = get(&draining.pages(), "/health", None);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(draining.get("/health")["status"], "draining");
}

#[test]
fn probes_are_answered_without_a_view_of_everything() {
    struct FiguresAlone;
    impl StatusSource for FiguresAlone {
        fn view(&self) -> GatewayView {
            panic!("it takes long")
        }
        fn tally(&self) -> Tally {
            Tally { eligible: 0, ..Tally::from(&Gateway::tutorial().view) }
        }
    }
    let pages = StatusPages::new(Arc::new(FiguresAlone), Arc::default());
    let at_once = |method, path, accept| pages.respond_at_once(&method, path, accept);
    let health = at_once(Method::GET, "/health", None).unwrap();
    assert!(text(&health).contains(r#""healthy_backends":3"#), "{}", text(&health));
    assert!(at_once(Method::HEAD, "/health", Some("*/*")).unwrap().body().is_empty());
    assert_eq!(at_once(Method::GET, "/ready", None).unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(at_once(Method::POST, "/ready", None).unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(at_once(Method::GET, "/health", BROWSER).is_none(), "people see all backends");
    assert!(at_once(Method::GET, "/metrics", None).is_none());
}

#[test]
fn readiness_turns_red_when_there_is_no_use_in_traffic() {
    let ready = |change: fn(&mut GatewayView)| {
        let gateway = Gateway::tutorial().with(change);
        let response = get(&gateway.pages(), "/ready", None);
        (response.status().as_u16(), gateway.get("/ready")["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(ready(|_| ()), (200, "ready".to_owned()));
    assert_eq!(ready(|view| view.draining = true), (503, "draining".to_owned()));
    assert_eq!(ready(|view| view.upstreams.clear()), (200, "ready".to_owned()));
    let one_left = |view: &mut GatewayView| {
        view.upstreams[0].backends[0].state = BackendState::Unhealthy;
        view.upstreams[0].backends[1].circuit = Circuit::Open;
    };
    assert_eq!(ready(one_left).0, 200);
    let none_left = |view: &mut GatewayView| {
        view.upstreams[0].backends.iter_mut().for_each(|backend| backend.state = BackendState::Ejected);
    };
    assert_eq!(ready(none_left), (503, "no backend eligible".to_owned()));
}

#[test]
fn ping_tells_the_numbers() {
    let ping = Gateway::tutorial().get("/ping");
    assert_eq!((&ping["version"], &ping["strategy"]), (&json!("1.2.3"), &json!("round_robin")));
    assert_eq!((&ping["active_backends"], &ping["total_requests"]), (&json!(3), &json!(60)));
    let first = &ping["backends"][0];
    for (key, value) in [
        ("url", json!("http://localhost:8081")),
        ("weight", json!(3.0)),
        ("active_connections", json!(2)),
        ("total_requests", json!(30)),
        ("last_request_time", json!("2023-11-14T22:13:20.000Z")),
        ("healthy", json!(true)),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
}

#[test]
fn ping_names_the_strategy_that_all_rules_use() {
    let gateway = Gateway::tutorial().with(|view| view.rules.truncate(1));
    assert_eq!(gateway.get("/ping")["strategy"], "weighted_round_robin");
}

#[test]
fn browsers_see_ping_as_a_page() {
    let gateway = Gateway::tutorial().with(|view| {
        view.upstreams[0].backends[2].healthy = false;
        view.upstreams[0].backends[2].state = BackendState::Unhealthy;
    });
    for path in ["/ping", "/health"] {
        let response = get(&gateway.pages(), path, BROWSER);
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(response.headers()["vary"], "Accept");
        let page = text(&response);
        for part in [
            "🔄 Advanced Load Balancer v1.2.3",
            "Load Balancing Strategy: IP Hash, Weighted Round Robin",
            "Active Backends: 2 ",
            "Total Requests: 60",
            "http://localhost:8081 (Weight: 3, Active: 2, Total: 30) <span title=\"healthy\">✅",
            "http://localhost:8083 (Weight: 1, Active: 2, Total: 10) <span title=\"unhealthy\">❌",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
    }
}

#[test]
fn configured_names_are_no_markup() {
    let mut gateway = Gateway::tutorial();
    let evil = backend(&gateway.registry, "api", "http://<script>&\"'", 1.0);
    gateway.view.upstreams[0].backends.push(evil);
    let response = get(&gateway.pages(), "/ping", BROWSER);
    assert!(text(&response).contains("http://&lt;script&gt;&amp;&quot;&#39; (Weight"));
    assert!(!text(&response).contains("<script>"));
}

#[test]
fn proxy_status_has_the_keys_of_every_version() {
    let status = Gateway::tutorial().get("/proxy-status");
    for (key, value) in [
        ("proxy_enabled", json!(true)),
        ("rules_count", json!(2)),
        ("traffic_dump", json!(true)),
        ("health_check", json!(true)),
        (
            "strategies",
            json!({"api_v1": "Weighted Round Robin (3:2:1)", "auth": "IP Hash (Session Affinity)"}),
        ),
        ("features", json!({"traffic_dump": true, "health_check": true, "sample_rate": 0.3})),
        ("load_strategies", json!(["round_robin", "weighted_round_robin"])),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    assert!(status["monitoring_paths"].as_array().unwrap().contains(&json!("/metrics")));
    assert_eq!(status.get("tutorial"), None);
}

#[test]
fn proxy_status_shows_every_backend_as_it_stands() {
    let gateway = Gateway::tutorial().with(|view| {
        let backend = &mut view.upstreams[0].backends[1];
        backend.state = BackendState::Ejected;
        backend.healthy = false;
        backend.circuit = Circuit::HalfOpen;
        backend.ejected_until = Some(SystemTime::UNIX_EPOCH);
    });
    let status = gateway.get("/proxy-status");
    let backends = &status["upstreams"][0]["backends"];
    for (key, value) in [
        ("url", json!("http://localhost:8082")),
        ("weight", json!(2.0)),
        ("healthy", json!(false)),
        ("state", json!("ejected")),
        ("active_connections", json!(2)),
        ("total_requests", json!(20)),
        ("failed_requests", json!(0)),
        ("last_request_time", json!("2023-11-14T22:13:20.000Z")),
        ("circuit", json!("half_open")),
        ("ejected_until", json!("1970-01-01T00:00:00.000Z")),
    ] {
        assert_eq!(backends[1][key], value, "{key}");
    }
    for percentile in ["p50", "p95", "p99"] {
        let told = backends[0]["latency_ms"][percentile].as_f64().unwrap();
        assert!((told - 4.0).abs() < 0.08, "{percentile}: {told}");
    }
}

#[test]
fn strategies_are_told_by_name_by_endpoint_and_in_use() {
    let body = Gateway::tutorial().get("/strategies");
    assert_eq!(
        body["strategies"],
        json!({"round_robin": "each in turn", "weighted_round_robin": "in turn, by weight"})
    );
    assert_eq!(body["endpoints"], json!({"/api/v1/*": "weighted_round_robin", "/auth/*": "ip_hash"}));
    let in_use = &body["load_balancing_strategies"]["weighted_round_robin"];
    assert_eq!(in_use["endpoint"], "/api/v1/*");
    assert_eq!(in_use["description"], "in turn, by weight");
    assert_eq!(in_use["use_case"], "Backends with different capacities");
    assert_eq!(in_use["backends"][0], "localhost:8081 (weight 3)");
}

#[test]
fn info_tells_what_runs_and_how_long() {
    let info = Gateway::tutorial().get("/info");
    assert_eq!(
        (&info["service"], &info["version"], &info["uptime"]),
        (&json!("gatewayd"), &json!("1.2.3"), &json!("1h2m3s"))
    );
}

#[test]
fn metrics_come_as_text_and_as_json() {
    let pages = Gateway::tutorial().pages();
    let response = get(&pages, "/metrics", BROWSER);
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let sample = "gatewayd_backend_up{upstream=\"api\",backend=\"http://localhost:8081\"} 1\n";
    assert!(text(&response).contains(sample));
    let report: Value = serde_json::from_slice(get(&pages, "/metrics?x=1&format=json", None).body()).unwrap();
    assert_eq!(report["aggregated"]["total_requests"], 60);
    assert_eq!(report["strategy_effectiveness"][0]["effectiveness"], 1.0);
}

#[test]
fn long_metrics_are_drawn_ahead_once_and_short_ones_never() {
    let registry = Arc::new(Registry::default());
    let mut view = Gateway::tutorial().view;
    let add = |view: &mut GatewayView, count: usize| {
        for _ in 0..count {
            let url = format!("http://10.0.0.1:{}", 1000 + view.upstreams[0].backends.len());
            view.upstreams[0].backends.push(backend(&registry, "api", &url, 1.0));
        }
    };
    let pages = |view: &GatewayView| StatusPages::new(Arc::new(Fixed(view.clone())), Arc::clone(&registry));
    add(&mut view, 10);
    assert!(!pages(&view).are_cold(), "a page of ten backends is no work");
    add(&mut view, 490);
    let page = pages(&view);
    assert!(page.are_cold());
    page.warm_up();
    assert!(!page.are_cold());
    let pointer = || page.respond(&Method::GET, "/metrics", None, None).unwrap().body().as_ptr();
    assert_eq!(pointer(), pointer(), "its memory is used again");
    add(&mut view, 500);
    assert!(page.are_cold(), "a reload has made it longer");
}

#[test]
fn head_is_get_without_the_body() {
    let pages = Gateway::tutorial().pages();
    for path in ["/health", "/metrics", "/ping"] {
        let head = pages.respond(&Method::HEAD, path, None, None).unwrap();
        assert!(head.body().is_empty());
        let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
        assert!(length > 100, "{path}: {length}");
    }
}

#[test]
fn other_methods_are_refused_with_those_there_are() {
    let pages = Gateway::tutorial().pages();
    let refused = pages.respond(&Method::POST, "/health", None, None).unwrap();
    assert_eq!(
        (refused.status(), &refused.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
    );
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert!(pages.respond(&Method::POST, "/users", None, None).is_none());
}

#[test]
fn the_home_page_is_there_only_where_asked_for() {
    let gateway = Gateway::tutorial();
    let respond = |pages: &StatusPages, path| pages.respond(&Method::GET, path, None, BROWSER);
    let plain = gateway.pages();
    assert!(respond(&plain, "/").is_none());
    assert!(respond(&plain, "/_gatewayd/demo.js").is_none());
    let demo = gateway.pages().with_demo();
    assert!(text(&respond(&demo, "/").unwrap()).contains("Advanced Proxy Demo"));
    assert!(respond(&demo, "/_gatewayd/demo.js").is_some());
    assert!(respond(&demo, "/_gatewayd/dashboard.js").is_none());
    let status: Value = serde_json::from_slice(respond(&demo, "/proxy-status").unwrap().body()).unwrap();
    assert_eq!(status["tutorial"], "10-advanced-proxy");
    let dashboard = gateway.pages().with_dashboard();
    assert!(respond(&dashboard, "/_gatewayd/dashboard.js").is_some());
}

/// What a page links to, and that its own rules allow it.
#[test]
fn pages_load_only_what_is_served_beside_them() {
    let gateway = Gateway::tutorial();
    for pages in [gateway.pages().with_demo(), gateway.pages().with_dashboard()] {
        let home = get(&pages, "/", BROWSER);
        let policy = home.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        let page = text(&home);
        let links = page.split(['"', '\'']).filter(|part| part.starts_with("/_gatewayd/"));
        let links: Vec<&str> = links.collect();
        assert!(links.len() >= 3, "{links:?}");
        for link in &links {
            assert_eq!(get(&pages, link, None).status(), StatusCode::OK, "{link}");
        }
        let imports = links.iter().filter(|link| link.ends_with(".js")).flat_map(|link| {
            let script = text(&get(&pages, link, None)).to_owned();
            let imported = script.lines().filter_map(|line| Some(line.split_once("from \"./")?.1.to_owned()));
            imported.collect::<Vec<_>>()
        });
        for import in imports {
            let import = format!("/_gatewayd/{}", import.trim_end_matches("\";"));
            assert_eq!(get(&pages, &import, None).status(), StatusCode::OK, "{import}");
        }
        let size: usize = links.iter().map(|link| get(&pages, link, None).body().len()).sum();
        assert!(page.len() + size < 150 * 1024, "{size} bytes to load");
        let scripts = page.lines().filter(|line| line.contains("<script"));
        assert!(scripts.clone().count() > 0);
        for script in scripts {
            assert!(
                script.contains("type=\"module\"") || script.contains(" defer"),
                "{script} holds up the first paint"
            );
        }
        for forbidden in ["<style", " style=", " onclick=", "<script>", "https://", "http://cdn", "@import"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}

#[test]
fn the_demo_keeps_its_promises_to_tests_from_outside() {
    let demo = Gateway::tutorial().pages().with_demo();
    let home = get(&demo, "/", BROWSER);
    for part in [
        "<title>Advanced Proxy Demo</title>",
        "data-card=\"weighted_round_robin\"",
        "data-card=\"least_connections\"",
        "data-card=\"ip_hash\"",
        "data-card=\"random\"",
        "Test Single Request",
        "Test 6 Requests",
        "Test 4 Requests",
        "Test 5 Requests",
        "data-action=\"status\"",
        "data-action=\"strategies\"",
        "data-action=\"clear\"",
        "id=\"results\"",
        "aria-live=\"polite\"",
    ] {
        assert!(text(&home).contains(part), "{part}");
    }
}
