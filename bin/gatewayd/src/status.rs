//! The running gateway as its status pages see it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Response};
use lb_admin::{
    BackendState, BackendView, Circuit, EditView, Features, GatewayView, ListenerView, RollbackView,
    RuleView, StatusPages, StatusSource, StrategyView, Tally, UpstreamView,
};
use lb_config::Places;
use lb_core::strategy;
use lb_discovery::Discovery;
use lb_health::HealthState;
use lb_http::config::{GatewayConfig, ListenerConfig, RuleConfig, TcpConfig};
use lb_http::{Explanation, LocalPages, Question};
use lb_observe::Protocol;
use lb_router::PathConfig;

use crate::explain::placed;
use crate::reload::History;

/// This program's version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Draws the picture that status pages show.
pub(crate) struct LiveStatus {
    started: Instant,
    /// What the configuration in force says.
    described: Mutex<Arc<Described>>,
    history: Mutex<History>,
    gateway: OnceLock<lb_http::GatewayView>,
    discovery: Arc<Discovery>,
}

/// A configuration in the words of status pages.
pub(crate) struct Described {
    default_strategy: String,
    features: Features,
    listeners: Vec<ListenerView>,
    rules: Vec<RuleView>,
    /// Where rules and listeners stand.
    places: Arc<Places>,
}

impl LiveStatus {
    /// Knows the configuration; the engine is connected once it runs.
    pub(crate) fn new(
        config: &GatewayConfig,
        places: Arc<Places>,
        file: Option<String>,
        discovery: Arc<Discovery>,
    ) -> Self {
        Self {
            started: Instant::now(),
            described: Mutex::new(Arc::new(Described::of(config, places))),
            history: Mutex::new(History::new(file)),
            gateway: OnceLock::new(),
            discovery,
        }
    }

    /// Another configuration is in force.
    pub(crate) fn describe(&self, described: Described) {
        *lock(&self.described) = Arc::new(described);
    }

    /// What would become of a request or connection now, once the engine runs.
    pub(crate) fn explain(&self, question: &Question) -> Option<Explanation> {
        let explained = self.gateway.get()?.explain(question);
        Some(placed(explained, &lock(&self.described).places))
    }

    /// Where the rule of this name stands in the file that is in force.
    pub(crate) fn place_of(&self, rule: &str) -> Option<String> {
        let described = Arc::clone(&lock(&self.described));
        let index = described.rules.iter().position(|known| known.name == rule)?;
        described.places.rule(index)
    }

    /// How a reload ended: what changed, or why it was refused, in a line.
    pub(crate) fn reloaded(&self, result: Result<String, String>) {
        lock(&self.history).reloaded(result);
    }

    /// Operators' edits are these now.
    pub(crate) fn edited(&self, version: u64, edits: Vec<EditView>) {
        lock(&self.history).edited(version, edits);
    }

    /// What the backends of a URL are offered, in words.
    pub(crate) fn offered(&self, upstream: Option<&str>, url: &str) -> String {
        let upstreams = self.gateway.get().map(lb_http::GatewayView::upstreams).unwrap_or_default();
        let meant = upstreams.iter().filter(|it| upstream.is_none_or(|name| it.name == name));
        let mut backends = meant.flat_map(|it| &it.backends).map(|it| &it.backend);
        match backends.find(|backend| backend.name() == url) {
            Some(backend) if backend.is_draining() => format!("draining, weight {}", backend.weight().get()),
            Some(backend) => format!("weight {}", backend.weight().get()),
            None => "not there".to_owned(),
        }
    }

    /// The engine is running.
    pub(crate) fn connect(&self, gateway: lb_http::GatewayView) {
        let _ = self.gateway.set(gateway);
    }

    /// The engine, once it runs.
    pub(crate) fn gateway(&self) -> Option<&lb_http::GatewayView> {
        self.gateway.get()
    }
}

