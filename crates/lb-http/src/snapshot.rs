//! One configuration, put in force whole: a request sees exactly one of them from its first byte to its last.
//!
//! What a configuration has in common with the one before it takes over as it stands: see [`earlier`].

mod earlier;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::HashMap;
use http::uri::Authority;
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use lb_core::{Backend, BackendOptions, Balancer, KeySource, StrategyError, Weight, WeightError};
use lb_dump::{Dumps, RuleDump};
use lb_health::{HealthConfigError, HealthMonitor, ProbeTarget, Watched};
use lb_observe::{BackendStats, PolicyStats, Registry, RuleStats, UpstreamStats};
use lb_policy::Policy;
use lb_router::{RouteConfig, RouteError, Router};

use crate::budget::Budget;
use crate::config::{
    BackendConfig, BackendLimits, BackendProtocol, GatewayConfig, HedgeAfter, HostHeader, PoolConfig,
    ProxyVersion, Redirect, RetryConfig, RuleConfig, Timeouts, UpstreamConfig,
};
use crate::hedge::Percentile;
use crate::inherit::InheritedRollback;
use crate::limiter::Limiter;
use crate::mirror::Mirror;
use crate::proxy_protocol;
use crate::queue::Queue;
use crate::resolve::Endpoint;
use crate::rollback::Rollback;
use crate::slots::{Slot, SlotHolder, Slots};
use crate::split::{Setting, Split};
use crate::tls::{BackendTls, TlsSetupError};

pub(crate) use self::earlier::Earlier;

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The rules contradict themselves.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Routes(Vec<RouteError>),
    /// An upstream's strategy is unknown or is given options that it does not take.
    #[error("upstream {upstream}: {source}")]
    Strategy {
        /// The upstream's name.
        upstream: String,
        /// What is wrong.
        source: StrategyError,
    },
    /// A weight is not a finite number of at least 0.
    #[error("upstream {upstream}, backend {backend}: {source}")]
    Weight {
        /// The upstream's name.
        upstream: String,
        /// The backend's URL.
        backend: String,
        /// What is wrong.
        source: WeightError,
    },
    /// A backend's host cannot stand in a Host field.
    #[error("backend {0}: its host and port are no valid authority")]
    Authority(String),
    /// A health setting makes no sense.
    #[error("upstream {upstream}: {source}")]
    Health {
        /// The upstream's name.
        upstream: String,
        /// What is wrong.
        source: HealthConfigError,
    },
    /// The traffic dump of a rule cannot be written.
    #[error("rule {rule}: the traffic dump cannot be written: {source}")]
    Dump {
        /// The rule's name.
        rule: String,
        /// What the system said, with the path.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// The shares of a rule's split cannot be kept.
    #[error("rule {rule}: {reason}")]
    Split {
        /// The rule's name.
        rule: String,
        /// What is wrong.
        reason: String,
    },
    /// A rule names an upstream that is not there.
    #[error("rule {0} leads to no upstream")]
    NoUpstream(String),
    /// A TCP listener names an upstream that is not there.
    #[error("listener {0} leads to no upstream")]
    NoListenerUpstream(String),
}

/// Everything a request needs to know.
pub(crate) struct Snapshot {
    /// What it was built from.
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) router: Arc<Router>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// Their places, by name.
    places: HashMap<String, usize>,
    pub(crate) pool: PoolConfig,
    /// Whose turn it is at each place of a pool; 0 is nobody's.
    pub(crate) turns: Box<[u32]>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) underscores_in_headers: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) trace_sample: Option<f64>,
    /// Fields in which backends are told who a client has shown to be, at any listener.
    pub(crate) identity_headers: Vec<HeaderName>,
    /// Whether a backend is told by the PROXY protocol who a client is.
    pub(crate) names_clients: bool,
}

/// A rule in force.
pub(crate) struct Rule {
    /// What it takes, as the router was told.
    pub(crate) route: Arc<RouteConfig>,
    pub(crate) upstream: usize,
    pub(crate) split: Option<Split>,
    pub(crate) mirror: Option<Mirror>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) timeouts: Timeouts,
    pub(crate) host_header: HostHeader,
    pub(crate) retries: RetryConfig,
    pub(crate) hedge: Option<HedgeAfter>,
    /// A limit, and the figures of what it turned away.
    pub(crate) limiter: Option<(Arc<Limiter>, Arc<PolicyStats>)>,
    pub(crate) policies: Arc<[RulePolicy]>,
    pub(crate) dump: Option<RuleDump>,
    pub(crate) stats: Arc<RuleStats>,
}

