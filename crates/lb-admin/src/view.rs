//! The gateway as status pages show it: a plain picture that whoever runs the gateway draws.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lb_observe::live::Circuit;
use lb_observe::{BackendStats, SourceState};

/// Draws the picture.
///
/// Called once for each request to a status page, never for a request that is passed on.
pub trait StatusSource: Send + Sync {
    /// The gateway as it stands now. With many backends this takes a while.
    fn view(&self) -> GatewayView;

    /// The same in figures alone, for pages that must not take long.
    fn tally(&self) -> Tally {
        Tally::from(&self.view())
    }
}

/// A gateway at one moment, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// The program's version.
    pub version: &'static str,
    /// Time since the start.
    pub uptime: Duration,
    /// Whether it is shutting down.
    pub draining: bool,
    /// Rules.
    pub rules: usize,
    /// Upstreams.
    pub upstreams: usize,
    /// Backends of all upstreams.
    pub backends: usize,
    /// Those that probes and traffic say work.
    pub healthy: usize,
    /// Those that may be given a request.
    pub eligible: usize,
}

/// A gateway at one moment.
#[derive(Debug, Clone)]
pub struct GatewayView {
    /// The program's version.
    pub version: &'static str,
    /// Time since the start.
    pub uptime: Duration,
    /// Whether it is shutting down: no longer ready, in-flight requests are finished.
    pub draining: bool,
    /// The strategy of rules and upstreams that name none.
    pub default_strategy: String,
    /// Every strategy there is.
    pub strategies: Vec<StrategyView>,
    /// Listeners in their order.
    pub listeners: Vec<ListenerView>,
    /// Rules in their order.
    pub rules: Vec<RuleView>,
    /// Upstreams in their order.
    pub upstreams: Vec<UpstreamView>,
    /// What is turned on.
    pub features: Features,
    /// Where the configuration came from, and how the last attempt to read it again ended.
    pub configuration: Option<ConfigurationView>,
    /// Where backends are listed that come and go.
    pub discovery: Vec<SourceState>,
}

impl From<&GatewayView> for Tally {
    fn from(view: &GatewayView) -> Self {
        Self {
            version: view.version,
            uptime: view.uptime,
            draining: view.draining,
            rules: view.rules.len(),
            upstreams: view.upstreams.len(),
            backends: view.backends().count(),
            healthy: view.backends().filter(|backend| backend.healthy).count(),
            eligible: view.backends().filter(|backend| backend.is_eligible()).count(),
        }
    }
}

/// The configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationView {
    /// Its file; `None` where there is none.
    pub file: Option<String>,
    /// Since when it is in force.
    pub loaded_at: SystemTime,
    /// The last attempt to put another one in force.
    pub reload: Option<ReloadView>,
    /// Goes up with every change, by whomever.
    pub version: u64,
    /// What operators edited, oldest first.
    pub edits: Vec<EditView>,
}

/// Something that an operator edited while the gateway ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditView {
    /// Its number.
    pub id: u64,
    /// What it does, in a sentence.
    pub what: String,
    /// The address it came from.
    pub by: String,
    /// When it was made.
    pub made_at: SystemTime,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
    /// Whether it outlives the process.
    pub persists: bool,
}

/// An attempt to put another configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadView {
    /// When it ended.
    pub time: SystemTime,
    /// What it changed, or why it was refused, in a line.
    pub result: Result<String, String>,
}

/// A strategy that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StrategyView {
    /// As configurations name it.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
}

/// A listener.
#[derive(Debug, Clone)]
pub struct ListenerView {
    /// Its name.
    pub name: String,
    /// Where clients connect, as configured.
    pub address: String,
    /// `http` or `tcp`.
    pub protocol: &'static str,
    /// Whether clients speak TLS with it.
    pub tls: bool,
    /// The upstreams that it leads to without a rule.
    pub upstreams: Vec<String>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// The host or hosts it is for; `None` for any.
    pub host: Option<String>,
    /// The path it takes, as people write it: `/api/v1/*`, `/users/{id}`, `~ ^/v[0-9]+/`.
    pub path: String,
    /// The methods it takes; none for all.
    pub methods: Vec<String>,
    /// The upstream it leads to; of a split the first.
    pub upstream: String,
    /// What was taken back of its split by itself.
    pub rollbacks: Vec<RollbackView>,
    /// Upstreams and weights, where its requests are shared out.
    pub split: Vec<(String, f64)>,
    /// The strategy in force.
    pub strategy: String,
}

