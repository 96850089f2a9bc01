//! The keys of the JSON report, in the order they are written.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything there is to tell, as JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    pub(super) version: String,
    pub(super) timestamp: String,
    pub(super) uptime_seconds: f64,
    pub(super) total_targets: usize,
    pub(super) healthy_targets: usize,
    /// Whether figures of single backends are kept; if not, nothing that follows from them is told.
    pub(super) backend_statistics: bool,
    pub(super) aggregated: Option<Target>,
    pub(super) targets: Vec<Target>,
    pub(super) rules: Vec<Rule>,
    pub(super) strategy_effectiveness: Vec<Effectiveness>,
}

/// Backworks' metrics of one target, then ours.
#[derive(Debug, Serialize)]
pub(super) struct Target {
    pub(super) target_name: String,
    pub(super) total_requests: u64,
    pub(super) successful_requests: u64,
    pub(super) failed_requests: u64,
    pub(super) timeout_requests: u64,
    pub(super) avg_response_time_ms: f64,
    pub(super) min_response_time_ms: f64,
    pub(super) max_response_time_ms: f64,
    pub(super) p95_response_time_ms: f64,
    pub(super) p99_response_time_ms: f64,
    pub(super) requests_per_second: f64,
    pub(super) active_connections: u64,
    pub(super) circuit_breaker_state: &'static str,
    pub(super) is_healthy: bool,
    pub(super) last_health_check: Option<String>,
    pub(super) metrics_start_time: String,
    pub(super) last_update_time: String,

    #[serde(flatten)]
    pub(super) identity: Option<Identity>,
    pub(super) p50_response_time_ms: f64,
    pub(super) p999_response_time_ms: f64,
    pub(super) requests_by_class: BTreeMap<&'static str, u64>,
    pub(super) failures: BTreeMap<&'static str, u64>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) last_status: Option<u16>,
    pub(super) last_request_time: Option<String>,
}

/// What Backworks' load balancer statistics have of a target.
#[derive(Debug, Serialize)]
pub(super) struct Identity {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) upstream: String,
    pub(super) healthy: bool,
    pub(super) weight: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Rule {
    pub(super) rule: String,
    pub(super) total_requests: u64,
    pub(super) requests_by_class: BTreeMap<&'static str, u64>,
    pub(super) requests_per_second: f64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) duration_ms: Quantiles,
}

#[derive(Debug, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct Effectiveness {
    pub(super) upstream: String,
    pub(super) strategy: String,
    pub(super) spread: Option<f64>,
    pub(super) peak: Option<f64>,
    pub(super) effectiveness: Option<f64>,
}
