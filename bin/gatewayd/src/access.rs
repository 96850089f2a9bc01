//! The access log as configured.

use std::sync::Arc;

use anyhow::Context;
use lb_config::AccessLogConfig;
use lb_http::config::GatewayConfig;
use lb_observe::AccessLog;
use lb_observe::access_log::Field;

/// Starts the log, where it is wanted.
pub(crate) fn start(
    config: &AccessLogConfig,
    has_traces: bool,
    gateway: &GatewayConfig,
) -> anyhow::Result<Option<Arc<AccessLog>>> {
    if !config.enabled {
        return Ok(None);
    }
    let default = lb_observe::AccessLogConfig::default();
    let fields = match &config.fields {
        // The names that every line has are not chosen.
        Some(names) => names.iter().filter_map(|name| name.parse::<Field>().ok()).collect(),
        None => {
            let listeners = &gateway.listeners;
            let has_tcp = listeners.iter().any(|listener| listener.tcp.is_some());
            let of_tcp = [Field::Listener, Field::Protocol].into_iter().filter(|_| has_tcp);
            // Nothing else tells which server was asked for.
            let forwards = listeners.iter().any(|listener| listener.forward_proxy.is_some());
            let of_tcp = of_tcp.chain(forwards.then_some(Field::Host));
            default.fields.iter().copied().chain(has_traces.then_some(Field::TraceId)).chain(of_tcp).collect()
        }
    };
    let workers = gateway.workers.get();
    let config = lb_observe::AccessLogConfig { fields, sample: config.sample, workers, ..default };
    let log = AccessLog::to_stderr(config).context("cannot start the access log")?;
    Ok(Some(Arc::new(log)))
}