impl RuleView {
    /// The upstreams that it leads to, each with its share of the requests, from 0 to 1; none where it leads to none.
    pub(crate) fn shares(&self) -> Vec<(&str, f64)> {
        let sum: f64 = self.split.iter().map(|(_, weight)| weight).sum();
        let share = |weight: f64| if sum > 0.0 { weight / sum } else { 0.0 };
        match self.split.is_empty() {
            true if self.upstream.is_empty() => Vec::new(),
            true => vec![(&self.upstream, 1.0)],
            false => self.split.iter().map(|(name, weight)| (name.as_str(), share(*weight))).collect(),
        }
    }
}

/// A part of a split that was taken back by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackView {
    /// The upstream that gets nothing more.
    pub upstream: String,
    /// Since when.
    pub time: SystemTime,
    /// Why, in a sentence.
    pub reason: String,
}

/// An upstream.
#[derive(Debug, Clone)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// Its strategy.
    pub strategy: String,
    /// Its members.
    pub backends: Vec<BackendView>,
}

/// A backend. Its URL and its counts are those of its figures.
#[derive(Debug, Clone)]
pub struct BackendView {
    /// Name and figures.
    pub stats: Arc<BackendStats>,
    /// The weight in force.
    pub weight: f64,
    /// Used only while no other is eligible.
    pub backup: bool,
    /// Whether probes and traffic say that it works.
    pub healthy: bool,
    /// Whether it gets requests, and why not.
    pub state: BackendState,
    /// Requests in flight.
    pub active_connections: u64,
    /// How many may be.
    pub max_connections: Option<u32>,
    /// Its circuit breaker.
    pub circuit: Circuit,
    /// Until when it is kept out after failures.
    pub ejected_until: Option<SystemTime>,
    /// Until when its open circuit lets nothing pass.
    pub open_until: Option<SystemTime>,
    /// Since when it is healthy, or not.
    pub since: Option<SystemTime>,
    /// When it was last probed.
    pub last_probe: Option<SystemTime>,
    /// Why it is not healthy.
    pub error: Option<String>,
}

/// Whether a backend gets requests, and why not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendState {
    /// It does.
    #[default]
    Healthy,
    /// Probes fail.
    Unhealthy,
    /// It failed requests, and is kept out for a time.
    Ejected,
    /// It is to get no new requests, by weight 0 or by hand.
    Draining,
    /// Its name leads to no address.
    Unresolved,
}

impl BackendState {
    /// As pages and the API write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
            Self::Draining => "draining",
            Self::Unresolved => "unresolved",
        }
    }
}

impl BackendView {
    /// Whether it may be given a request.
    pub fn is_eligible(&self) -> bool {
        self.state == BackendState::Healthy && self.circuit != Circuit::Open
    }
}

/// What is turned on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features {
    /// Traffic is dumped, by some rule at least.
    pub traffic_dump: bool,
    /// Backends are probed, some at least.
    pub health_check: bool,
    /// The share of traffic that is dumped, 0..=1.
    pub sample_rate: f64,
}

impl GatewayView {
    /// Every backend of every upstream.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &BackendView> {
        self.upstreams.iter().flat_map(|upstream| &upstream.backends)
    }

    /// The upstream of a rule.
    pub(crate) fn upstream_of(&self, rule: &RuleView) -> Option<&UpstreamView> {
        self.upstreams.iter().find(|upstream| upstream.name == rule.upstream)
    }

    /// The title of a rule's strategy, with the weights where they matter.
    pub(crate) fn title_of(&self, rule: &RuleView) -> String {
        let weights = self.upstream_of(rule).map_or_else(Vec::new, UpstreamView::weights);
        crate::title::with_weights(&rule.strategy, &weights)
    }
}

impl UpstreamView {
    pub(crate) fn weights(&self) -> Vec<f64> {
        self.backends.iter().map(|backend| backend.weight).collect()
    }
}
