//! Listeners whose connections begin with a PROXY header.

use ipnet::IpNet;
use lb_http::config::ProxiedListener;

use super::{Context, listener};
use crate::written::listener::Proxied;
use crate::written::values::{At, List, SwitchOr};

/// What is meant; `None` where it is off, or wrong.
pub(super) fn lower(
    context: &mut Context<'_>,
    written: &At<SwitchOr<Proxied>>,
    trusted: &[IpNet],
) -> Option<ProxiedListener> {
    let default = Proxied::default();
    let table = match &written.value {
        SwitchOr::Switch(false) => return None,
        SwitchOr::Switch(true) => &default,
        SwitchOr::Table(table) => table,
    };
    let from = match &table.from {
        Some(from) => listener::networks(context, Some(from)),
        None => trusted.to_vec(),
    };
    let timeout = table.timeout.map_or(ProxiedListener::TIMEOUT, |timeout| timeout.0);
    if table.enabled == Some(false) {
        return None;
    }
    // Ones that could not be read are not missing.
    let is_whole = !context.tree.has(written.id, "from") || table.from.as_ref().is_some_and(List::is_empty);
    if from.is_empty() && is_whole {
        context
            .error_at_key(
                written.id,
                "nobody is believed who says by the PROXY protocol where a connection comes from",
                "every connection would be closed",
            )
            .help("name the load balancers: `proxy_protocol = { from = [\"10.0.0.0/8\"] }`, or `trusted_proxies` at the root");
    }
    Some(ProxiedListener { from, timeout })
}
