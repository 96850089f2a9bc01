//! The configuration in effect, value by value, each with where it came from: what was written, and the defaults of what was
//! not.

use std::time::Duration;

use lb_http::config::{GatewayConfig, Timeouts};

use crate::loaded::{Loaded, Provenance};

/// Everything that was written, in the order of the file, and then the defaults of the settings of the whole that nobody wrote.
/// Secrets, and what placeholders stand for, are not in it. To be loaded with
/// [`Sources::with_provenance`](crate::Sources::with_provenance).
#[must_use]
pub fn effective(loaded: &Loaded) -> Vec<Provenance> {
    let mut values = loaded.provenance.clone();
    let written = |path: &str| {
        let below = |it: &Provenance| {
            it.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        loaded.provenance.iter().any(below)
    };
    let missing = defaults(loaded).into_iter().filter(|(path, _)| !written(path));
    let place = || "default".to_owned();
    let defaults: Vec<_> =
        missing.map(|(path, value)| Provenance { path: path.to_owned(), value, place: place() }).collect();
    values.extend(defaults);
    values
}

/// Settings of the whole, as they are where nobody wrote them.
fn defaults(loaded: &Loaded) -> Vec<(&'static str, String)> {
    let GatewayConfig { workers, shutdown_timeout, drain_delay, max_connections, pool, listeners, .. } =
        &*loaded.config;
    let timeouts = Timeouts::default();
    let listeners = listeners.iter().map(|listener| listener.address.to_string()).collect::<Vec<_>>();
    let limit = |limit: Option<String>| limit.unwrap_or_else(|| "none".to_owned());
    vec![
        ("load_balancing", "round_robin".to_owned()),
        ("trusted_proxies", "none".to_owned()),
        ("global_timeout", time(timeouts.response_head)),
        ("connect_timeout", time(timeouts.connect)),
        ("idle_timeout", time(timeouts.idle)),
        ("max_idle_conns", pool.max_idle.to_string()),
        ("max_idle_conns_per_host", pool.max_idle_per_backend.to_string()),
        ("idle_conn_timeout", time(pool.idle_timeout)),
        ("max_requests_per_conn", limit(pool.max_requests_per_connection.map(|count| count.to_string()))),
        ("max_conn_age", limit(pool.max_connection_age.map(time))),
        ("underscores_in_headers", loaded.config.underscores_in_headers.to_string()),
        ("merge_slashes", loaded.config.merge_slashes.to_string()),
        ("server.workers", workers.to_string()),
        (
            "server.max_connections",
            max_connections.map_or_else(|| "as descriptors allow".to_owned(), |it| it.to_string()),
        ),
        ("server.shutdown_timeout", time(*shutdown_timeout)),
        ("server.drain_delay", time(*drain_delay)),
        ("server.state_file", "none".to_owned()),
        ("listeners", listeners.join(", ")),
        ("admin.address", "none".to_owned()),
        ("access_log.enabled", loaded.access_log.enabled.to_string()),
    ]
}

fn time(time: Duration) -> String {
    match time {
        Duration::ZERO => "0s".to_owned(),
        time => format!("{time:?}"),
    }
}