/// A policy of a rule, and how often it has turned requests away, where it can.
pub(crate) struct RulePolicy {
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) stats: Option<Arc<PolicyStats>>,
}

/// An upstream in force.
pub(crate) struct Upstream {
    pub(crate) name: String,
    pub(crate) strategy: &'static str,
    pub(crate) key: KeySource,
    pub(crate) balancer: Arc<Balancer>,
    /// Keeps the balancer's set of eligible backends.
    pub(crate) monitor: Arc<HealthMonitor>,
    /// In the balancer's order, so that a lease's position leads here.
    pub(crate) targets: Vec<Target>,
    /// Whether a backend may refuse a request unseen, as HTTP/2 lets it.
    pub(crate) may_refuse: bool,
    /// Bounds retries.
    pub(crate) budget: Budget,
    /// Who waits for a free place.
    pub(crate) queue: Arc<Queue>,
    /// How long 95 of 100 answers took, for rules that hedge by it.
    pub(crate) slow: Arc<Percentile>,
    pub(crate) stats: Arc<UpstreamStats>,
}

/// A backend as the data path sees it.
pub(crate) struct Target {
    pub(crate) url: Arc<str>,
    pub(crate) authority: HeaderValue,
    pub(crate) base_path: String,
    pub(crate) timeout: Option<Duration>,
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) slot: Slot,
    pub(crate) stats: Arc<BackendStats>,
    pub(crate) backend: Arc<Backend>,
    pub(crate) tls: Option<Arc<BackendTls>>,
    pub(crate) protocol: BackendProtocol,
    pub(crate) http2: BackendLimits,
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    holder: Arc<SlotHolder>,
}

/// What a snapshot is built with, beside its configuration.
#[derive(Clone, Copy)]
pub(crate) struct Builder<'a> {
    pub(crate) registry: &'a Registry,
    /// Workers that run.
    pub(crate) workers: usize,
    /// `None` where nothing is to be written.
    pub(crate) dumps: Option<&'a Dumps>,
    pub(crate) slots: &'a Arc<Slots>,
    /// What is in force.
    pub(crate) earlier: &'a Earlier<'a>,
}

impl Snapshot {
    /// Builds everything a configuration asks for. Opens no socket and resolves no name; nor does it open a file
    /// where there are no dumps. What is in force is not touched.
    pub(crate) fn build(config: &Arc<GatewayConfig>, builder: Builder<'_>) -> Result<Self, BuildError> {
        let router = match builder.earlier.router(config) {
            Some(router) => Arc::clone(router),
            None => {
                let routes = config.rules.iter().map(|rule| &*rule.route);
                Arc::new(Router::new(routes).map_err(BuildError::Routes)?)
            }
        };
        let upstreams = all(&config.upstreams, |_, upstream| Upstream::build(upstream, builder))?;
        let rules = all(&config.rules, |place, rule| Rule::build(rule, place, builder))?;
        if let Some(rule) = config.rules.iter().find(|rule| {
            let places = rule.split.iter().flat_map(|split| &split.arms).map(|arm| arm.upstream);
            let mirror = rule.mirror.as_ref().map(|mirror| mirror.upstream);
            let mut places = places.chain([rule.upstream]).chain(mirror);
            rule.redirect.is_none() && places.any(|place| place >= upstreams.len())
        }) {
            return Err(BuildError::NoUpstream(rule.route.name.clone()));
        }
        let places: HashMap<String, usize> =
            upstreams.iter().map(|upstream| upstream.name.clone()).zip(0..).collect();
        let mut tcp = config.listeners.iter().filter_map(|listener| Some((listener, listener.tcp.as_ref()?)));
        if let Some((listener, _)) =
            tcp.find(|(_, tcp)| !tcp.targets().all(|target| places.contains_key(&target.upstream)))
        {
            return Err(BuildError::NoListenerUpstream(listener.name.clone()));
        }
        Ok(Self {
            config: Arc::clone(config),
            places,
            router,
            rules,
            turns: turns(&upstreams),
            upstreams,
            pool: config.pool,
            trusted_proxies: config.trusted_proxies.clone(),
            underscores_in_headers: config.underscores_in_headers,
            merge_slashes: config.merge_slashes,
            trace_sample: config.trace_sample,
            identity_headers: identity_headers(config),
            names_clients: config
                .upstreams
                .iter()
                .flat_map(|upstream| &upstream.backends)
                .any(|backend| backend.proxy_protocol.is_some()),
        })
    }

