//! Every figure of the gateway at one moment, read once for all viewers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use lb_observe::stats::Class;
use lb_observe::{Registry, RuleStats};

use super::memory::MAX_UPSTREAMS;
use super::window::{Counts, Reading};
use crate::view::{GatewayView, UpstreamView};

/// What figures read.
pub(super) struct Frame {
    pub(super) made: Instant,
    pub(super) view: GatewayView,
    /// Whether figures of single backends are kept.
    pub(super) backend_statistics: bool,
    /// Connections of clients.
    pub(super) connections: u64,
    /// As clients saw it: over all rules, and what no rule took.
    pub(super) totals: Reading,
    /// In the view's order; a rule that has no figures yet has none.
    pub(super) rules: Vec<Option<(Arc<RuleStats>, Counts)>>,
    /// In the view's order, with the counts of its backends in theirs.
    pub(super) upstreams: Vec<(Reading, Vec<Counts>)>,
}

impl Frame {
    pub(super) fn read(view: GatewayView, registry: &Registry, now: Instant) -> Self {
        let figures = registry.rules();
        let mut totals = Reading::default();
        let mut by_name = HashMap::with_capacity(figures.len());
        for rule in &figures {
            let counts = counts_of(rule);
            totals.counts.add(counts);
            rule.add_duration(&mut totals.latency);
            by_name.insert(rule.name(), (Arc::clone(rule), counts));
        }
        let rules = view.rules.iter().map(|rule| by_name.get(rule.name.as_str()).cloned()).collect();
        let upstreams = view.upstreams.iter().enumerate().map(|(index, upstream)| {
            // Percentiles of more upstreams than are remembered are not worth their time.
            read(upstream, index < MAX_UPSTREAMS)
        });
        let upstreams = upstreams.collect();
        let connections = registry.listeners().iter().map(|listener| listener.totals().active).sum();
        Self {
            made: now,
            backend_statistics: registry.keeps_backends(),
            connections,
            totals,
            rules,
            upstreams,
            view,
        }
    }

    /// Requests in flight at all backends.
    pub(super) fn active(&self) -> u64 {
        self.view.upstreams.iter().map(active).sum()
    }
}

/// Requests in flight at an upstream's backends.
pub(super) fn active(upstream: &UpstreamView) -> u64 {
    upstream.backends.iter().map(|backend| backend.active_connections).sum()
}

fn read(upstream: &UpstreamView, with_latency: bool) -> (Reading, Vec<Counts>) {
    let mut sum = Reading::default();
    let backends = upstream.backends.iter().map(|backend| {
        let (requests, failed) = backend.stats.counts();
        let counts = Counts { requests: requests.total(), failed };
        sum.counts.add(counts);
        if with_latency {
            backend.stats.add_latency(&mut sum.latency);
        }
        counts
    });
    let backends = backends.collect();
    (sum, backends)
}

fn counts_of(rule: &RuleStats) -> Counts {
    let requests = rule.requests();
    Counts { requests: requests.total(), failed: requests.of(Class::ServerError) }
}
