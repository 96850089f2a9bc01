//! One configuration, put in force whole: a request sees exactly one of them from its first byte to its last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::uri::Authority;
use ipnet::IpNet;
use lb_core::{Backend, BackendOptions, Balancer, KeySource, StrategyError, Weight, WeightError};
use lb_dump::{Dumps, RuleDump};
use lb_health::{HealthConfigError, HealthMonitor, ProbeTarget, Watched};
use lb_observe::{BackendStats, PolicyStats, Registry, RuleStats, UpstreamStats};
use lb_policy::Policy;
use lb_router::{RouteError, Router};

use crate::budget::Budget;
use crate::config::{
    BackendConfig, GatewayConfig, HedgeAfter, HostHeader, Redirect, RetryConfig, RuleConfig, Timeouts,
    UpstreamConfig,
};
use crate::hedge::Percentile;
use crate::limiter::Limiter;
use crate::pool::Slot;
use crate::queue::Queue;
use crate::resolve::Endpoint;

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
    /// A rule names an upstream that is not there.
    #[error("rule {0} leads to no upstream")]
    NoUpstream(String),
}

/// Everything a request needs to know.
pub(crate) struct Snapshot {
    pub(crate) router: Router,
    pub(crate) rules: Vec<Rule>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) underscores_in_headers: bool,
    pub(crate) merge_slashes: bool,
    pub(crate) trace_sample: Option<f64>,
}

/// A rule in force.
pub(crate) struct Rule {
    pub(crate) upstream: usize,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) timeouts: Timeouts,
    pub(crate) host_header: HostHeader,
    pub(crate) retries: RetryConfig,
    pub(crate) hedge: Option<HedgeAfter>,
    /// A limit, and the figures of what it turned away.
    pub(crate) limiter: Option<(Limiter, Arc<PolicyStats>)>,
    pub(crate) policies: Vec<RulePolicy>,
    pub(crate) dump: Option<RuleDump>,
    pub(crate) stats: Arc<RuleStats>,
}

/// A policy of a rule, and how often it has turned requests away.
pub(crate) struct RulePolicy {
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) stats: Arc<PolicyStats>,
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
    /// Bounds retries.
    pub(crate) budget: Budget,
    /// Who waits for a free place.
    pub(crate) queue: Queue,
    /// How long 95 of 100 answers took, for rules that hedge by it.
    pub(crate) slow: Percentile,
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
}

impl Snapshot {
    /// Builds everything a configuration asks for. Opens no socket and resolves no name; nor does it open a file
    /// where there are no dumps.
    pub(crate) fn build(
        config: &GatewayConfig,
        registry: &Registry,
        dumps: Option<&Dumps>,
    ) -> Result<Self, BuildError> {
        let workers = config.workers.get();
        let routes = config.rules.iter().map(|rule| rule.route.clone()).collect();
        let router = Router::new(routes).map_err(BuildError::Routes)?;
        let mut slots = 0..;
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| Upstream::build(upstream, registry, workers, &mut slots))
            .collect::<Result<Vec<_>, _>>()?;
        let rules = config
            .rules
            .iter()
            .map(|rule| Rule::build(rule, registry, workers, dumps))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(rule) =
            config.rules.iter().find(|rule| rule.redirect.is_none() && rule.upstream >= upstreams.len())
        {
            return Err(BuildError::NoUpstream(rule.route.name.clone()));
        }
        Ok(Self {
            router,
            rules,
            upstreams,
            trusted_proxies: config.trusted_proxies.clone(),
            underscores_in_headers: config.underscores_in_headers,
            merge_slashes: config.merge_slashes,
            trace_sample: config.trace_sample,
        })
    }
}

