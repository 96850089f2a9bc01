//! One rule: what it matches, where it leads and what happens on the way.

use serde::Deserialize;

use super::health::{CircuitBreaker, Concurrency, HealthCheck, Hedge, Passive, Queue, Retries};
use super::observe::TrafficDump;
use super::policy::{Cache, Compression, Cors, Fault, Filter, Headers, RateLimit, RequestLimits, Security};
use super::upstream::{Backend, BackendTls, Balancing, Subset};
use super::values::{At, List, Names, Opaque, Shorthand, Size, SwitchOr, Time, WordOr};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) name: Option<At<String>>,
    pub(crate) host: Option<At<String>>,
    pub(crate) hosts: Option<At<List<String>>>,
    pub(crate) path: Option<At<String>>,
    pub(crate) path_prefix: Option<At<String>>,
    pub(crate) path_regex: Option<At<String>>,
    pub(crate) path_template: Option<At<String>>,
    pub(crate) methods: Option<List<String>>,
    pub(crate) headers: Option<Names<String>>,
    pub(crate) query: Option<Names<String>>,
    pub(crate) upstream: Option<At<String>>,
    pub(crate) backends: Option<Box<At<List<WordOr<Backend>>>>>,
    pub(crate) split: Option<Box<At<List<Share>>>>,
    /// What keeps a client on its part of the split.
    pub(crate) split_by: Option<At<String>>,
    /// A field in which a request may name its part.
    pub(crate) split_header: Option<At<String>>,
    /// When a part of the split is taken back by itself.
    pub(crate) split_rollback: Option<Box<At<Rollback>>>,
    /// Where copies of its requests go.
    pub(crate) mirror: Option<Box<At<Mirror>>>,
    pub(crate) redirect: Option<Box<At<WordOr<Redirect>>>>,
    pub(crate) load_balancing: Option<Box<At<WordOr<Balancing>>>>,
    pub(crate) strip_prefix: Option<At<String>>,
    pub(crate) add_prefix: Option<At<String>>,
    pub(crate) rewrite: Option<At<String>>,
    pub(crate) timeout: Option<Time>,
    pub(crate) connect_timeout: Option<Time>,
    pub(crate) idle_timeout: Option<Time>,
    pub(crate) tunnel_timeout: Option<Time>,
    pub(crate) min_rate: Option<Size>,
    pub(crate) host_header: Option<At<String>>,
    pub(crate) request_headers: Option<Box<Headers>>,
    pub(crate) response_headers: Option<Box<Headers>>,
    pub(crate) traffic_dump: Option<Box<At<SwitchOr<TrafficDump>>>>,
    pub(crate) health_check: Option<Box<At<SwitchOr<HealthCheck>>>>,
    pub(crate) passive: Option<Box<At<SwitchOr<Passive>>>>,
    pub(crate) circuit_breaker: Option<Box<At<SwitchOr<CircuitBreaker>>>>,
    pub(crate) retries: Option<Box<At<Retries>>>,
    pub(crate) queue: Option<Box<At<Queue>>>,
    pub(crate) concurrency: Option<Box<At<Concurrency>>>,
    pub(crate) hedge: Option<Box<At<Hedge>>>,
    pub(crate) panic_threshold: Option<At<f64>>,
    pub(crate) slow_start: Option<At<Time>>,
    pub(crate) subset: Option<Box<At<Subset>>>,
    pub(crate) tls: Option<Box<At<BackendTls>>>,
    pub(crate) fault: Option<Box<At<Fault>>>,
    pub(crate) rate_limit: Option<Box<RateLimit>>,
    pub(crate) filter: Option<Box<Filter>>,
    pub(crate) security: Option<Box<Security>>,
    pub(crate) cors: Option<Box<Cors>>,
    pub(crate) compression: Option<Box<Compression>>,
    pub(crate) cache: Option<Box<Cache>>,
    pub(crate) auth: Option<Box<Opaque>>,
    pub(crate) request_limits: Option<Box<RequestLimits>>,
}

/// Where clients are sent instead of a backend; a word is `to`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Redirect {
    pub(crate) to: Option<At<String>>,
    pub(crate) status: Option<At<u32>>,
}

impl Shorthand for Redirect {
    const EXPECTED: &'static str =
        "an origin such as \"https://www.example.com\", or a table with `to` and `status`";
}

/// One way of a split.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Share {
    pub(crate) upstream: Option<At<String>>,
    pub(crate) weight: Option<At<f64>>,
}

/// When a part of a split is taken back by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// By how much its share of failed requests may lie above the largest part's, from 0 to 1.
    pub(crate) error_rate: Option<At<f64>>,
    /// How many times the largest part's 99th percentile its own may be.
    pub(crate) p99: Option<At<f64>>,
    /// Requests of either part within the window, before anything is said.
    pub(crate) min_requests: Option<At<u32>>,
    /// How far back is looked.
    pub(crate) window: Option<At<Time>>,
}

/// Copies of a rule's requests for another upstream.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mirror {
    pub(crate) upstream: Option<At<String>>,
    /// Of requests; all by default.
    pub(crate) percent: Option<At<f64>>,
    /// Only these; all by default.
    pub(crate) methods: Option<List<String>>,
    /// Copies under way at once; more are dropped.
    pub(crate) max_pending: Option<At<u32>>,
    /// The largest body that is copied.
    pub(crate) max_body: Option<Size>,
    /// Whether the two answers are compared.
    pub(crate) compare: Option<bool>,
    /// For a copy as a whole.
    pub(crate) timeout: Option<Time>,
}
