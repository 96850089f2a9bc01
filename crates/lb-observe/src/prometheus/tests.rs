//! What a scraper reads.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::strict::parse;
use super::*;
use crate::live::{Circuit, LiveUpstream};
use crate::{BackendStats, Exchange, Figures, Recorder};

const NASTY: &str = "q\"uo\\te\nline";

struct Gateway {
    registry: Registry,
    backends: Vec<Arc<BackendStats>>,
}

impl Gateway {
    /// Two backends of one rule that served 30 and 10 requests, and one request without a rule.
    fn busy() -> Self {
        let registry = Registry::default();
        let rule = registry.rule(NASTY, 2);
        let figures = Figures::new(&registry, 2);
        let backends: Vec<_> = ["http://a", "http://b"].map(|url| registry.backend("app", url, 2)).into();
        for (backend, requests) in backends.iter().zip([30, 10]) {
            for n in 0..requests {
                figures.record(&Exchange {
                    rule: Some(&rule),
                    backend: Some(backend),
                    duration: Duration::from_millis(3),
                    upstream_latency: Some(Duration::from_millis(2)),
                    bytes_out: 100,
                    ended_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
                    ..Exchange::new(n % 2)
                });
            }
        }
        figures.record(&Exchange { status: StatusCode::NOT_FOUND, ..Exchange::new(0) });
        registry.listener("web", 2).opened(1);
        registry.upstream("app", 2).retried(0);
        registry.policy(NASTY, "rate_limit", 2).rejected(1);
        Self { registry, backends }
    }

    fn live(&self) -> Live<'_> {
        let backends = self.backends.iter().zip([3.0, 1.0]).map(|(stats, weight)| LiveBackend {
            stats,
            weight,
            healthy: weight > 1.0,
            active: 2,
            circuit: Circuit::HalfOpen,
            last_probe: None,
        });
        Live {
            version: "1.2.3",
            now: Instant::now(),
            time: SystemTime::now(),
            uptime: Duration::from_secs(90),
            upstreams: vec![LiveUpstream {
                name: "app",
                strategy: "weighted_round_robin",
                backends: backends.collect(),
            }],
        }
    }
}

fn sample(name: &str, labels: &[(&str, &str)]) -> String {
    let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
    format!("{name}{labels:?}")
}

#[test]
fn a_strict_parser_reads_it_and_finds_what_happened() {
    let gateway = Gateway::busy();
    let text = render(&gateway.registry, &gateway.live(), None, String::new());
    let samples = parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let a = [("upstream", "app"), ("backend", "http://a")];
    for (name, labels, value) in [
        ("gatewayd_build_info", &[("version", "1.2.3")][..], 1.0),
        ("gatewayd_uptime_seconds", &[], 90.0),
        ("gatewayd_requests_total", &[("rule", NASTY), ("code", "2xx")], 40.0),
        ("gatewayd_requests_total", &[("rule", NASTY), ("code", "5xx")], 0.0),
        ("gatewayd_requests_total", &[("rule", "(none)"), ("code", "4xx")], 1.0),
        ("gatewayd_request_duration_seconds_count", &[("rule", NASTY)], 40.0),
        ("gatewayd_request_duration_seconds_sum", &[("rule", NASTY)], 0.12),
        ("gatewayd_request_duration_seconds_bucket", &[("rule", NASTY), ("le", "0.002")], 0.0),
        ("gatewayd_request_duration_seconds_bucket", &[("rule", NASTY), ("le", "0.005")], 40.0),
        ("gatewayd_response_bytes_total", &[("rule", NASTY)], 4000.0),
        ("gatewayd_backend_requests_total", &[a[0], a[1], ("code", "2xx")], 30.0),
        ("gatewayd_backend_request_duration_seconds_bucket", &[a[0], a[1], ("le", "0.002")], 30.0),
        ("gatewayd_backend_failures_total", &[a[0], a[1], ("reason", "connect_failed")], 0.0),
        ("gatewayd_backend_active_connections", &a, 2.0),
        ("gatewayd_backend_up", &a, 1.0),
        ("gatewayd_backend_up", &[a[0], ("backend", "http://b")], 0.0),
        ("gatewayd_backend_circuit_state", &a, 1.0),
        ("gatewayd_backend_weight", &a, 3.0),
        ("gatewayd_retries_total", &[("upstream", "app")], 1.0),
        ("gatewayd_policy_rejections_total", &[("rule", NASTY), ("policy", "rate_limit")], 1.0),
        ("gatewayd_upstream_load_spread", &[("upstream", "app"), ("strategy", "weighted_round_robin")], 0.0),
        ("gatewayd_connections_active", &[("listener", "web")], 1.0),
    ] {
        let key = sample(name, labels);
        let found = samples.get(&key).copied();
        assert!(
            found.is_some_and(|found| (found - value).abs() < 1e-9),
            "{key}: {found:?}, not {value}\n{text}"
        );
    }
    assert!(!text.contains("code=\"499\""), "rare classes show only when they come");
}

#[test]
fn an_idle_gateway_is_read_too() {
    let live = Live {
        version: "",
        now: Instant::now(),
        time: SystemTime::now(),
        uptime: Duration::ZERO,
        upstreams: Vec::new(),
    };
    parse(&render(&Registry::default(), &live, None, String::new())).unwrap();
}

#[test]
fn the_control_sides_counters_are_merged_in() {
    let control = ControlMetrics::install().unwrap();
    crate::control::reloaded(crate::control::Reload::Rejected);
    crate::control::DumpDropped::new().add(7);
    let gateway = Gateway::busy();
    let text =
        render(&gateway.registry, &gateway.live(), Some(&control), "what stood here before".to_owned());
    let samples = parse(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert_eq!(samples[&sample("gatewayd_config_reloads_total", &[("result", "rejected")])], 1.0);
    assert_eq!(samples[&sample("gatewayd_config_reloads_total", &[("result", "ok")])], 0.0);
    assert_eq!(samples["gatewayd_dump_dropped_total{}"], 7.0);
    assert!(samples.contains_key("gatewayd_access_log_dropped_total{}"));
}

#[test]
fn the_labels_of_the_bounds_are_the_bounds() {
    for (label, bound_us) in BOUNDS.iter().zip(crate::histogram::EXPOSED_BOUNDS_US) {
        let seconds: f64 = label.parse().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let bound = bound_us as f64 / 1e6;
        assert!((seconds - bound).abs() < 1e-12, "{label} for {bound_us} us");
    }
}
