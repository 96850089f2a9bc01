//! What a configuration takes over from the one in force: its compiled routes, where they are the same; an upstream that stays as it
//! is, whole; of one that changes its backends by their URLs, with all that is known of them, its budget and its waiting requests.

use std::cell::OnceCell;
use std::sync::Arc;

use ahash::HashMap;
use lb_core::Weight;
use lb_router::Router;

use super::{Rule, Snapshot, Target, Upstream};
use crate::config::{BackendConfig, GatewayConfig, RuleConfig, UpstreamConfig};

/// Configured things and what was built of them, by name. Where one is looked for at its place of before, as with most of ten
/// thousand, it is found without an index.
struct Named<'a, C, T> {
    configs: &'a [C],
    built: &'a [T],
    name: fn(&C) -> &str,
    places: OnceCell<HashMap<&'a str, usize>>,
}

impl<'a, C, T> Named<'a, C, T> {
    fn new(configs: &'a [C], built: &'a [T], name: fn(&C) -> &str) -> Self {
        Self { configs, built, name, places: OnceCell::new() }
    }

    fn find(&self, name: &str, place: usize) -> Option<(&'a C, &'a T)> {
        let at = |place: usize| Some((self.configs.get(place)?, self.built.get(place)?));
        at(place).filter(|(config, _)| (self.name)(config) == name).or_else(|| {
            let places = self.places.get_or_init(|| self.configs.iter().map(self.name).zip(0..).collect());
            at(*places.get(name)?)
        })
    }
}

/// An upstream's backends by URL, with its configuration.
pub(super) struct Targets<'a>(Named<'a, BackendConfig, Target>);

impl<'a> Targets<'a> {
    /// The backend of this URL; `place` is where it may be.
    pub(super) fn find(&self, url: &str, place: usize) -> Option<(&'a BackendConfig, &'a Target)> {
        self.0.find(url, place)
    }
}

/// The configuration in force, by name; nothing at the start.
#[derive(Default)]
pub(crate) struct Earlier<'a> {
    all: Option<(&'a GatewayConfig, &'a Snapshot)>,
    upstreams: HashMap<&'a str, (&'a UpstreamConfig, &'a Arc<Upstream>)>,
    rules: Option<Named<'a, RuleConfig, Rule>>,
}

impl<'a> Earlier<'a> {
    /// The snapshot in force and what it was built from.
    pub(crate) fn new(config: &'a GatewayConfig, snapshot: &'a Snapshot) -> Self {
        let upstreams = config.upstreams.iter().zip(&snapshot.upstreams);
        let rules = Named::new(&config.rules, &snapshot.rules, |rule| &rule.route.name);
        Self {
            all: Some((config, snapshot)),
            upstreams: upstreams.map(|both| (both.0.name.as_str(), both)).collect(),
            rules: Some(rules),
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

    /// The rule of this name; `place` is where it may be.
    pub(crate) fn rule(&self, name: &str, place: usize) -> Option<(&'a RuleConfig, &'a Rule)> {
        self.rules.as_ref()?.find(name, place)
    }

    /// An upstream's backends.
    pub(super) fn targets(config: &'a UpstreamConfig, upstream: &'a Upstream) -> Targets<'a> {
        Targets(Named::new(&config.backends, &upstream.targets, |backend| &backend.url))
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
            for (place, backend) in config.backends.iter().enumerate() {
                let Some((before, target)) = known.find(&backend.url, place) else { continue };
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
