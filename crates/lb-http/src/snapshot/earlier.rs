//! What a configuration takes over from the one in force: its compiled routes, where they are the same; an upstream that stays as it
//! is, whole; of one that changes its backends by their URLs, with all that is known of them, its budget and its waiting requests.

use std::sync::Arc;

use ahash::HashMap;
use lb_core::Weight;
use lb_router::Router;

use super::{Rule, Snapshot, Target, Upstream};
use crate::config::{BackendConfig, GatewayConfig, RuleConfig, UpstreamConfig};

/// The configuration in force, by name; nothing at the start.
#[derive(Default)]
pub(crate) struct Earlier<'a> {
    all: Option<(&'a GatewayConfig, &'a Snapshot)>,
    upstreams: HashMap<&'a str, (&'a UpstreamConfig, &'a Arc<Upstream>)>,
    rules: HashMap<&'a str, (&'a RuleConfig, &'a Rule)>,
}

impl<'a> Earlier<'a> {
    /// The snapshot in force and what it was built from.
    pub(crate) fn new(config: &'a GatewayConfig, snapshot: &'a Snapshot) -> Self {
        let upstreams = config.upstreams.iter().zip(&snapshot.upstreams);
        let rules = config.rules.iter().zip(&snapshot.rules);
        Self {
            all: Some((config, snapshot)),
            upstreams: upstreams.map(|both| (both.0.name.as_str(), both)).collect(),
            rules: rules.map(|both| (both.0.route.name.as_str(), both)).collect(),
        }
    }

    /// The compiled routes, where the next configuration has the same ones in the same order.
    pub(super) fn router(&self, next: &GatewayConfig) -> Option<&'a Arc<Router>> {
        let (now, snapshot) = self.all?;
        // Where the file was not read again, they are the very same.
        let alike = |now: &RuleConfig, next: &RuleConfig| {
            Arc::ptr_eq(&now.route, &next.route) || now.route == next.route
        };
        let is_same = now.rules.len() == next.rules.len()
            && now.rules.iter().zip(&next.rules).all(|(now, next)| alike(now, next));
        is_same.then_some(&snapshot.router)
    }

    pub(super) fn upstream(&self, name: &str) -> Option<(&'a UpstreamConfig, &'a Arc<Upstream>)> {
        self.upstreams.get(name).copied()
    }

    pub(crate) fn rule(&self, name: &str) -> Option<(&'a RuleConfig, &'a Rule)> {
        self.rules.get(name).copied()
    }

    /// An upstream's backends by URL.
    pub(super) fn targets(
        config: &'a UpstreamConfig,
        upstream: &'a Upstream,
    ) -> HashMap<&'a str, (&'a BackendConfig, &'a Target)> {
        let both = config.backends.iter().zip(&upstream.targets);
        both.map(|both| (both.0.url.as_str(), both)).collect()
    }

    /// Tells the backends that go on what the next configuration changes of them. What it does not change stays as it was
    /// set by hand.
    pub(crate) fn settle(&self, next: &GatewayConfig) {
        for config in &next.upstreams {
            let Some((earlier, upstream)) = self.upstream(&config.name) else { continue };
            if earlier == config {
                continue;
            }
            let known = Self::targets(earlier, upstream);
            for backend in &config.backends {
                let Some((before, target)) = known.get(&*backend.url) else { continue };
                if before.weight != backend.weight
                    && let Ok(weight) = Weight::try_from(backend.weight)
                {
                    target.backend.set_weight(weight);
                }
                if before.max_connections != backend.max_connections {
                    target.backend.set_max_connections(backend.max_connections);
                }
                if before.backup != backend.backup {
                    target.backend.set_priority(u8::from(backend.backup));
                }
            }
        }
    }
}

impl BackendConfig {
    /// Whether a connection that was opened for one serves the other.
    pub(super) fn connects_as(&self, other: &Self) -> bool {
        self.host == other.host
            && self.port == other.port
            && self.tls == other.tls
            && self.protocol == other.protocol
            && self.http2 == other.http2
            && self.proxy_protocol == other.proxy_protocol
    }
}
