//! The root of a configuration, and the tables that say how the process itself runs.

use serde::Deserialize;

use super::health::HealthCheck;
use super::listener::{Listener, ListenerTls};
use super::observe::{AccessLog, Tracing, TrafficDump};
use super::policy::{Cache, Compression, Cors, Filter, RateLimit, RequestLimits, Security};
use super::rule::Rule;
use super::upstream::{BackendTls, Balancing, Upstream};
use super::values::{At, List, Names, Opaque, Size, SwitchOr, Time, WordOr};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Root {
    pub(crate) load_balancing: Option<At<WordOr<Balancing>>>,
    pub(crate) trusted_proxies: Option<List<String>>,
    pub(crate) host_header: Option<At<String>>,
    pub(crate) underscores_in_headers: Option<bool>,
    pub(crate) merge_slashes: Option<bool>,
    pub(crate) global_timeout: Option<Time>,
    pub(crate) connect_timeout: Option<Time>,
    pub(crate) idle_timeout: Option<Time>,
    pub(crate) tunnel_timeout: Option<Time>,
    pub(crate) min_rate: Option<Size>,
    pub(crate) max_idle_conns: Option<usize>,
    pub(crate) max_idle_conns_per_host: Option<usize>,
    pub(crate) idle_conn_timeout: Option<Time>,
    pub(crate) max_requests_per_conn: Option<At<u32>>,
    pub(crate) max_conn_age: Option<Time>,
    pub(crate) insecure_skip_verify: Option<At<bool>>,
    pub(crate) server: Option<Server>,
    pub(crate) listeners: Option<List<Listener>>,
    pub(crate) admin: Option<At<Admin>>,
    pub(crate) alerts: Option<At<Alerts>>,
    pub(crate) upstreams: Option<Names<Upstream>>,
    pub(crate) rules: Option<List<Rule>>,
    pub(crate) health_check: Option<At<SwitchOr<HealthCheck>>>,
    pub(crate) traffic_dump: Option<Box<At<SwitchOr<TrafficDump>>>>,
    pub(crate) access_log: Option<At<SwitchOr<AccessLog>>>,
    pub(crate) tracing: Option<At<Tracing>>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) filter: Option<Filter>,
    pub(crate) security: Option<Security>,
    pub(crate) cors: Option<Cors>,
    pub(crate) compression: Option<Compression>,
    pub(crate) cache: Option<Cache>,
    pub(crate) auth: Option<Opaque>,
    pub(crate) request_limits: Option<RequestLimits>,
}

/// How the process runs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) workers: Option<At<u32>>,
    pub(crate) max_connections: Option<At<u32>>,
    pub(crate) shutdown_timeout: Option<Time>,
    pub(crate) drain_delay: Option<At<Time>>,
    pub(crate) state_file: Option<String>,
}

/// The address for operators.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Admin {
    pub(crate) address: Option<At<String>>,
    pub(crate) token: Option<At<String>>,
    /// As of a listener; a certificate that `client_auth` believes is as good as the token.
    pub(crate) tls: Option<At<WordOr<ListenerTls>>>,
}

/// Who is told of changes of health.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alerts {
    /// Called once a change, by POST with JSON.
    pub(crate) webhook: Option<At<String>>,
    /// How an `https` one is believed.
    pub(crate) tls: Option<At<BackendTls>>,
}
