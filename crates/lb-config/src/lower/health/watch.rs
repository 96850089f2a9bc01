//! How the backends of an upstream are watched: what the root says, what the upstream or rule says, and what each
//! backend says for itself, the nearest first.

use std::num::NonZeroU32;
use std::time::Duration;

use lb_health::{
    BreakerConfig, HealthConfig, PassiveConfig, ProbeConfig, ProbeKind, StatusSet, UpstreamOptions,
};

use crate::lower::Context;
use crate::tree::NodeId;
use crate::written::health::{CircuitBreaker, HealthCheck, Passive, Probe};
use crate::written::rule::Rule;
use crate::written::upstream::Upstream;
use crate::written::values::{At, SwitchOr, Time};

/// The path that is probed where probing is turned on in one word.
const USUAL_PATH: &str = "/health";

/// What an upstream, or a rule with backends of its own, says.
#[derive(Clone, Copy)]
pub(in crate::lower) struct Written<'a> {
    health_check: Option<&'a At<SwitchOr<HealthCheck>>>,
    passive: Option<&'a At<SwitchOr<Passive>>>,
    circuit_breaker: Option<&'a At<SwitchOr<CircuitBreaker>>>,
    panic_threshold: Option<&'a At<f64>>,
}

impl<'a> Written<'a> {
    pub(in crate::lower) fn of_upstream(written: &'a Upstream) -> Self {
        Self {
            health_check: written.health_check.as_ref(),
            passive: written.passive.as_ref(),
            circuit_breaker: written.circuit_breaker.as_ref(),
            panic_threshold: written.panic_threshold.as_ref(),
        }
    }

    pub(in crate::lower) fn of_rule(written: &'a Rule) -> Self {
        Self {
            health_check: written.health_check.as_deref(),
            passive: written.passive.as_deref(),
            circuit_breaker: written.circuit_breaker.as_deref(),
            panic_threshold: written.panic_threshold.as_ref(),
        }
    }
}

/// How the backends of one upstream are watched.
pub(in crate::lower) struct Watch {
    /// Nearest first.
    probes: Vec<HealthCheckMeant>,
    passive: Option<PassiveConfig>,
    breaker: Option<BreakerConfig>,
    panic_threshold: Option<f64>,
    /// Whether the first of the probes was written for these backends alone.
    has_own: bool,
}

/// One `health_check`, with words for switches.
#[derive(Clone, Default)]
struct HealthCheckMeant {
    /// `health_check = true`, which says nothing of what is asked.
    is_switch: bool,
    enabled: Option<bool>,
    kind: Option<Probe>,
    path: Option<String>,
    host: Option<String>,
    service: Option<String>,
    interval: Option<Duration>,
    timeout: Option<(NodeId, Duration)>,
    tries: Option<NonZeroU32>,
    healthy_threshold: Option<NonZeroU32>,
    unhealthy_threshold: Option<NonZeroU32>,
    expect: Option<StatusSet>,
    keep_alive: Option<bool>,
}

impl Watch {
    pub(in crate::lower) fn new(root: Option<&At<SwitchOr<HealthCheck>>>, written: Written<'_>) -> Self {
        let probes = [written.health_check, root].into_iter().flatten();
        Self {
            probes: probes.map(|at| HealthCheckMeant::of(&at.value)).collect(),
            passive: match written.passive.map(|at| &at.value) {
                None | Some(SwitchOr::Switch(true)) => Some(PassiveConfig::default()),
                Some(SwitchOr::Switch(false)) => None,
                Some(SwitchOr::Table(table)) => passive(table),
            },
            breaker: match written.circuit_breaker.map(|at| &at.value) {
                None | Some(SwitchOr::Switch(false)) => None,
                Some(SwitchOr::Switch(true)) => Some(BreakerConfig::default()),
                Some(SwitchOr::Table(table)) => breaker(table),
            },
            panic_threshold: written.panic_threshold.map(|at| at.value),
            has_own: written.health_check.is_some(),
        }
    }

    /// Of backends that are not said to speak HTTP: a connection is all that is asked for, where nothing else is said of them alone.
    pub(in crate::lower) fn by_connection(mut self) -> Self {
        for (index, probe) in self.probes.iter_mut().enumerate() {
            let is_meant = self.has_own && index == 0 && !probe.is_switch;
            if !is_meant && (probe.kind.is_some() || probe.path.is_some()) {
                (probe.kind, probe.path) = (Some(Probe::Tcp), None);
            }
        }
        self
    }

    pub(in crate::lower) fn options(&self) -> UpstreamOptions {
        UpstreamOptions { panic_threshold: self.panic_threshold }
    }

    /// How one backend is watched. Probing is on as soon as a path or a type is given, unless the nearest word is that it is off.
    pub(in crate::lower) fn of(&self, path: Option<&str>, interval: Option<Duration>) -> HealthConfig {
        HealthConfig {
            probe: self.probe(path, interval),
            passive: self.passive.clone(),
            breaker: self.breaker.clone(),
        }
    }