impl Rule {
    fn build(
        config: &RuleConfig,
        registry: &Registry,
        workers: usize,
        dumps: Option<&Dumps>,
    ) -> Result<Self, BuildError> {
        let name = config.route.name.as_str();
        let dump = config.dump.as_ref().zip(dumps).map(|(dump, dumps)| {
            let opened = dumps.open(&dump.files);
            opened
                .map(|opened| RuleDump::new(name, dump, opened))
                .map_err(|source| BuildError::Dump { rule: name.to_owned(), source })
        });
        Ok(Self {
            upstream: config.upstream,
            redirect: config.redirect.clone(),
            timeouts: config.timeouts,
            host_header: config.host_header.clone(),
            retries: config.retries.clone(),
            hedge: config.hedge,
            limiter: config.concurrency.map(|concurrency| {
                let stats = registry.policy(&config.route.name, "concurrency", workers);
                (Limiter::new(concurrency, Instant::now()), stats)
            }),
            policies: config
                .policies
                .iter()
                .map(|policy| RulePolicy {
                    policy: policy.build(),
                    stats: registry.policy(&config.route.name, policy.info().name, workers),
                })
                .collect(),
            dump: dump.transpose()?,
            stats: registry.rule(name, workers),
        })
    }
}

impl Upstream {
    fn build(
        config: &UpstreamConfig,
        registry: &Registry,
        workers: usize,
        slots: &mut impl Iterator<Item = Slot>,
    ) -> Result<Self, BuildError> {
        let strategy_error = |source| BuildError::Strategy { upstream: config.name.clone(), source };
        let targets = config
            .backends
            .iter()
            .zip(slots)
            .map(|(backend, slot)| Target::build(&config.name, backend, registry, workers, slot))
            .collect::<Result<Vec<_>, _>>()?;
        let info = lb_core::strategy::validate(&config.strategy).map_err(strategy_error)?;
        let backends = targets.iter().map(|target| Arc::clone(&target.backend)).collect();
        let balancer = Arc::new(
            Balancer::with_options(config.strategy.clone(), backends, config.balancer)
                .map_err(strategy_error)?,
        );
        let watched =
            config.backends.iter().zip(&targets).map(|(backend, target)| target.watched(backend)).collect();
        let monitor =
            HealthMonitor::new(config.name.as_str(), Arc::clone(&balancer), watched, config.health.clone())
                .map_err(|source| BuildError::Health { upstream: config.name.clone(), source })?;
        Ok(Self {
            name: config.name.clone(),
            strategy: info.name,
            key: balancer.key_source().clone(),
            balancer,
            monitor,
            targets,
            budget: Budget::new(Instant::now()),
            queue: Queue::new(config.queue),
            slow: Percentile::default(),
            stats: registry.upstream(&config.name, workers),
        })
    }

    /// Draws one retry on the budget, for a rule that allows this share.
    pub(crate) fn may_retry(&self, share: f64, now: Instant) -> bool {
        self.budget.draw(share, now, || {
            let attempts: u64 = self.targets.iter().map(|target| target.backend.total()).sum();
            attempts.saturating_sub(self.stats.retries())
        })
    }
}

impl Target {
    fn build(
        upstream: &str,
        config: &BackendConfig,
        registry: &Registry,
        workers: usize,
        slot: Slot,
    ) -> Result<Self, BuildError> {
        let weight = Weight::try_from(config.weight).map_err(|source| BuildError::Weight {
            upstream: upstream.to_owned(),
            backend: config.url.clone(),
            source,
        })?;
        let backend = Backend::new(BackendOptions {
            name: config.url.clone(),
            weight,
            max_connections: config.max_connections,
            priority: u8::from(config.backup),
        });
        let bad_authority = || BuildError::Authority(config.url.clone());
        Ok(Self {
            url: Arc::from(config.url.as_str()),
            authority: authority(&config.host, config.port).ok_or_else(bad_authority)?,
            base_path: config.base_path.clone(),
            timeout: config.timeout,
            endpoint: Arc::new(Endpoint::new(&config.host, config.port)),
            slot,
            stats: registry.backend(upstream, &config.url, workers),
            backend: Arc::new(backend),
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
        };
        Watched { config: config.health.clone(), target: Some(target) }
    }
}

/// `host:port` as a Host field has it: IPv6 in brackets, port 80 left out.
fn authority(host: &str, port: u16) -> Option<HeaderValue> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let text = if port == 80 { host } else { format!("{host}:{port}") };
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
            assert_eq!(authority(host, port).unwrap(), text);
        }
        assert_eq!(authority("a b", 80), None);
    }
}
