//! The keys of a live event, as dashboard and `gatewayd top` read them. Times are milliseconds since 1970, latencies
//! milliseconds, shares 0 to 1.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::history::Points;
use super::window::{Counts, Percentiles, Rates};

#[derive(Serialize)]
pub(super) struct Event<'a> {
    pub(super) version: &'static str,
    pub(super) time_ms: u64,
    pub(super) uptime_seconds: f64,
    pub(super) draining: bool,
    /// Whether figures of single backends are kept; theirs and those of upstreams are all 0 if not.
    pub(super) backend_statistics: bool,
    /// From one point of a history to the next.
    pub(super) step_seconds: u64,
    pub(super) step: u64,
    pub(super) totals: Totals,
    pub(super) rules: Page<Rule<'a>>,
    pub(super) upstreams: Page<Upstream<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backends: Option<Page<Backend<'a>>>,
    pub(super) errors: &'a [Failure],
    pub(super) changes: &'a [Change],
}

/// A part of a list. Pages count from 1.
#[derive(Serialize)]
pub(super) struct Page<T> {
    /// How many there are.
    pub(super) total: usize,
    /// How many were found.
    pub(super) found: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) shown: Vec<T>,
}

/// What is told of everything that has traffic.
#[derive(Default, Serialize)]
pub(super) struct Figures {
    #[serde(flatten)]
    pub(super) counts: Counts,
    #[serde(flatten)]
    pub(super) rates: Rates,
    #[serde(flatten)]
    pub(super) latency: Percentiles,
}

#[derive(Serialize)]
pub(super) struct Totals {
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) active: u64,
    pub(super) connections: u64,
    pub(super) states: BTreeMap<&'static str, usize>,
    pub(super) history: Option<Points>,
}

#[derive(Serialize)]
pub(super) struct Rule<'a> {
    pub(super) name: &'a str,
    pub(super) host: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) methods: &'a [String],
    /// Of a split the first.
    pub(super) upstream: &'a str,
    /// Where its requests go: several of a split, none of a redirect.
    pub(super) shares: Vec<Share<'a>>,
    pub(super) strategy_title: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

/// What an upstream gets of a rule's requests, from 0 to 1.
#[derive(Serialize)]
pub(super) struct Share<'a> {
    pub(super) upstream: &'a str,
    pub(super) share: f64,
}

#[derive(Serialize)]
pub(super) struct Upstream<'a> {
    pub(super) name: &'a str,
    pub(super) strategy: &'a str,
    pub(super) strategy_title: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) active: u64,
    pub(super) states: BTreeMap<&'static str, usize>,
    pub(super) history: Option<Points>,
    pub(super) backends: Page<Backend<'a>>,
}

#[derive(Serialize)]
pub(super) struct Backend<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream: Option<&'a str>,
    pub(super) url: &'a str,
    pub(super) weight: f64,
    pub(super) backup: bool,
    /// How it stands, its circuit included.
    pub(super) state: &'static str,
    pub(super) healthy: bool,
    pub(super) circuit: &'static str,
    pub(super) why: Option<&'a str>,
    pub(super) since_ms: Option<u64>,
    /// When an ejection ends, or an open circuit is tried.
    pub(super) until_ms: Option<u64>,
    pub(super) active: u64,
    pub(super) max_connections: Option<u32>,
    #[serde(flatten)]
    pub(super) figures: Figures,
    /// Of its upstream's requests of late.
    pub(super) share: f64,
    /// What its weight would give it among those that take requests; none for one that takes none.
    pub(super) due: Option<f64>,
}

/// A request that failed, or some of one kind within a second.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    pub(super) time_ms: u64,
    pub(super) times: u64,
    pub(super) rule: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) backend: Option<String>,
    pub(super) status: u16,
    pub(super) code: Option<&'static str>,
    pub(super) request_id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) reason: String,
}

/// A change of a backend's health or circuit.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Change {
    pub(super) time_ms: u64,
    pub(super) upstream: String,
    pub(super) backend: String,
    pub(super) change: &'static str,
    pub(super) healthy: bool,
    pub(super) why: Option<String>,
}

pub(super) fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

impl From<lb_observe::RecentError> for Failure {
    fn from(error: lb_observe::RecentError) -> Self {
        Self {
            time_ms: unix_ms(error.time),
            times: error.times,
            rule: error.rule,
            upstream: error.upstream,
            backend: error.backend,
            status: error.status,
            code: error.code,
            request_id: error.request_id,
            method: error.method,
            path: error.path,
            reason: error.reason,
        }
    }
}

impl From<(SystemTime, lb_health::HealthEvent)> for Change {
    fn from((time, event): (SystemTime, lb_health::HealthEvent)) -> Self {
        Self {
            time_ms: unix_ms(time),
            upstream: event.upstream.to_string(),
            backend: event.backend,
            change: event.change.describe(),
            healthy: event.healthy,
            why: event.error,
        }
    }
}