    fn probe(&self, path: Option<&str>, interval: Option<Duration>) -> Option<ProbeConfig> {
        if self.nearest(|probe| probe.enabled) == Some(false) {
            return None;
        }
        let mut config = ProbeConfig::new(self.kind(path)?);
        config.interval =
            interval.or_else(|| self.nearest(|probe| probe.interval)).unwrap_or(config.interval);
        // A timeout that nobody wrote gives way to a short interval.
        let default_timeout = config.timeout.min(config.interval);
        config.timeout = self.nearest(|probe| probe.timeout).map_or(default_timeout, |(_, timeout)| timeout);
        config.tries = self.nearest(|probe| probe.tries).unwrap_or(config.tries);
        config.healthy_threshold =
            self.nearest(|probe| probe.healthy_threshold).unwrap_or(config.healthy_threshold);
        config.unhealthy_threshold =
            self.nearest(|probe| probe.unhealthy_threshold).unwrap_or(config.unhealthy_threshold);
        config.keep_alive = self.nearest(|probe| probe.keep_alive).unwrap_or(config.keep_alive);
        Some(config)
    }

    /// What is asked: of a backend with a path of its own by that path, else what the nearest word says that speaks of it.
    fn kind(&self, own: Option<&str>) -> Option<ProbeKind> {
        let path = own.map(str::to_owned).or_else(|| self.nearest(|probe| probe.path.clone()));
        let written = self.nearest(|probe| probe.kind.or(probe.path.as_ref().map(|_| Probe::Http)));
        let host = self.nearest(|probe| probe.host.clone());
        Some(match written.filter(|_| own.is_none()) {
            Some(Probe::Tcp) => ProbeKind::Tcp,
            Some(Probe::Grpc) => {
                let service = self.nearest(|probe| probe.service.clone()).unwrap_or_default();
                ProbeKind::Grpc { service, host }
            }
            written => {
                let usual = written.map(|_| USUAL_PATH.to_owned());
                let expect = self.nearest(|probe| probe.expect.clone()).unwrap_or_default();
                ProbeKind::Http { path: path.or(usual)?, host, expect }
            }
        })
    }

    /// Says where probes would overlap.
    pub(in crate::lower) fn check(&self, context: &mut Context<'_>, probe: &ProbeConfig) -> bool {
        let timeout = self.nearest(|probe| probe.timeout);
        let Some((id, timeout)) = timeout.filter(|(_, timeout)| *timeout > probe.interval) else {
            return true;
        };
        let message = format!(
            "a probe's `timeout` ({timeout:?}) is longer than its `interval` ({:?}): probes would overlap",
            probe.interval
        );
        context.error(id, message, "too long").help("shorten `timeout`, or lengthen `interval`");
        false
    }

    fn nearest<T>(&self, value: impl Fn(&HealthCheckMeant) -> Option<T>) -> Option<T> {
        self.probes.iter().find_map(value)
    }
}

impl HealthCheckMeant {
    fn of(written: &SwitchOr<HealthCheck>) -> Self {
        let table = match written {
            SwitchOr::Switch(true) => {
                let path = Some(USUAL_PATH.to_owned());
                return Self { enabled: Some(true), is_switch: true, path, ..Self::default() };
            }
            SwitchOr::Switch(false) => return Self { enabled: Some(false), ..Self::default() },
            SwitchOr::Table(table) => table,
        };
        let interval = table.interval.as_ref().or(table.default_interval.as_ref());
        Self {
            is_switch: false,
            enabled: table.enabled,
            kind: table.kind.as_ref().map(|kind| kind.value),
            path: table.path.as_ref().map(|path| path.value.clone()),
            host: table.host.as_ref().map(|host| host.value.clone()),
            service: table.service.as_ref().map(|service| service.value.clone()),
            interval: interval.map(|interval| interval.value.0),
            timeout: table.timeout.as_ref().map(|timeout| (timeout.id, timeout.value.0)),
            tries: count(table.retry_count.as_ref()),
            healthy_threshold: count(table.healthy_threshold.as_ref()),
            unhealthy_threshold: count(table.unhealthy_threshold.as_ref()),
            expect: table.expect.as_ref().and_then(|expect| expect.value.parse().ok()),
            keep_alive: table.keep_alive,
        }
    }
}

fn passive(table: &Passive) -> Option<PassiveConfig> {
    let default = PassiveConfig::default();
    table.enabled.unwrap_or(true).then(|| PassiveConfig {
        consecutive_failures: count(table.consecutive_failures.as_ref())
            .unwrap_or(default.consecutive_failures),
        ejection_time: time(table.ejection_time, default.ejection_time),
    })
}

fn breaker(table: &CircuitBreaker) -> Option<BreakerConfig> {
    let default = BreakerConfig::default();
    table.enabled.unwrap_or(true).then(|| BreakerConfig {
        failure_threshold: count(table.failure_threshold.as_ref()).unwrap_or(default.failure_threshold),
        recovery_timeout: time(table.recovery_timeout, default.recovery_timeout),
        half_open_max_calls: count(table.half_open_max_calls.as_ref()).unwrap_or(default.half_open_max_calls),
    })
}

/// Zero has been refused before this.
fn count(written: Option<&At<u32>>) -> Option<NonZeroU32> {
    written.and_then(|at| NonZeroU32::new(at.value))
}

fn time(written: Option<Time>, default: Duration) -> Duration {
    written.map_or(default, |time| time.0)
}
