//! `/metrics` as Prometheus text.
//!
//! The labels are configured names alone (rules, upstreams, backends, listeners, policies), never anything that a
//! client sends, so the number of series is bounded by the configuration.

mod text;

use std::sync::Arc;

use crate::control::ControlMetrics;
use crate::histogram::Exposed;
use crate::live::{Live, LiveBackend};
use crate::stats::{Class, FailureKind, RequestTotals};
use crate::{BackendStats, Balance, MirrorStats, Registry};
use text::{Kind, Labels, Text};

/// The content type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The values of `le` for [`EXPOSED_BOUNDS_US`](crate::histogram::EXPOSED_BOUNDS_US), in seconds.
static BOUNDS: [&str; 19] = [
    "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5",
    "1", "2", "5", "10", "30", "60", "300",
];

/// About what a text needs room for.
const SERIES_OF_A_BACKEND: usize = 33;
const SERIES_OF_A_RULE: usize = 30;
const SERIES_BESIDE: usize = 100;
const BYTES_OF_A_SERIES: usize = 128;

/// Everything there is to scrape: the registry's figures, the live state, and the control side's counters. It is written
/// into `room`, whose text goes and whose memory is used again: with many backends that is megabytes, and memory new to a
/// process costs more than to write it.
pub fn render(
    registry: &Registry,
    live: &Live<'_>,
    control: Option<&ControlMetrics>,
    room: String,
) -> String {
    let mut text = Text::with_room(room, room_for(registry));
    process(&mut text, live);
    rules(&mut text, registry);
    backends(&mut text, registry);
    backend_states(&mut text, live);
    upstreams(&mut text, registry, live);
    splits(&mut text, registry);
    mirrors(&mut text, registry);
    listeners(&mut text, registry);
    if let Some(control) = control {
        text.append(&control.render());
    }
    text.finish()
}

/// About how many bytes [`render`] needs room for.
pub fn room_for(registry: &Registry) -> usize {
    let series = registry.backends().len() * SERIES_OF_A_BACKEND + registry.rules().len() * SERIES_OF_A_RULE;
    (series + SERIES_BESIDE) * BYTES_OF_A_SERIES
}

fn process(text: &mut Text, live: &Live<'_>) {
    let mut family = text.family("gatewayd_build_info", Kind::Gauge, "The version that runs; always 1.");
    family.sample(&Labels::new(&[("version", live.version)]), 1u64);
    let mut family = text.family("gatewayd_uptime_seconds", Kind::Gauge, "Time since the start.");
    family.sample(&Labels::default(), live.uptime.as_secs_f64());
}

fn rules(text: &mut Text, registry: &Registry) {
    let rules: Vec<(Labels, RequestTotals, Exposed)> = registry
        .rules()
        .iter()
        .map(|rule| (Labels::new(&[("rule", rule.name())]), rule.requests(), rule.exposed()))
        .collect();
    let help = "Requests by rule and class of the answer; 499 where the client left first.";
    let mut family = text.family("gatewayd_requests_total", Kind::Counter, help);
    for (labels, requests, _) in &rules {
        for (class, count) in requests.by_class().filter(is_shown) {
            family.sample_with(labels, "code", class.label(), count);
        }
    }
    let help = "From a request's first byte to its answer's last.";
    let mut family = text.family("gatewayd_request_duration_seconds", Kind::Histogram, help);
    rules.iter().for_each(|(labels, _, duration)| family.histogram(labels, duration));
    let mut family = text.family("gatewayd_request_bytes_total", Kind::Counter, "Bytes of request bodies.");
    rules.iter().for_each(|(labels, requests, _)| family.sample(labels, requests.bytes_in));
    let mut family = text.family("gatewayd_response_bytes_total", Kind::Counter, "Bytes of response bodies.");
    rules.iter().for_each(|(labels, requests, _)| family.sample(labels, requests.bytes_out));

    let help = "Requests given up because their client stood still, or moved less of a body than min_rate.";
    let mut family = text.family("gatewayd_clients_stalled_total", Kind::Counter, help);
    for rule in &*registry.rules() {
        family.sample(&Labels::new(&[("rule", rule.name())]), rule.stalls());
    }

    let help = "Requests that a policy turned away.";
    let mut family = text.family("gatewayd_policy_rejections_total", Kind::Counter, help);
    for policy in registry.policies() {
        let labels = Labels::new(&[("rule", policy.rule()), ("policy", policy.policy())]);
        family.sample(&labels, policy.rejections());
    }
}