impl Described {
    pub(crate) fn of(config: &GatewayConfig, places: Arc<Places>) -> Self {
        Self {
            places,
            default_strategy: default_strategy(config),
            features: features(config),
            listeners: config.listeners.iter().map(listener_view).collect(),
            rules: config.rules.iter().map(|rule| rule_view(rule, config)).collect(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in it is replaced whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatusSource for LiveStatus {
    fn view(&self) -> GatewayView {
        let gateway = self.gateway.get();
        let described = Arc::clone(&lock(&self.described));
        let upstreams = gateway.map(lb_http::GatewayView::upstreams).unwrap_or_default();
        let upstreams = upstreams.into_iter().map(|upstream| UpstreamView {
            strategy: upstream.strategy.to_owned(),
            backends: upstream.backends.into_iter().map(backend_view).collect(),
            name: upstream.name,
        });
        GatewayView {
            version: VERSION,
            uptime: self.started.elapsed(),
            draining: gateway.is_some_and(lb_http::GatewayView::is_draining),
            default_strategy: described.default_strategy.clone(),
            strategies: strategy::ALL
                .iter()
                .map(|row| StrategyView { name: row.name, summary: row.summary })
                .collect(),
            listeners: described.listeners.clone(),
            rules: with_rollbacks(described.rules.clone(), gateway),
            upstreams: upstreams.collect(),
            features: described.features,
            configuration: Some(lock(&self.history).view()),
            discovery: self.discovery.states(),
        }
    }

    fn tally(&self) -> Tally {
        let gateway = self.gateway.get();
        let tally = gateway.map(lb_http::GatewayView::tally).unwrap_or_default();
        Tally {
            version: VERSION,
            uptime: self.started.elapsed(),
            draining: gateway.is_some_and(lb_http::GatewayView::is_draining),
            rules: lock(&self.described).rules.len(),
            upstreams: tally.upstreams,
            backends: tally.backends,
            healthy: tally.healthy,
            eligible: tally.eligible,
        }
    }
}

/// What was taken back of splits has no weight any more.
fn with_rollbacks(mut rules: Vec<RuleView>, gateway: Option<&lb_http::GatewayView>) -> Vec<RuleView> {
    for rollback in gateway.map(lb_http::GatewayView::rollbacks).unwrap_or_default() {
        let Some(rule) = rules.iter_mut().find(|rule| rule.name == rollback.rule) else { continue };
        if let Some((_, weight)) = rule.split.iter_mut().find(|(upstream, _)| *upstream == rollback.upstream)
        {
            *weight = 0.0;
        }
        let (upstream, time, reason) = (rollback.upstream, rollback.time, rollback.reason);
        rule.rollbacks.push(RollbackView { upstream, time, reason });
    }
    rules
}

/// What is on, and for the dump the largest share of any rule.
fn features(config: &GatewayConfig) -> Features {
    let rates = config.rules.iter().filter_map(|rule| rule.dump.as_ref()).map(|dump| dump.sample_rate);
    let mut backends = config.upstreams.iter().flat_map(|upstream| &upstream.backends);
    Features {
        traffic_dump: rates.clone().next().is_some(),
        health_check: backends.any(|backend| backend.health.probe.is_some()),
        sample_rate: rates.fold(0.0, f64::max),
    }
}

/// The strategy that `/ping` shows for the whole: the one of the first upstream.
fn default_strategy(config: &GatewayConfig) -> String {
    let name = config.upstreams.first().map_or("round_robin", |upstream| upstream.strategy.name.as_str());
    canonical(name)
}

/// The row's name for any accepted spelling.
fn canonical(name: &str) -> String {
    strategy::find(name).map_or_else(|_| name.to_owned(), |row| row.name.to_owned())
}

fn listener_view(listener: &ListenerConfig) -> ListenerView {
    let targets = listener.tcp.iter().flat_map(TcpConfig::targets);
    ListenerView {
        name: listener.name.clone(),
        address: listener.address.to_string(),
        protocol: if listener.tcp.is_some() { Protocol::Tcp } else { Protocol::Http }.name(),
        tls: listener.tls.is_some(),
        upstreams: targets.map(|target| target.upstream.clone()).collect(),
    }
}

fn rule_view(rule: &RuleConfig, config: &GatewayConfig) -> RuleView {
    let upstream = config.upstreams.get(rule.upstream);
    let route = &rule.route;
    RuleView {
        name: route.name.clone(),
        host: (!route.hosts.is_empty()).then(|| route.hosts.join(", ")),
        path: match &route.path {
            PathConfig::Any => "/*".to_owned(),
            PathConfig::Exact(path) | PathConfig::Template(path) => path.clone(),
            PathConfig::Prefix(prefix) => format!("{}/*", prefix.trim_end_matches('/')),
            PathConfig::Regex(regex) => format!("~ {regex}"),
        },
        methods: route.methods.iter().map(ToString::to_string).collect(),
        upstream: upstream.map(|upstream| upstream.name.clone()).unwrap_or_default(),
        strategy: upstream.map(|upstream| canonical(&upstream.strategy.name)).unwrap_or_default(),
        rollbacks: Vec::new(),
        split: rule
            .split
            .iter()
            .flat_map(|split| &split.arms)
            .map(|arm| (arm.name.clone(), arm.weight))
            .collect(),
    }
}

fn backend_view(lb_http::BackendView { backend, stats, health }: lb_http::BackendView) -> BackendView {
    let state = match health.state {
        _ if !backend.takes_new() => BackendState::Draining,
        HealthState::Healthy => BackendState::Healthy,
        HealthState::Unhealthy => BackendState::Unhealthy,
        HealthState::Ejected => BackendState::Ejected,
    };
    BackendView {
        stats,
        weight: backend.weight().get(),
        backup: backend.priority() > 0,
        healthy: health.healthy,
        state,
        active_connections: u64::from(backend.active()),
        max_connections: backend.max_connections().map(std::num::NonZeroU32::get),
        circuit: match health.circuit {
            lb_health::Circuit::Closed => Circuit::Closed,
            lb_health::Circuit::HalfOpen => Circuit::HalfOpen,
            lb_health::Circuit::Open => Circuit::Open,
        },
        ejected_until: health.ejected_until,
        open_until: health.open_until,
        since: Some(health.since),
        last_probe: health.last_probe,
        error: health.error,
    }
}

/// The pages as the engine and the admin address ask for them.
pub(crate) struct Pages(pub(crate) StatusPages);

impl LocalPages for Pages {
    fn has(&self, path: &str) -> bool {
        self.0.has(path)
    }

    fn at_once(&self, method: &Method, path: &str, accept: Option<&str>) -> Option<Response<Bytes>> {
        self.0.respond_at_once(method, path, accept)
    }

    fn respond(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        accept: Option<&str>,
    ) -> Option<Response<Bytes>> {
        self.0.respond(method, path, query, accept)
    }
}
