//! The JSON report as Backworks' users know it, and what it adds.

use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::{Exchange, Figures, Recorder};

fn reported() -> Value {
    let registry = Registry::default();
    let figures = Figures::new(&registry, 1);
    let rule = registry.rule("users", 1);
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let urls = ["http://a", "http://b"];
    let backends = urls.map(|url| registry.backend("app", url, 1));
    let statuses = [(0, 200), (0, 200), (0, 404), (1, 504)];
    for (backend, status) in statuses {
        figures.record(&Exchange {
            rule: Some(&rule),
            backend: Some(&backends[backend]),
            status: StatusCode::from_u16(status).unwrap(),
            code: (status == 504).then_some("upstream_timeout"),
            duration: Duration::from_millis(12),
            upstream_latency: (status != 504).then_some(Duration::from_millis(10)),
            ended_at: time,
            ..Exchange::new(0)
        });
    }
    let live_backend = |index: usize| LiveBackend {
        stats: &backends[index],
        weight: 1.0,
        healthy: index == 0,
        active: 4,
        circuit: if index == 0 { Circuit::Closed } else { Circuit::Open },
        last_probe: Some(time),
    };
    let live = Live {
        version: "1.2.3",
        now: Instant::now() + Duration::from_secs(10),
        time,
        uptime: Duration::from_secs(10),
        upstreams: vec![LiveUpstream {
            name: "app",
            strategy: "round_robin",
            backends: vec![live_backend(0), live_backend(1)],
        }],
    };
    serde_json::to_value(report(&registry, &live)).unwrap()
}

#[test]
fn a_target_has_every_key_of_backworks() {
    let report = reported();
    let target = &report["targets"][0];
    for (key, value) in [
        ("target_name", json!("http://a")),
        ("total_requests", json!(3)),
        ("successful_requests", json!(2)),
        ("failed_requests", json!(1)),
        ("timeout_requests", json!(0)),
        ("avg_response_time_ms", json!(10.0)),
        ("active_connections", json!(4)),
        ("circuit_breaker_state", json!("Closed")),
        ("is_healthy", json!(true)),
        ("last_health_check", json!("2023-11-14T22:13:20.000Z")),
        ("metrics_start_time", json!("2023-11-14T22:13:10.000Z")),
        ("last_update_time", json!("2023-11-14T22:13:20.000Z")),
        ("name", json!("http://a")),
        ("url", json!("http://a")),
        ("healthy", json!(true)),
        ("weight", json!(1.0)),
    ] {
        assert_eq!(target[key], value, "{key}");
    }
    for key in ["min", "max", "p50", "p95", "p99", "p999"] {
        let told = target[format!("{key}_response_time_ms")].as_f64().unwrap();
        assert!((told - 10.0).abs() < 0.2, "{key}: {told}");
    }
    let rate = target["requests_per_second"].as_f64().unwrap();
    assert!((rate - 0.3).abs() < 0.01, "{rate}");
}

#[test]
fn the_sum_over_targets_is_worst_case_where_it_is_not_a_sum() {
    let report = reported();
    let sum = &report["aggregated"];
    assert_eq!(sum["target_name"], "aggregated");
    assert_eq!((&sum["total_requests"], &sum["timeout_requests"]), (&json!(4), &json!(1)));
    assert_eq!((&sum["active_connections"], &sum["circuit_breaker_state"]), (&json!(8), &json!("Open")));
    assert_eq!(sum.get("url"), None);
    assert_eq!((&report["total_targets"], &report["healthy_targets"]), (&json!(2), &json!(1)));
}

#[test]
fn strategies_and_rules_are_told_too() {
    let report = reported();
    let strategy = &report["strategy_effectiveness"][0];
    assert_eq!((&strategy["upstream"], &strategy["strategy"]), (&json!("app"), &json!("round_robin")));
    assert_eq!((&strategy["spread"], &strategy["peak"]), (&json!(0.5), &json!(1.5)));
    let rules = report["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["rule"] == "users").unwrap();
    assert_eq!(
        rule["requests_by_class"],
        json!({"1xx": 0, "2xx": 2, "3xx": 0, "499": 0, "4xx": 1, "5xx": 1})
    );
    assert!((rule["duration_ms"]["p99"].as_f64().unwrap() - 12.0).abs() < 0.2);
}