    /// Takes back what the process before had, or an earlier one, of splits that are as they were.
    pub(crate) fn take_back(&self, earlier: &[InheritedRollback]) {
        for (rule, config) in self.rules.iter().zip(&self.config.rules) {
            let Some((split, config)) = rule.split.as_ref().zip(config.split.as_ref()) else { continue };
            for InheritedRollback { rollback, of } in earlier {
                let place = split.names().position(|name| name == rollback.upstream);
                if let Some(place) = place
                    && rollback.rule == rule.route.name
                    && *of == Setting::of(config)
                {
                    let Rollback { rule, upstream, reason, .. } = rollback;
                    tracing::info!(
                        component = "split",
                        rule,
                        upstream,
                        reason,
                        "split stays taken back, as it was before: this part gets nothing more"
                    );
                    split.take_back(place, rollback.clone());
                }
            }
        }
    }

    /// The upstream of a name, and its place.
    pub(crate) fn upstream(&self, name: &str) -> Option<(usize, &Arc<Upstream>)> {
        let place = *self.places.get(name)?;
        Some((place, self.upstreams.get(place)?))
    }

    /// Every backend of every upstream.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.upstreams.iter().flat_map(|upstream| &upstream.targets)
    }
}

/// One of each; collected in the usual way, ten thousand large ones would be moved again and again as their list grows.
fn all<C, T>(
    configs: &[C],
    build: impl Fn(usize, &C) -> Result<T, BuildError>,
) -> Result<Vec<T>, BuildError> {
    let mut built = Vec::with_capacity(configs.len());
    for (place, config) in configs.iter().enumerate() {
        built.push(build(place, config)?);
    }
    Ok(built)
}

/// The turns of all backends' slots, by place.
fn turns(upstreams: &[Arc<Upstream>]) -> Box<[u32]> {
    let slots = || upstreams.iter().flat_map(|upstream| &upstream.targets).map(|target| target.slot);
    let mut turns = vec![0; slots().map(|slot| slot.place + 1).max().unwrap_or(0)];
    for slot in slots() {
        if let Some(turn) = turns.get_mut(slot.place) {
            *turn = slot.turn;
        }
    }
    turns.into()
}

fn identity_headers(config: &GatewayConfig) -> Vec<HeaderName> {
    let secured = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let mut fields: Vec<HeaderName> = secured.filter_map(|tls| tls.subject_header.clone()).collect();
    fields.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    fields.dedup();
    fields
}

impl Rule {
    /// The upstreams that its requests may go to.
    pub(crate) fn upstreams(&self) -> impl Iterator<Item = usize> {
        let arms = self.split.as_ref().map(Split::upstreams);
        let own = arms.is_none().then_some(self.upstream);
        arms.into_iter().flatten().chain(own)
    }

