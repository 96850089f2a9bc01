//! From what was written to what it means: the engine's plain configuration, with every check that needs more than
//! one value. Nothing here binds a port, resolves a name or opens more than the certificates that are named.

use std::num::NonZeroUsize;
use std::time::Duration;

use lb_discovery::UpstreamSources;
use lb_http::config::{GatewayConfig, PoolConfig};

use crate::loaded::{AccessLogConfig, AdminConfig, AlertsConfig, TracingConfig};
use crate::member::MemberTemplate;
use crate::written::root::Root;
use crate::written::values::At;

mod backend;
mod balance;
mod balancer;
mod clash;
mod context;
mod discover;
mod dump;
mod fault;
mod forward_proxy;
mod health;
mod http2;
mod http3;
mod listener;
mod matching;
mod mirror;
mod observe;
mod policy;
mod proxied;
mod redirect;
mod retries;
mod rollback;
mod route;
mod rule;
mod split;
mod tcp;
mod tls;
mod upstream;
pub(crate) mod url;

pub use clash::is_own;
pub(crate) use context::Context;

/// Everything a configuration means.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) config: GatewayConfig,
    pub(crate) members: Vec<MemberTemplate>,
    pub(crate) discover: Vec<UpstreamSources>,
    pub(crate) admin: Option<AdminConfig>,
    pub(crate) alerts: Option<AlertsConfig>,
    pub(crate) tracing: Option<TracingConfig>,
    pub(crate) access_log: AccessLogConfig,
}

/// From SIGTERM to the end, unless `shutdown_timeout` says so.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// Lowers the whole; what is wrong is in the context's problems, and then the result is of no use.
pub(crate) fn lower(context: &mut Context<'_>, root: &Root) -> Option<Lowered> {
    let trusted_proxies = listener::trusted_proxies(context, root.trusted_proxies.as_ref());
    let mut upstreams = upstream::Upstreams::named(context, root);
    let (listeners, listener_places) = listener::listeners(context, root, &trusted_proxies, &upstreams);
    let admin = root.admin.as_ref().map(|admin| listener::admin(context, admin));
    let discover = discover::sources(context, root);
    let rules = rule::rules(context, root, &mut upstreams);
    let access_log = observe::access_log(context, root.access_log.as_ref());
    let alerts = observe::alerts(context, root.alerts.as_ref());
    let tracing = observe::tracing(context, root.tracing.as_ref());
    tls::check_root(context, root);
    dump::check(context, &root.traffic_dump);
    dump::check_directories(context, root);
    health::check_switch(context, root.health_check.as_ref());
    clash::check(context, &listener_places, admin.as_ref(), &upstreams);
    rule::check_any(context, root);
    let server = root.server.as_ref();
    let workers = server.and_then(|server| server.workers.as_ref()).and_then(|workers| {
        let count = NonZeroUsize::new(workers.value as usize);
        if count.is_none() {
            context
                .error(workers.id, "`workers` must be at least 1", "no worker")
                .help("leave the key out to have one worker for each processor that this process may use");
        }
        count
    });
    let max_connections = server.and_then(|server| server.max_connections.as_ref()).and_then(|count| {
        let count =
            context.at_least_one(count, "leave the key out for as many as there are descriptors for")?;
        NonZeroUsize::new(count.get() as usize)
    });
    let shutdown_timeout =
        server.and_then(|server| server.shutdown_timeout).map_or(SHUTDOWN_TIMEOUT, |time| time.0);
    let drain_delay = server.and_then(|server| server.drain_delay.as_ref());
    if let Some(delay) =
        drain_delay.filter(|delay| !delay.value.0.is_zero() && delay.value.0 >= shutdown_timeout)
    {
        let message = format!(
            "`drain_delay` must be shorter than `shutdown_timeout` ({shutdown_timeout:?}), which it is a part of"
        );
        context
            .error(delay.id, message, "no time is left for requests in flight")
            .help("raise `shutdown_timeout`, or shorten `drain_delay`");
    }
    let pool = pool(context, root);
    let (upstreams, members) = upstreams.finish();
    let config = GatewayConfig {
        workers: workers.unwrap_or_else(processors),
        shutdown_timeout,
        drain_delay: drain_delay.map_or(Duration::ZERO, |delay| delay.value.0),
        max_connections,
        listeners,
        trusted_proxies,
        pool,
        underscores_in_headers: root.underscores_in_headers.unwrap_or(false),
        merge_slashes: root.merge_slashes.unwrap_or(true),
        upstreams,
        rules,
        trace_sample: tracing.as_ref().map(|(_, sample)| *sample),
        state_file: server.and_then(|server| server.state_file.as_ref()).map(Into::into),
    };
    Some(Lowered {
        config,
        members,
        discover,
        admin: admin.map(|(config, _)| config),
        alerts,
        tracing: tracing.map(|(tracing, _)| tracing),
        access_log,
    })
}

/// A percentage, if it is one.
fn percent(context: &mut Context<'_>, written: Option<&At<f64>>) -> Option<f64> {
    let written = written?;
    if !(0.0..=100.0).contains(&written.value) {
        let message = format!("{} is no percentage", context.quote(written.id));
        context.error(written.id, message, "not from 0 to 100").help("write a number from 0 to 100");
    }
    Some(written.value)
}

fn pool(context: &mut Context<'_>, root: &Root) -> PoolConfig {
    let default = PoolConfig::default();
    PoolConfig {
        max_idle: root.max_idle_conns.unwrap_or(default.max_idle),
        max_idle_per_backend: root.max_idle_conns_per_host.unwrap_or(default.max_idle_per_backend),
        idle_timeout: root.idle_conn_timeout.map_or(default.idle_timeout, |time| time.0),
        max_requests_per_connection: root
            .max_requests_per_conn
            .as_ref()
            .map_or(default.max_requests_per_connection, |count| {
                context.at_least_one(count, "leave the key out for no limit")
            }),
        max_connection_age: root.max_conn_age.map(|time| time.0).or(default.max_connection_age),
    }
}

/// The processors this process may use, by affinity and control group.
fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
