//! A live event as the terminal needs it; see lb-admin's `live/shape.rs` for what the keys mean.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Event {
    pub(super) version: String,
    pub(super) time_ms: u64,
    pub(super) uptime_seconds: f64,
    pub(super) draining: bool,
    pub(super) totals: Totals,
    pub(super) rules: Page<Rule>,
    pub(super) upstreams: Page<Upstream>,
    pub(super) backends: Page<Backend>,
    pub(super) errors: Vec<Failure>,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Page<T> {
    pub(super) found: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
    pub(super) shown: Vec<T>,
}

impl<T> Default for Page<T> {
    fn default() -> Self {
        Self { found: 0, page: 1, pages: 1, shown: Vec::new() }
    }
}

/// What everything that gets requests has.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Figures {
    pub(super) requests: u64,
    pub(super) requests_per_second: f64,
    pub(super) error_rate: f64,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Totals {
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) active: u64,
    pub(super) states: BTreeMap<String, usize>,
    pub(super) history: Option<History>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct History {
    pub(super) first: u64,
    pub(super) requests_per_second: Vec<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) upstream: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) strategy: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) active: u64,
    pub(super) states: BTreeMap<String, usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Backend {
    pub(super) upstream: String,
    pub(super) url: String,
    pub(super) weight: f64,
    pub(super) state: String,
    pub(super) why: Option<String>,
    pub(super) active: u64,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) share: f64,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Failure {
    pub(super) time_ms: u64,
    pub(super) times: u64,
    pub(super) status: u16,
    pub(super) path: String,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Change {
    pub(super) time_ms: u64,
    pub(super) backend: String,
    pub(super) change: String,
    pub(super) why: Option<String>,
}

/// How many of these backends take requests, of how many.
pub(super) fn up(states: &BTreeMap<String, usize>) -> (usize, usize) {
    let up = ["healthy", "half_open"].iter().filter_map(|state| states.get(*state)).sum();
    (up, states.values().sum())
}
