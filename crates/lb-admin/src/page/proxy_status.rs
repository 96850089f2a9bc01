//! `/proxy-status`: rules, what is turned on, and every backend as it stands.

use bytes::Bytes;
use http::{Response, StatusCode};
use lb_observe::stats::BackendTotals;
use lb_observe::{MirrorStats, SourceState};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::pages::{STATUS_PATHS, Scene};
use crate::response;
use crate::time::rfc3339;
use crate::title;
use crate::view::{BackendView, ConfigurationView, EditView, Features, ListenerView, UpstreamView};

#[derive(Serialize)]
struct Status<'a> {
    proxy_enabled: bool,
    rules_count: usize,
    traffic_dump: bool,
    health_check: bool,
    strategies: Map<String, Value>,
    features: Value,
    load_strategies: Vec<&'static str>,
    monitoring_paths: [&'static str; STATUS_PATHS.len()],
    #[serde(skip_serializing_if = "Option::is_none")]
    tutorial: Option<&'static str>,
    version: &'static str,
    timestamp: String,
    uptime_seconds: f64,
    draining: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<Value>,
    listeners: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    discovery: Vec<Value>,
    rules: Vec<Value>,
    upstreams: Vec<Upstream<'a>>,
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    strategy: &'a str,
    strategy_title: String,
    backends: Vec<Backend<'a>>,
}

#[derive(Serialize)]
struct Backend<'a> {
    url: &'a str,
    weight: f64,
    backup: bool,
    healthy: bool,
    state: &'static str,
    error: Option<&'a str>,
    active_connections: u64,
    max_connections: Option<u32>,
    /// Like all figures here null where none are kept of single backends.
    total_requests: Option<u64>,
    failed_requests: Option<u64>,
    last_request_time: Option<String>,
    last_status: Option<u16>,
    last_probe_time: Option<String>,
    circuit: &'static str,
    ejected_until: Option<String>,
    open_until: Option<String>,
    since: Option<String>,
    latency_ms: Latency,
    requests_per_second: Option<f64>,
    bytes_in: Option<u64>,
    bytes_out: Option<u64>,
}

/// Milliseconds; null before the first answer.
#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

pub(crate) fn proxy_status(scene: &Scene<'_>) -> Response<Bytes> {
    let view = scene.view;
    let Features { traffic_dump, health_check, sample_rate } = view.features;
    let status = Status {
        proxy_enabled: true,
        rules_count: view.rules.len(),
        traffic_dump,
        health_check,
        strategies: view.rules.iter().map(|rule| (rule.name.clone(), json!(view.title_of(rule)))).collect(),
        features: json!({"traffic_dump": traffic_dump, "health_check": health_check, "sample_rate": sample_rate}),
        load_strategies: view.strategies.iter().map(|row| row.name).collect(),
        monitoring_paths: STATUS_PATHS,
        tutorial: scene.is_demo.then_some("10-advanced-proxy"),
        version: view.version,
        timestamp: rfc3339(scene.time),
        uptime_seconds: view.uptime.as_secs_f64(),
        draining: view.draining,
        configuration: view.configuration.as_ref().map(configuration),
        listeners: listeners(scene),
        discovery: view.discovery.iter().map(source).collect(),
        rules: rules(scene),
        upstreams: view.upstreams.iter().map(|upstream| upstream_status(scene, upstream)).collect(),
    };
    response::json(StatusCode::OK, &status)
}

fn configuration(view: &ConfigurationView) -> Value {
    let reload = view.reload.as_ref().map(|reload| {
        let (result, detail) = match &reload.result {
            Ok(plan) => ("ok", plan),
            Err(reason) => ("rejected", reason),
        };
        json!({ "time": rfc3339(reload.time), "result": result, "detail": detail })
    });
    let edits: Vec<Value> = view.edits.iter().map(edit).collect();
    json!({
        "file": view.file,
        "loaded_at": rfc3339(view.loaded_at),
        "last_reload": reload,
        "version": view.version,
        "edits": edits,
    })
}

fn edit(view: &EditView) -> Value {
    json!({
        "id": view.id,
        "text": view.what,
        "by": view.by,
        "made_at": rfc3339(view.made_at),
        "expires_at": view.expires_at.map(rfc3339),
        "persist": view.persists,
    })
}

