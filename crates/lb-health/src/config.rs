//! What the crate is told: plain data, with the defaults an operator gets who writes nothing.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::expect::StatusSet;

const THREE: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);
const FIVE: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Everything about one backend's health.
///
/// ```
/// use lb_health::{HealthConfig, ProbeConfig};
/// let config = HealthConfig { probe: Some(ProbeConfig::http("/health")), ..Default::default() };
/// assert!(config.check().is_ok() && config.breaker.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Asks the backend from time to time; off unless written.
    pub probe: Option<ProbeConfig>,
    /// Learns from requests; on unless turned off.
    pub passive: Option<PassiveConfig>,
    /// Cuts the backend off after failures, even where it is the last one; off unless written.
    pub breaker: Option<BreakerConfig>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self { probe: None, passive: Some(PassiveConfig::default()), breaker: None }
    }
}

/// How a backend is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// What is asked, and which answers are good.
    pub kind: ProbeKind,
    /// From one probe to the next, at most; the real time is up to a tenth shorter, so that probes spread out. Default 10 s.
    pub interval: Duration,
    /// How long one try may take, from the connect to the last byte of the answer; not longer than the interval. Default 5 s.
    pub timeout: Duration,
    /// Tries inside one probe: it is good if one of them is. Default 1.
    pub tries: NonZeroU32,
    /// Good probes in a row that make an unhealthy backend healthy. Default 2.
    pub healthy_threshold: NonZeroU32,
    /// Bad probes in a row that make a healthy backend unhealthy. Default 3.
    pub unhealthy_threshold: NonZeroU32,
    /// Whether HTTP probes ask on the connection of the one before where the backend has left it open: a third of the processor
    /// time, and a descriptor for each backend. Off by default, as then a probe sees that the backend accepts connections.
    pub keep_alive: bool,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// `GET` over HTTP/1.1. Redirects are answers like others and are not followed.
    Http {
        /// The path, begun with `/`, perhaps with a query; the base path of the backend's URL is put in front.
        path: String,
        /// The Host field; `None` is the backend's own host and port.
        host: Option<String>,
        /// The statuses of a healthy backend.
        expect: StatusSet,
    },
    /// Whether a TCP connection can be opened.
    Tcp,
    /// The gRPC health checking protocol, over HTTP/2 without TLS. The base path is left out, as gRPC has none.
    Grpc {
        /// Whose health is asked for; empty is the server's as a whole.
        service: String,
        /// The authority; `None` is the backend's own host and port.
        host: Option<String>,
    },
}

impl ProbeConfig {
    /// Everything else at its default.
    pub fn new(kind: ProbeKind) -> Self {
        Self {
            kind,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            tries: NonZeroU32::MIN,
            healthy_threshold: NonZeroU32::MIN.saturating_add(1),
            unhealthy_threshold: THREE,
            keep_alive: false,
        }
    }

    /// `GET` of this path, answered with 200–299, at the backend's own host.
    pub fn http(path: impl Into<String>) -> Self {
        Self::new(ProbeKind::Http { path: path.into(), host: None, expect: StatusSet::default() })
    }
}

/// When a backend is taken out for what its requests met. Failed connects, resets, timeouts and 5xx count; 4xx and clients
/// that leave do not, and the engine never reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassiveConfig {
    /// Failures in a row that eject it. Default 5.
    pub consecutive_failures: NonZeroU32,
    /// How long it stays out; then it comes back by itself. Default 30 s.
    pub ejection_time: Duration,
}

impl Default for PassiveConfig {
    fn default() -> Self {
        Self { consecutive_failures: FIVE, ejection_time: Duration::from_secs(30) }
    }
}

/// When a backend's circuit opens and closes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it. Default 5.
    pub failure_threshold: NonZeroU32,
    /// From opening to the first trial call. Default 60 s.
    pub recovery_timeout: Duration,
    /// Trial calls while half-open; when all were good it closes. Default 3.
    pub half_open_max_calls: NonZeroU32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            failure_threshold: FIVE,
            recovery_timeout: Duration::from_secs(60),
            half_open_max_calls: THREE,
        }
    }
}

/// What holds for an upstream as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamOptions {
    /// Where a smaller share than this (0 to 1) of the backends works, all are used that a breaker does not cut off: too many
    /// seem to be down at once for the few others to carry it. `None` is never. Leave the balancer's own threshold unset then:
    /// it knows of no circuits.
    pub panic_threshold: Option<f64>,
}

/// What makes a configuration useless; it is refused rather than bent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HealthConfigError {
    /// A time of nothing.
    #[error("{0} must be longer than 0")]
    Zero(&'static str),
    /// Probes would overlap.
    #[error("a probe's timeout ({timeout:?}) must not be longer than its interval ({interval:?})")]
    TimeoutAboveInterval {
        /// What was asked for.
        timeout: Duration,
        /// What was asked for.
        interval: Duration,
    },
    /// Not what stands in a request line.
    #[error("health check path {0:?} must begin with `/` and have no spaces or other invisible characters")]
    Path(String),
    /// Not what stands in a Host field.
    #[error("health check host {0:?} is no host name")]
    Host(String),
    /// Not a share.
    #[error("panic_threshold must be from 0 to 1, not {0}")]
    Panic(f64),
    /// Nothing to connect to.
    #[error("a backend is to be probed but has no address to probe")]
    NoTarget,
    /// Not one configuration a backend.
    #[error("{members} health configurations for {backends} backends")]
    Members {
        /// Configurations given.
        members: usize,
        /// Backends of the balancer.
        backends: usize,
    },
}