fn backends(text: &mut Text, registry: &Registry) {
    if !registry.keeps_backends() {
        return;
    }
    let backends: Vec<(Labels, Arc<BackendStats>)> = registry
        .backends()
        .into_iter()
        .map(|backend| (backend_labels(backend.upstream(), backend.backend()), backend))
        .collect();
    let help = "Attempts at a backend by class of the answer; those without one count as 5xx, and as 499 where another backend was quicker or the client left.";
    let mut family = text.family("gatewayd_backend_requests_total", Kind::Counter, help);
    for (labels, backend) in &backends {
        for (class, count) in backend.counts().0.by_class().filter(is_shown) {
            family.sample_with(labels, "code", class.label(), count);
        }
    }
    let help = "From sending a request to a backend to the head of its response.";
    let mut family = text.family("gatewayd_backend_request_duration_seconds", Kind::Histogram, help);
    backends.iter().for_each(|(labels, backend)| family.histogram(labels, &backend.exposed()));
    let help = "Attempts at a backend that brought no complete answer, by reason.";
    let mut family = text.family("gatewayd_backend_failures_total", Kind::Counter, help);
    for (labels, backend) in &backends {
        for kind in FailureKind::ALL {
            family.sample_with(labels, "reason", kind.code(), backend.failures(kind));
        }
    }
}

fn backend_states(text: &mut Text, live: &Live<'_>) {
    let backends: Vec<(Labels, &LiveBackend<'_>)> = live
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.backends)
        .map(|backend| (backend_labels(backend.stats.upstream(), backend.stats.backend()), backend))
        .collect();
    let mut gauge = |name, help, value: fn(&LiveBackend<'_>) -> f64| {
        let mut family = text.family(name, Kind::Gauge, help);
        backends.iter().for_each(|(labels, backend)| family.sample(labels, value(backend)));
    };
    #[expect(clippy::cast_precision_loss, reason = "requests in flight stay far below 2^53")]
    gauge("gatewayd_backend_active_connections", "Requests in flight to a backend.", |b| b.active as f64);
    gauge("gatewayd_backend_up", "Whether a backend is held healthy.", |b| f64::from(u8::from(b.healthy)));
    let help = "A backend's circuit breaker: 0 closed, 1 half-open, 2 open.";
    gauge("gatewayd_backend_circuit_state", help, |b| f64::from(b.circuit.level()));
    gauge("gatewayd_backend_weight", "A backend's weight in force; 0 takes no new requests.", |b| b.weight);
}

fn upstreams(text: &mut Text, registry: &Registry, live: &Live<'_>) {
    let help = "Attempts beyond an exchange's first.";
    let mut family = text.family("gatewayd_retries_total", Kind::Counter, help);
    for upstream in registry.upstreams() {
        family.sample(&Labels::new(&[("upstream", upstream.name())]), upstream.retries());
    }
    let help = "Unevenness of an upstream's requests over its backends' weights; 0 is exactly even.";
    let mut family = text.family("gatewayd_upstream_load_spread", Kind::Gauge, help);
    for upstream in &live.upstreams {
        let loads = upstream.backends.iter().map(|b| (b.stats.counts().0.total(), b.weight));
        if let Some(balance) = Balance::of(loads) {
            let labels = Labels::new(&[("upstream", upstream.name), ("strategy", upstream.strategy)]);
            family.sample(&labels, balance.spread);
        }
    }
}

fn mirrors(text: &mut Text, registry: &Registry) {
    let mirrors: Vec<_> = registry.mirrors().iter().map(|it| (Arc::clone(it), it.totals())).collect();
    if mirrors.is_empty() {
        return;
    }
    let labels = |stats: &MirrorStats, result| {
        Labels::new(&[("rule", stats.rule()), ("upstream", stats.upstream()), ("result", result)])
    };
    let help = "Copies of requests for a mirror, and requests that have none.";
    let mut family = text.family("gatewayd_mirror_requests_total", Kind::Counter, help);
    for (stats, totals) in &mirrors {
        for (result, count) in [
            ("answered", totals.sent),
            ("failed", totals.failed),
            ("dropped", totals.dropped),
            ("too_large", totals.too_large),
        ] {
            family.sample(&labels(stats, result), count);
        }
    }
    let help = "Answers of a mirror that were compared with the primary ones.";
    let mut family = text.family("gatewayd_mirror_compared_total", Kind::Counter, help);
    for (stats, totals) in &mirrors {
        for (result, count) in [
            ("alike", totals.alike),
            ("other_status", totals.other_status),
            ("other_body", totals.other_body),
        ] {
            family.sample(&labels(stats, result), count);
        }
    }
}

fn splits(text: &mut Text, registry: &Registry) {
    let splits = registry.splits();
    if splits.is_empty() {
        return;
    }
    let help = "Requests of a rule that went to one of the upstreams between which they are shared out.";
    let mut family = text.family("gatewayd_split_requests_total", Kind::Counter, help);
    for split in splits {
        family.sample(
            &Labels::new(&[("rule", split.rule()), ("upstream", split.upstream())]),
            split.requests(),
        );
    }
    let help = "How often a part of a split was taken back by itself, for being worse than the largest.";
    let mut family = text.family("gatewayd_split_rollbacks_total", Kind::Counter, help);
    for split in registry.splits() {
        family.sample(
            &Labels::new(&[("rule", split.rule()), ("upstream", split.upstream())]),
            split.times_taken_back(),
        );
    }
}

