//! Checks between listeners and backends: one address bound twice, and a gateway that would call itself.

use std::net::{IpAddr, SocketAddr};

use super::Context;
use super::listener::Bound;
use super::upstream::Upstreams;
use crate::loaded::AdminConfig;

pub(super) fn check(
    context: &mut Context<'_>,
    listeners: &[Bound],
    admin: Option<&(AdminConfig, Bound)>,
    upstreams: &Upstreams,
) {
    let bound: Vec<&Bound> = listeners.iter().chain(admin.map(|(_, bound)| bound)).collect();
    for (index, second) in bound.iter().enumerate() {
        let Some(first) = bound.iter().take(index).find(|first| overlap(first.address, second.address))
        else {
            continue;
        };
        let Some(place) = second.place.or(first.place) else { continue };
        let message = format!("{} and {} listen on one address, {}", first.what, second.what, second.address);
        let other =
            first.place.filter(|_| second.place.is_some()).and_then(|place| context.value_place(place));
        context
            .error(place, message, "taken already")
            .also(other, "by this one")
            .help("give one of them another port");
    }
    for member in upstreams.entries.iter().flat_map(|entry| &entry.members) {
        let Some(own) = bound.iter().find(|own| is_own(own.address, &member.url.host, member.url.port))
        else {
            continue;
        };
        let message = format!("backend {} is {} of this gateway", context.quote(member.place), own.what);
        let other = own.place.and_then(|place| context.value_place(place));
        let help = match own.place {
            Some(_) => "requests would go round in a circle: name the server that is meant",
            None => {
                "requests would go round in a circle: name the server that is meant, or listen elsewhere by `[[listeners]]`, as 127.0.0.1:8080 is the default"
            }
        };
        context.error(member.place, message, "ourselves").also(other, "it listens here").help(help);
    }
}

/// Whether binding both must fail. Port 0 is a new port each time.
fn overlap(first: SocketAddr, second: SocketAddr) -> bool {
    first.port() != 0
        && first.port() == second.port()
        && (first.ip() == second.ip()
            || (first.is_ipv4() == second.is_ipv4()
                && (first.ip().is_unspecified() || second.ip().is_unspecified())))
}

/// Whether a backend at this host and port is surely the listener at this address, so that requests would go round in a
/// circle; names other than `localhost` are not resolved.
#[must_use]
pub fn is_own(listener: SocketAddr, host: &str, port: u16) -> bool {
    if listener.port() == 0 || listener.port() != port {
        return false;
    }
    match host.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(address) if listener.ip().is_unspecified() => address.is_loopback() || address.is_unspecified(),
        Ok(address) if address.is_unspecified() => listener.ip().is_loopback(),
        Ok(address) => address == listener.ip().to_canonical(),
        Err(_) if host.eq_ignore_ascii_case("localhost") => {
            listener.ip().is_loopback() || listener.ip().is_unspecified()
        }
        Err(_) => false,
    }
}