impl HealthConfig {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), HealthConfigError> {
        self.probe.as_ref().map_or(Ok(()), ProbeConfig::check)?;
        if self.passive.as_ref().is_some_and(|passive| passive.ejection_time.is_zero()) {
            return Err(HealthConfigError::Zero("ejection_time"));
        }
        if self.breaker.as_ref().is_some_and(|breaker| breaker.recovery_timeout.is_zero()) {
            return Err(HealthConfigError::Zero("recovery_timeout"));
        }
        Ok(())
    }
}

impl HealthConfig {
    /// Whether this many failures in a row may change something. What the hot path asks.
    pub(crate) fn may_change_at(&self, streak: u64) -> bool {
        self.passive.as_ref().is_some_and(|passive| passive.ejects_at(streak))
            || self.breaker.as_ref().is_some_and(|breaker| breaker.opens_at(streak))
    }
}

impl PassiveConfig {
    /// Whether this many failures in a row eject. Every multiple does: a backend that came back needs the whole number again,
    /// and so does one that could not be spared.
    pub(crate) fn ejects_at(&self, streak: u64) -> bool {
        streak > 0 && streak.is_multiple_of(u64::from(self.consecutive_failures.get()))
    }
}

impl BreakerConfig {
    /// Whether this many failures in a row open the circuit.
    pub(crate) fn opens_at(&self, streak: u64) -> bool {
        streak >= u64::from(self.failure_threshold.get())
    }
}

impl ProbeConfig {
    fn check(&self) -> Result<(), HealthConfigError> {
        let Self { kind, interval, timeout, .. } = self;
        if interval.is_zero() {
            return Err(HealthConfigError::Zero("health check interval"));
        }
        if timeout.is_zero() {
            return Err(HealthConfigError::Zero("health check timeout"));
        }
        if timeout > interval {
            return Err(HealthConfigError::TimeoutAboveInterval { timeout: *timeout, interval: *interval });
        }
        let host = match kind {
            ProbeKind::Http { path, .. } if !path.starts_with('/') || !is_visible(path) => {
                return Err(HealthConfigError::Path(path.clone()));
            }
            ProbeKind::Http { host, .. } | ProbeKind::Grpc { host, .. } => host,
            ProbeKind::Tcp => &None,
        };
        match host.as_ref().filter(|host| host.is_empty() || !is_visible(host)) {
            Some(host) => Err(HealthConfigError::Host(host.clone())),
            None => Ok(()),
        }
    }
}

impl UpstreamOptions {
    /// Whether it makes sense.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), HealthConfigError> {
        match self.panic_threshold.filter(|share| !(0.0..=1.0).contains(share)) {
            Some(share) => Err(HealthConfigError::Panic(share)),
            None => Ok(()),
        }
    }
}

/// Nothing that would end a request line or a field early.
fn is_visible(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_that_are_documented() {
        let probe = ProbeConfig::http("/health");
        assert_eq!((probe.interval.as_secs(), probe.timeout.as_secs(), probe.tries.get()), (10, 5, 1));
        assert_eq!((probe.healthy_threshold.get(), probe.unhealthy_threshold.get()), (2, 3));
        let HealthConfig { probe, passive, breaker } = HealthConfig::default();
        assert_eq!((probe, breaker), (None, None));
        let passive = passive.unwrap();
        assert_eq!((passive.consecutive_failures.get(), passive.ejection_time.as_secs()), (5, 30));
        let breaker = BreakerConfig::default();
        assert_eq!((breaker.failure_threshold.get(), breaker.recovery_timeout.as_secs()), (5, 60));
        assert_eq!(breaker.half_open_max_calls.get(), 3);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        let probe = |change: fn(&mut ProbeConfig)| {
            let mut probe = ProbeConfig::http("/health");
            change(&mut probe);
            HealthConfig { probe: Some(probe), ..Default::default() }
        };
        let path = |path: &str| HealthConfig { probe: Some(ProbeConfig::http(path)), ..Default::default() };
        let host = |host: &str| {
            let (path, host, expect) = ("/".to_owned(), Some(host.to_owned()), StatusSet::default());
            let kind = ProbeKind::Http { path, host, expect };
            HealthConfig { probe: Some(ProbeConfig::new(kind)), ..Default::default() }
        };
        for (config, words) in [
            (probe(|probe| probe.interval = Duration::ZERO), "interval must be longer"),
            (probe(|probe| probe.timeout = Duration::ZERO), "timeout must be longer"),
            (probe(|probe| probe.interval = Duration::from_secs(1)), "must not be longer than its interval"),
            (path("health"), "must begin with `/`"),
            (path("/a b"), "no spaces"),
            (path("/a\r\nX: y"), "no spaces"),
            (host(""), "no host name"),
            (host("a\nb"), "no host name"),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        for share in [-0.1, 1.1, f64::NAN] {
            assert!(UpstreamOptions { panic_threshold: Some(share) }.check().is_err());
        }
    }
}