fn listeners(scene: &Scene<'_>) -> Vec<Value> {
    let figures = scene.registry.listeners();
    let listener = |view: &ListenerView| {
        let stats = figures.iter().find(|stats| stats.name() == view.name);
        json!({
            "name": view.name,
            "address": view.address,
            "protocol": view.protocol,
            "tls": view.tls,
            "upstreams": view.upstreams,
            "active_connections": stats.map_or(0, |stats| stats.totals().active),
        })
    };
    scene.view.listeners.iter().map(listener).collect()
}

fn source(view: &SourceState) -> Value {
    json!({
        "upstream": view.upstream,
        "source": view.kind,
        "place": view.place,
        "members": view.members,
        "last_success": view.updated.map(rfc3339),
        "last_change": view.changed.map(rfc3339),
        "error": view.error,
        "notice": view.notice,
    })
}

fn rules(scene: &Scene<'_>) -> Vec<Value> {
    let figures = scene.registry.mirrors();
    let rule = |rule: &crate::RuleView| {
        json!({
            "name": rule.name,
            "host": rule.host,
            "path": rule.path,
            "methods": rule.methods,
            "upstream": rule.upstream,
            "split": split(rule),
            "rollbacks": rollbacks(rule),
            "mirror": figures.iter().find(|stats| stats.rule() == rule.name).map(|stats| mirror(stats)),
            "strategy": rule.strategy,
            "strategy_title": scene.view.title_of(rule),
        })
    };
    scene.view.rules.iter().map(rule).collect()
}

/// What became of copies, and how their answers compare.
fn mirror(stats: &MirrorStats) -> Value {
    let totals = stats.totals();
    let differing = totals.other_status + totals.other_body;
    let compared = totals.alike + differing;
    json!({
        "upstream": stats.upstream(),
        "answered": totals.sent,
        "failed": totals.failed,
        "dropped": totals.dropped,
        "too_large": totals.too_large,
        "compared": compared,
        "other_status": totals.other_status,
        "other_body": totals.other_body,
        "mismatch_rate": (compared > 0).then(|| differing as f64 / compared as f64),
    })
}

/// What was taken back of it by itself.
fn rollbacks(rule: &crate::RuleView) -> Value {
    let one = |it: &crate::RollbackView| json!({ "upstream": it.upstream, "time": rfc3339(it.time), "reason": it.reason });
    rule.rollbacks.iter().map(one).collect()
}

/// The parts of a split; null where there is none.
fn split(rule: &crate::RuleView) -> Value {
    let part = |((_, weight), (upstream, share)): (&(String, f64), (&str, f64))| json!({ "upstream": upstream, "weight": weight, "share": share });
    match rule.split.is_empty() {
        true => Value::Null,
        false => rule.split.iter().zip(rule.shares()).map(part).collect(),
    }
}

fn upstream_status<'a>(scene: &Scene<'_>, upstream: &'a UpstreamView) -> Upstream<'a> {
    Upstream {
        name: &upstream.name,
        strategy: &upstream.strategy,
        strategy_title: title::with_weights(&upstream.strategy, &upstream.weights()),
        backends: upstream.backends.iter().map(|backend| backend_status(scene, backend)).collect(),
    }
}

fn backend_status<'a>(scene: &Scene<'_>, backend: &'a BackendView) -> Backend<'a> {
    let totals = backend.stats.totals();
    let kept = backend.stats.is_kept();
    Backend {
        url: backend.stats.backend(),
        weight: backend.weight,
        backup: backend.backup,
        healthy: backend.healthy,
        state: backend.state.name(),
        error: backend.error.as_deref(),
        active_connections: backend.active_connections,
        max_connections: backend.max_connections,
        total_requests: kept.then(|| totals.requests.total()),
        failed_requests: kept.then_some(totals.failed),
        last_request_time: totals.last_request.map(rfc3339),
        last_status: totals.last_status.map(|status| status.as_u16()),
        last_probe_time: backend.last_probe.map(rfc3339),
        circuit: backend.circuit.name(),
        ejected_until: backend.ejected_until.map(rfc3339),
        open_until: backend.open_until.map(rfc3339),
        since: backend.since.map(rfc3339),
        latency_ms: latency(&totals),
        requests_per_second: kept.then(|| backend.stats.requests_per_second(scene.now)),
        bytes_in: kept.then_some(totals.requests.bytes_in),
        bytes_out: kept.then_some(totals.requests.bytes_out),
    }
}

fn latency(totals: &BackendTotals) -> Latency {
    let quantile = |q| totals.latency.quantile(q).map(|d| (d.as_secs_f64() * 1e6).round() / 1e3);
    Latency { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) }
}