fn listeners(text: &mut Text, registry: &Registry) {
    let listeners: Vec<_> = registry
        .listeners()
        .iter()
        .map(|listener| (Labels::new(&[("listener", listener.name())]), listener.totals()))
        .collect();
    let mut family = text.family("gatewayd_connections_active", Kind::Gauge, "Client connections open now.");
    listeners.iter().for_each(|(labels, totals)| family.sample(labels, totals.active));
    let help = "Client connections since the start.";
    let mut family = text.family("gatewayd_connections_accepted_total", Kind::Counter, help);
    listeners.iter().for_each(|(labels, totals)| family.sample(labels, totals.accepted));
    let help = "Client connections closed unserved, since their address had max_connections_per_address.";
    let mut family = text.family("gatewayd_connections_refused_total", Kind::Counter, help);
    listeners.iter().for_each(|(labels, totals)| family.sample(labels, totals.refused));
    forwarding(text, registry);
    failures(text, registry);
    preambles(text, registry);
    handshakes(text, registry);
}

fn forwarding(text: &mut Text, registry: &Registry) {
    let listeners = registry.listeners();
    let forwarding: Vec<_> =
        listeners.iter().filter_map(|listener| Some((listener.name(), listener.forwarding()?))).collect();
    if forwarding.is_empty() {
        return;
    }
    let help = "Connections to other servers that a forward proxy has open now.";
    let mut family = text.family("gatewayd_forward_connections_active", Kind::Gauge, help);
    for (listener, open) in forwarding {
        family.sample(&Labels::new(&[("listener", listener)]), u64::from(open));
    }
}

fn failures(text: &mut Text, registry: &Registry) {
    let listeners = registry.listeners();
    let carrying: Vec<_> =
        listeners.iter().filter_map(|listener| Some((listener.name(), listener.failures()?))).collect();
    if carrying.is_empty() {
        return;
    }
    let help = "Connections of TCP listeners that reached no backend or broke off, by reason.";
    let mut family = text.family("gatewayd_tcp_connections_failed_total", Kind::Counter, help);
    for (listener, failures) in carrying {
        let labels = Labels::new(&[("listener", listener)]);
        for (failure, count) in failures {
            family.sample_with(&labels, "reason", failure.code(), count);
        }
    }
}

fn preambles(text: &mut Text, registry: &Registry) {
    let listeners = registry.listeners();
    let expecting: Vec<_> =
        listeners.iter().filter_map(|listener| Some((listener.name(), listener.preambles()?))).collect();
    if expecting.is_empty() {
        return;
    }
    let help = "Connections closed unserved for want of a good PROXY header.";
    let mut family = text.family("gatewayd_proxy_protocol_refused_total", Kind::Counter, help);
    for (listener, failures) in expecting {
        let labels = Labels::new(&[("listener", listener)]);
        for (failure, count) in failures {
            family.sample_with(&labels, "reason", failure.code(), count);
        }
    }
}

fn handshakes(text: &mut Text, registry: &Registry) {
    let listeners = registry.listeners();
    let secured = listeners
        .iter()
        .filter_map(|listener| Some((Labels::new(&[("listener", listener.name())]), listener.tls()?)));
    let secured: Vec<_> = secured.collect();
    if secured.is_empty() {
        return;
    }
    let help = "TLS handshakes with clients, in full or from an earlier session.";
    let mut family = text.family("gatewayd_tls_handshakes_total", Kind::Counter, help);
    for (labels, totals) in &secured {
        family.sample_with(labels, "kind", "full", totals.full);
        family.sample_with(labels, "kind", "resumed", totals.resumed);
    }
    let help = "TLS handshakes with clients that came to nothing.";
    let mut family = text.family("gatewayd_tls_handshake_failures_total", Kind::Counter, help);
    for (labels, totals) in &secured {
        for (failure, count) in totals.failures {
            family.sample_with(labels, "reason", failure.code(), count);
        }
    }
    let help = "When the first of a listener's certificates ends, in Unix time.";
    let mut family = text.family("gatewayd_tls_certificate_end_seconds", Kind::Gauge, help);
    secured.iter().for_each(|(labels, totals)| family.sample(labels, totals.certificate_end));
}

fn backend_labels(upstream: &str, backend: &str) -> Labels {
    Labels::new(&[("upstream", upstream), ("backend", backend)])
}

/// The usual classes are there from the start, so that a rate has a first value; the rare ones when they come.
fn is_shown((class, count): &(Class, u64)) -> bool {
    *count > 0 || !matches!(class, Class::Informational | Class::ClientLeft)
}

#[cfg(test)]
mod strict;
#[cfg(test)]
mod tests;
