//! `/metrics?format=json`: Backworks' shape per backend and for all of them, with what gatewayd knows besides.

mod shape;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::live::{Circuit, Live, LiveBackend, LiveUpstream};
use crate::stats::{BackendTotals, Class, FailureKind, RequestTotals, RuleStats};
use crate::{Balance, Registry};
pub use shape::Report;
use shape::{Effectiveness, Identity, Quantiles, Rule, Target};

/// Everything there is to tell about the configured backends and the rules, to be serialised.
pub fn report(registry: &Registry, live: &Live<'_>) -> Report {
    let backends: Vec<(LiveBackend<'_>, BackendTotals)> = live
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.backends)
        .map(|backend| (*backend, backend.stats.totals()))
        .collect();
    let is_kept = registry.keeps_backends();
    let told = if is_kept { backends.as_slice() } else { &[] };
    Report {
        version: live.version.to_owned(),
        timestamp: rfc3339(live.time),
        uptime_seconds: live.uptime.as_secs_f64(),
        total_targets: backends.len(),
        healthy_targets: backends.iter().filter(|(backend, _)| backend.healthy).count(),
        backend_statistics: is_kept,
        aggregated: is_kept.then(|| aggregated(told, live)),
        targets: told.iter().map(|(backend, totals)| target(backend, totals, live)).collect(),
        rules: registry.rules().iter().map(|stats| rule(stats, live)).collect(),
        strategy_effectiveness: live.upstreams.iter().filter(|_| is_kept).map(effectiveness).collect(),
    }
}

fn target(backend: &LiveBackend<'_>, totals: &BackendTotals, live: &Live<'_>) -> Target {
    let url = backend.stats.backend().to_owned();
    Target {
        requests_per_second: backend.stats.requests_per_second(live.now),
        active_connections: backend.active,
        circuit_breaker_state: backworks_name(backend.circuit),
        is_healthy: backend.healthy,
        last_health_check: backend.last_probe.map(rfc3339),
        identity: Some(Identity {
            name: url.clone(),
            url: url.clone(),
            upstream: backend.stats.upstream().to_owned(),
            healthy: backend.healthy,
            weight: backend.weight,
        }),
        ..of_totals(url, totals, live)
    }
}

fn aggregated(backends: &[(LiveBackend<'_>, BackendTotals)], live: &Live<'_>) -> Target {
    let mut totals = BackendTotals::default();
    backends.iter().for_each(|(_, theirs)| totals.merge(theirs));
    let circuits = || backends.iter().map(|(backend, _)| backend.circuit);
    let worst = [Circuit::Open, Circuit::HalfOpen].into_iter().find(|worst| circuits().any(|c| c == *worst));
    Target {
        requests_per_second: backends.iter().map(|(b, _)| b.stats.requests_per_second(live.now)).sum(),
        active_connections: backends.iter().map(|(backend, _)| backend.active).sum(),
        circuit_breaker_state: backworks_name(worst.unwrap_or_default()),
        is_healthy: backends.iter().any(|(backend, _)| backend.healthy),
        last_health_check: backends.iter().filter_map(|(backend, _)| backend.last_probe).max().map(rfc3339),
        ..of_totals("aggregated".to_owned(), &totals, live)
    }
}

/// What follows from the counters alone.
fn of_totals(target_name: String, totals: &BackendTotals, live: &Live<'_>) -> Target {
    let quantile = |q| milliseconds(totals.latency.quantile(q));
    let started = live.time.checked_sub(live.uptime).unwrap_or(live.time);
    Target {
        target_name,
        total_requests: totals.requests.total(),
        successful_requests: totals.requests.of(Class::Success),
        failed_requests: totals.requests.of(Class::ClientError) + totals.requests.of(Class::ServerError),
        timeout_requests: totals.failures(FailureKind::Timeout),
        avg_response_time_ms: milliseconds(totals.latency.mean()),
        min_response_time_ms: milliseconds(totals.latency.min()),
        max_response_time_ms: milliseconds(totals.latency.max()),
        p95_response_time_ms: quantile(0.95),
        p99_response_time_ms: quantile(0.99),
        requests_per_second: 0.0,
        active_connections: 0,
        circuit_breaker_state: "",
        is_healthy: false,
        last_health_check: None,
        metrics_start_time: rfc3339(started),
        last_update_time: rfc3339(live.time),
        identity: None,
        p50_response_time_ms: quantile(0.5),
        p999_response_time_ms: quantile(0.999),
        requests_by_class: by_class(&totals.requests),
        failures: FailureKind::ALL.into_iter().map(|kind| (kind.code(), totals.failures(kind))).collect(),
        bytes_in: totals.requests.bytes_in,
        bytes_out: totals.requests.bytes_out,
        last_status: totals.last_status.map(|status| status.as_u16()),
        last_request_time: totals.last_request.map(rfc3339),
    }
}

fn rule(stats: &RuleStats, live: &Live<'_>) -> Rule {
    let totals = stats.totals();
    let quantile = |q| milliseconds(totals.duration.quantile(q));
    Rule {
        rule: stats.name().to_owned(),
        total_requests: totals.requests.total(),
        requests_by_class: by_class(&totals.requests),
        requests_per_second: stats.requests_per_second(live.now),
        bytes_in: totals.requests.bytes_in,
        bytes_out: totals.requests.bytes_out,
        duration_ms: Quantiles {
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
            p999: quantile(0.999),
        },
    }
}

fn effectiveness(upstream: &LiveUpstream<'_>) -> Effectiveness {
    let loads = upstream.backends.iter().map(|b| (b.stats.counts().0.total(), b.weight));
    let balance = Balance::of(loads);
    Effectiveness {
        upstream: upstream.name.to_owned(),
        strategy: upstream.strategy.to_owned(),
        spread: balance.map(|balance| balance.spread),
        peak: balance.map(|balance| balance.peak),
        effectiveness: balance.map(|balance| balance.effectiveness()),
    }
}

fn by_class(requests: &RequestTotals) -> BTreeMap<&'static str, u64> {
    requests.by_class().map(|(class, count)| (class.label(), count)).collect()
}

/// Milliseconds to the microsecond; 0 without a sample, as Backworks has it.
fn milliseconds(duration: Option<Duration>) -> f64 {
    duration.map_or(0.0, |duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
}

fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

fn backworks_name(circuit: Circuit) -> &'static str {
    match circuit {
        Circuit::Closed => "Closed",
        Circuit::HalfOpen => "HalfOpen",
        Circuit::Open => "Open",
    }
}

#[cfg(test)]
mod tests;