    fn build(config: &RuleConfig, place: usize, builder: Builder<'_>) -> Result<Self, BuildError> {
        let Builder { registry, workers, .. } = builder;
        let name = config.route.name.as_str();
        let earlier = builder.earlier.rule(name, place);
        let dump = config.dump.as_ref().zip(builder.dumps).map(|(dump, dumps)| {
            let opened = dumps.open(&dump.files);
            opened
                .map(|opened| RuleDump::new(name, dump, opened))
                .map_err(|source| BuildError::Dump { rule: name.to_owned(), source })
        });
        Ok(Self {
            route: Arc::clone(&config.route),
            upstream: config.upstream,
            split: config
                .split
                .as_ref()
                .map(|split| Split::build((name, place), split, builder))
                .transpose()?,
            mirror: config
                .mirror
                .as_ref()
                .map(|mirror| Mirror::build(name, mirror, &config.host_header, builder)),
            redirect: config.redirect.clone(),
            timeouts: config.timeouts,
            host_header: config.host_header.clone(),
            retries: config.retries.clone(),
            hedge: config.hedge,
            limiter: config.concurrency.map(|concurrency| {
                let kept = earlier
                    .filter(|(earlier, _)| earlier.concurrency == config.concurrency)
                    .and_then(|(_, rule)| rule.limiter.as_ref());
                kept.cloned().unwrap_or_else(|| {
                    let stats = registry.policy(name, "concurrency", workers);
                    (Arc::new(Limiter::new(concurrency, Instant::now())), stats)
                })
            }),
            policies: match earlier.filter(|(earlier, _)| earlier.policies == config.policies) {
                Some((_, rule)) => Arc::clone(&rule.policies),
                None => config
                    .policies
                    .iter()
                    .map(|policy| RulePolicy {
                        policy: policy.build(),
                        stats: policy
                            .can_refuse()
                            .then(|| registry.policy(name, policy.info().name, workers)),
                    })
                    .collect(),
            },
            dump: dump.transpose()?,
            stats: earlier.map_or_else(|| registry.rule(name, workers), |(_, rule)| Arc::clone(&rule.stats)),
        })
    }
}

impl Upstream {
    fn build(config: &UpstreamConfig, builder: Builder<'_>) -> Result<Arc<Self>, BuildError> {
        let earlier = builder.earlier.upstream(&config.name);
        if let Some((_, upstream)) = earlier.filter(|(earlier, _)| *earlier == config) {
            return Ok(Arc::clone(upstream));
        }
        let strategy_error = |source| BuildError::Strategy { upstream: config.name.clone(), source };
        let kept = earlier.map(|(config, upstream)| Earlier::targets(config, upstream));
        let targets = all(&config.backends, |place, backend| {
            let kept = kept.as_ref().and_then(|kept| kept.find(&backend.url, place));
            Target::build(&config.name, backend, builder, kept)
        })?;
        let info = lb_core::strategy::validate(&config.strategy).map_err(strategy_error)?;
        let backends = targets.iter().map(|target| Arc::clone(&target.backend)).collect();
        let strategy = config.strategy.clone();
        let balancer = match earlier {
            Some((_, earlier)) => {
                earlier.balancer.reconfigured(strategy, backends, config.balancer, Instant::now())
            }
            None => Balancer::with_options(strategy, backends, config.balancer),
        };
        let balancer = Arc::new(balancer.map_err(strategy_error)?);
        let watched =
            config.backends.iter().zip(&targets).map(|(backend, target)| target.watched(backend)).collect();
        let monitor =
            HealthMonitor::new(config.name.as_str(), Arc::clone(&balancer), watched, config.health.clone())
                .map_err(|source| BuildError::Health { upstream: config.name.clone(), source })?;
        let same_queue = earlier.filter(|(earlier, _)| earlier.queue == config.queue);
        Ok(Arc::new(Self {
            name: config.name.clone(),
            strategy: info.name,
            key: balancer.key_source().clone(),
            balancer,
            monitor,
            may_refuse: config
                .backends
                .iter()
                .any(|backend| matches!(backend.protocol, BackendProtocol::Http2 | BackendProtocol::Auto)),
            budget: earlier.map_or_else(
                || Budget::new(Instant::now()),
                |(_, earlier)| earlier.budget.resumed(answered(&targets)),
            ),
            queue: same_queue.map_or_else(
                || Arc::new(Queue::new(config.queue)),
                |(_, earlier)| Arc::clone(&earlier.queue),
            ),
            slow: earlier.map(|(_, earlier)| Arc::clone(&earlier.slow)).unwrap_or_default(),
            targets,
            stats: builder.registry.upstream(&config.name, builder.workers),
        }))
    }

    /// Draws one retry on the budget, for a rule that allows this share.
    pub(crate) fn may_retry(&self, share: f64, now: Instant) -> bool {
        self.budget.draw(share, now, || answered(&self.targets))
    }
}

/// Attempts that have ended and did not fail.
fn answered(targets: &[Target]) -> u64 {
    targets.iter().map(Target::answered).sum()
}

