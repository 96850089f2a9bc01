//! The files in `config/` are what people begin with: each loads as it stands, and says what it seems to say.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Method};
use lb_config::{Format, Loaded, Severity, Sources, load, load_str};
use lb_core::{OptionValue, StrategyConfig};
use lb_router::{RequestView, Routed, Router, target};

#[path = "support/schema.rs"]
mod schema;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn example(name: &str) -> Loaded {
    load(&Sources::file(path(name))).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The rule that takes a request, and the path that its backend sees.
fn routed(
    loaded: &Loaded,
    method: &Method,
    host: &str,
    path: &str,
    headers: &HeaderMap,
) -> Option<(String, String)> {
    let router = Router::new(loaded.config.rules.iter().map(|rule| &*rule.route)).unwrap();
    let path = target::normalize_path(path, true).unwrap();
    let request = RequestView { method, host: Some(host), path: &path, query: None, headers };
    match router.route(&request) {
        Routed::Rule(rule) => {
            Some((loaded.config.rules[rule.index].route.name.clone(), rule.rewrite(&path).into_owned()))
        }
        _ => None,
    }
}

#[test]
fn every_example_loads_without_a_warning() {
    for name in
        ["minimal.toml", "demo.toml", "servex.yaml", "gatewayd.toml", "gateway.toml", "microservices.toml"]
    {
        let loaded = example(name);
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings.is_empty(), "{name}:\n{}", warnings.join("\n"));
    }
}

#[test]
fn the_complete_example_has_every_key() {
    let text = std::fs::read_to_string(path("gatewayd.toml")).unwrap();
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<String> = schema::keys()
        .into_iter()
        .filter(|key| !words.contains(key.name.as_str()))
        .map(|key| format!("{}.{} {}", key.table, key.name, key.frame))
        .collect();
    assert!(missing.is_empty(), "config/gatewayd.toml does not show {missing:?}");
}

#[test]
fn what_the_complete_example_keeps_for_later_is_read_and_checked_today() {
    let text = std::fs::read_to_string(path("gatewayd.toml")).unwrap().replace("#: ", "");
    let problems = load_str("gatewayd.toml", Format::Toml, &text).unwrap_err();
    for problem in &problems {
        let message = &problem.message;
        // Its secrets are not on this machine.
        let expected = message.contains("in this version") || message.contains("/run/secrets/");
        assert!(expected, "{problem}");
    }
    assert!(problems.as_slice().iter().any(|problem| problem.severity == Severity::Warning));
}

#[test]
fn the_smallest_file_is_one_rule_with_two_backends_on_port_8080() {
    let config = example("minimal.toml").config;
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.rules.len(), 1);
    assert_eq!(config.rules[0].route.name, "rule-1");
    assert_eq!(config.upstreams[0].name, "rule-1");
    let urls: Vec<&str> = config.upstreams[0].backends.iter().map(|backend| backend.url.as_str()).collect();
    assert_eq!(urls, ["127.0.0.1:9001", "127.0.0.1:9002"]);
    assert_eq!(config.upstreams[0].strategy, StrategyConfig::named("round_robin"));
}

#[test]
fn the_demo_has_the_tutorials_four_rules_and_ten_backends() {
    let loaded = example("demo.toml");
    let config = &loaded.config;
    let strategies: Vec<(&str, &str, usize)> = config
        .rules
        .iter()
        .map(|rule| {
            let upstream = &config.upstreams[rule.upstream];
            (rule.route.name.as_str(), upstream.strategy.name.as_str(), upstream.backends.len())
        })
        .collect();
    assert_eq!(
        strategies,
        [
            ("api-weighted-round-robin", "weighted_round_robin", 3),
            ("api-least-connections", "least_connections", 2),
            ("auth-ip-hash", "ip_hash", 2),
            ("static-random", "random", 3),
        ]
    );
    assert_eq!(
        config.upstreams[0].strategy.options,
        [("order".to_owned(), OptionValue::String("block".to_owned()))]
    );
    let weights: Vec<f64> = config.upstreams[0].backends.iter().map(|backend| backend.weight).collect();
    assert_eq!(weights, [3.0, 2.0, 1.0]);
    assert!(config.listeners[0].status_endpoints && loaded.access_log.enabled && loaded.admin.is_some());
    assert_eq!(config.rules[0].timeouts.response_head, Duration::from_secs(25));
    let none = HeaderMap::new();
    let path = |method: Method, path: &str| routed(&loaded, &method, "localhost", path, &none);
    assert_eq!(
        path(Method::GET, "/api/v1/test1"),
        Some(("api-weighted-round-robin".into(), "/test1".into()))
    );
    assert_eq!(
        path(Method::GET, "/api/v2/users"),
        Some(("api-least-connections".into(), "/v2/users".into()))
    );
    assert_eq!(path(Method::POST, "/auth/session1"), Some(("auth-ip-hash".into(), "/session1".into())));
    assert_eq!(path(Method::HEAD, "/static/file1.css"), Some(("static-random".into(), "/file1.css".into())));
    assert_eq!(path(Method::POST, "/static/file1.css"), None);
}

#[test]
fn the_demos_backends_take_the_addresses_they_are_given() {
    let text = std::fs::read_to_string(path("demo.toml")).unwrap();
    let addresses = (8081..=8090).map(|port| (format!("DEMO_{port}"), format!("127.0.0.1:{}", port + 1000)));
    let loaded = load(&Sources::text("demo.toml", Format::Toml, text).environment(addresses)).unwrap();
    let ports: Vec<u16> = loaded
        .config
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.backends)
        .map(|backend| backend.port)
        .collect();
    assert_eq!(ports, (9081..=9090).collect::<Vec<u16>>());
}

#[test]
fn servex_yaml_runs_as_written() {
    let loaded = example("servex.yaml");
    let config = &loaded.config;
    let upstream = &config.upstreams[config.rules[0].upstream];
    assert_eq!(
        (upstream.name.as_str(), upstream.strategy.name.as_str()),
        ("api-backend", "weighted_round_robin")
    );
    let backends: Vec<(&str, u16, f64)> =
        upstream.backends.iter().map(|b| (b.host.as_str(), b.port, b.weight)).collect();
    assert_eq!(backends, [("backend1", 8080, 2.0), ("backend2", 8080, 1.0)]);
    let taken = routed(&loaded, &Method::GET, "any", "/api/users", &HeaderMap::new());
    assert_eq!(taken, Some(("api-backend".into(), "/users".into())));
}

#[test]
fn the_gateway_routes_by_path_header_and_method() {
    let loaded = example("gateway.toml");
    let none = HeaderMap::new();
    let v2 = HeaderMap::from_iter([("x-api-version".parse().unwrap(), "v2".parse().unwrap())]);
    for (method, path, headers, rule, forwarded) in [
        (Method::GET, "/api/users/42", &none, "user", "/users/42"),
        (Method::POST, "/api/users/42", &none, "user-service", "/users/42"),
        (Method::GET, "/api/users/42", &v2, "api-v2", "/api/users/42"),
        (Method::POST, "/api/payments/7", &none, "payment-service", "/api/payments/7"),
        (Method::POST, "/api/sessions/", &none, "session-service", "/api/sessions/"),
        (Method::GET, "/api/v1/products", &none, "api-v1", "/v1/products"),
        (Method::HEAD, "/api/products", &none, "read-only-api", "/api/products"),
    ] {
        let taken = routed(&loaded, &method, "localhost", path, headers);
        assert_eq!(taken, Some((rule.into(), forwarded.into())), "{method} {path}");
    }
    assert_eq!(routed(&loaded, &Method::POST, "localhost", "/api/products", &none), None);
}

#[test]
fn microservices_are_told_apart_by_host() {
    let loaded = example("microservices.toml");
    for (host, rule) in [
        ("users.api.com", Some("users")),
        ("ORDERS.api.com", Some("orders")),
        ("stock.api.com", Some("inventory")),
        ("x.api.com", Some("fallback")),
        ("api.com", None),
    ] {
        let taken = routed(&loaded, &Method::GET, host, "/", &HeaderMap::new()).map(|(rule, _)| rule);
        assert_eq!(taken.as_deref(), rule, "{host}");
    }
}