impl Target {
    /// The same of one backend.
    fn answered(&self) -> u64 {
        // In this order, so that what ends between two readings is missed rather than counted in advance.
        let total = self.backend.total();
        total.saturating_sub(u64::from(self.backend.active())).saturating_sub(self.backend.failed())
    }

    fn build(
        upstream: &str,
        config: &BackendConfig,
        builder: Builder<'_>,
        earlier: Option<(&BackendConfig, &Self)>,
    ) -> Result<Self, BuildError> {
        let weight = Weight::try_from(config.weight).map_err(|source| BuildError::Weight {
            upstream: upstream.to_owned(),
            backend: config.url.clone(),
            source,
        })?;
        let alike = earlier.filter(|(earlier, _)| earlier.connects_as(config)).map(|(_, target)| target);
        let holder = alike.map_or_else(|| Arc::new(builder.slots.take()), |alike| Arc::clone(&alike.holder));
        // It is found by its URL.
        let url =
            earlier.map_or_else(|| Arc::from(config.url.as_str()), |(_, target)| Arc::clone(&target.url));
        let tls = match (&config.tls, alike) {
            // What is alike is so in its TLS too: sessions and what was wrong are kept.
            (Some(_), Some(alike)) => alike.tls.clone(),
            (Some(options), None) => Some(BackendTls::new(upstream, &url, options)?),
            (None, _) => None,
        };
        let authority = match alike {
            Some(alike) => alike.authority.clone(),
            None => authority(&config.host, config.port, if tls.is_some() { 443 } else { 80 })
                .ok_or_else(|| BuildError::Authority(config.url.clone()))?,
        };
        Ok(Self {
            url,
            authority,
            base_path: config.base_path.clone(),
            timeout: config.timeout,
            endpoint: alike.map_or_else(
                || Arc::new(Endpoint::new(&config.host, config.port)),
                |alike| Arc::clone(&alike.endpoint),
            ),
            slot: holder.slot(),
            stats: earlier.map_or_else(
                || builder.registry.backend(upstream, &config.url, builder.workers),
                |(_, target)| Arc::clone(&target.stats),
            ),
            // What the file changes of it is told when all of the file is in force.
            backend: earlier.map(|(_, target)| Arc::clone(&target.backend)).unwrap_or_else(|| {
                Arc::new(Backend::new(BackendOptions {
                    name: config.url.clone(),
                    weight,
                    max_connections: config.max_connections,
                    priority: u8::from(config.backup),
                }))
            }),
            tls,
            protocol: config.protocol,
            http2: config.http2,
            proxy_protocol: config.proxy_protocol,
            holder,
        })
    }
}

impl Target {
    /// How this backend's health is watched.
    fn watched(&self, config: &BackendConfig) -> Watched {
        let endpoint = Arc::clone(&self.endpoint);
        let target = ProbeTarget {
            authority: self.authority.to_str().unwrap_or_default().to_owned(),
            base_path: self.base_path.clone(),
            addresses: Arc::new(move || endpoint.addresses()),
            secure: self.tls.as_ref().map(BackendTls::for_probes),
            preamble: self.proxy_protocol.map(proxy_protocol::own).unwrap_or_default(),
        };
        Watched { config: config.health.clone(), target: Some(target) }
    }
}

impl BackendConfig {
    /// That there can be such a backend, as far as its own words go: no file is read.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn check(&self) -> Result<(), String> {
        Weight::try_from(self.weight).map_err(|error| error.to_string())?;
        authority(&self.host, self.port, 0).ok_or("its host and port are no valid authority")?;
        match &self.tls {
            Some(options) => options.check_name().map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

/// `host:port` as a Host field has it: IPv6 in brackets, the scheme's usual port left out.
fn authority(host: &str, port: u16, usual_port: u16) -> Option<HeaderValue> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let text = if port == usual_port { host } else { format!("{host}:{port}") };
    text.parse::<Authority>().ok()?;
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_written_as_clients_write_it() {
        for (host, port, text) in
            [("a.example", 80, "a.example"), ("a.example", 8080, "a.example:8080"), ("::1", 81, "[::1]:81")]
        {
            assert_eq!(authority(host, port, 80).unwrap(), text);
        }
        assert_eq!(authority("a.example", 443, 443).unwrap(), "a.example");
        assert_eq!(authority("a b", 80, 80), None);
    }
}
