//! Where clients and operators connect, and which peers are believed.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use lb_http::config::{AddressLimit, ClientLimits, ListenerConfig};

use super::upstream::Upstreams;
use super::{Context, forward_proxy, http2, http3, proxied, tcp, tls};
use crate::loaded::{AdminConfig, Secret};
use crate::tree::NodeId;
use crate::written::listener::Listener;
use crate::written::root::{Admin, Root};
use crate::written::values::{At, List};

/// An address that this process will bind, and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) place: Option<NodeId>,
    /// In words, for messages.
    pub(super) what: String,
}

const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8081);

pub(super) fn listeners(
    context: &mut Context<'_>,
    root: &Root,
    trusted: &[IpNet],
    upstreams: &Upstreams,
) -> (Vec<ListenerConfig>, Vec<Bound>) {
    let mut listeners = Vec::new();
    let mut places = Vec::new();
    let mut names = Vec::new();
    let Some(written) = root.listeners.as_ref().filter(|list| !list.is_empty()) else {
        let name = "listener-1".to_owned();
        places.push(Bound { address: DEFAULT_ADDRESS, place: None, what: format!("listener `{name}`") });
        let limits = ClientLimits::default();
        let listener = ListenerConfig {
            name,
            address: DEFAULT_ADDRESS,
            status_endpoints: false,
            limits,
            tls: None,
            proxy_protocol: None,
            tcp: None,
            forward_proxy: None,
        };
        listeners.push(listener);
        return (listeners, places);
    };
    for (index, listener) in written.numbered() {
        let table = &listener.value;
        let (name, name_place) = match &table.name {
            Some(name) => (name.value.clone(), name.id),
            None => (format!("listener-{}", index + 1), listener.id),
        };
        names.push((name.clone(), name_place));
        let is_tcp = tcp::is_tcp(table);
        let tcp = tcp::lower(context, root, listener, upstreams);
        let written = table.address.as_ref().and_then(|written| written.value.trim().parse().ok());
        let own = written.unwrap_or(DEFAULT_ADDRESS).ip();
        // What is wrong with it is an error, and then nothing is of use.
        let mut limits = limits(context, table);
        let speaks_http3 = limits.http3.is_some();
        let tls = table.tls.as_ref().and_then(|tls| tls::listener(context, tls, own, speaks_http3));
        let (address, place) = match &table.address {
            Some(written) => (bindable(context, written, DEFAULT_ADDRESS), Some(written.id)),
            // An address that could not be read is not missing.
            None if context.tree.has(listener.id, "address") => continue,
            None => (Some(DEFAULT_ADDRESS), Some(listener.id)),
        };
        let forward_proxy = forward_proxy::lower(context, root, listener);
        if forward_proxy.is_some() {
            limits.http2 = None;
        }
        let tls = tls.map(|tls| match is_tcp {
            true => tcp::secured(context, listener, tls),
            false => http2::offered(tls, limits.http2.is_some()),
        });
        let Some(address) = address else { continue };
        places.push(Bound { address, place, what: format!("listener `{name}`") });
        let status_endpoints = table.status_endpoints.unwrap_or(false);
        let proxy_protocol =
            table.proxy_protocol.as_ref().and_then(|written| proxied::lower(context, written, trusted));
        listeners.push(ListenerConfig {
            name,
            address,
            status_endpoints,
            limits,
            tls,
            proxy_protocol,
            tcp,
            forward_proxy,
        });
    }
    context.unique("listener", names.iter().map(|(name, place)| (name.as_str(), *place)));
    (listeners, places)
}

fn limits(context: &mut Context<'_>, table: &Listener) -> ClientLimits {
    let default = ClientLimits::default();
    let max_header_bytes = table.max_header_size.as_ref().map_or(default.max_header_bytes, |size| {
        let bytes = usize::try_from(size.value.0).unwrap_or(usize::MAX);
        if !(SMALLEST_HEAD..=LARGEST_HEAD).contains(&bytes) {
            let message = format!(
                "`max_header_size` must lie between 1KiB and 16MiB, and is {}",
                context.quote(size.id)
            );
            context.error(size.id, message, "too small or too large");
        }
        bytes
    });
    let max_headers = table.max_headers.as_ref().map_or(default.max_headers, |count| {
        context
            .at_least_one(count, "a request has at least its Host field")
            .map_or(default.max_headers, |count| count.get() as usize)
    });
    let per_address = table.max_connections_per_address.as_ref().and_then(|count| {
        let connections =
            context.at_least_one(count, "an address needs one connection to be served at all")?;
        // Whoever writes a number means everyone by it.
        Some(AddressLimit { connections, spares_this_machine: false })
    });
    ClientLimits {
        max_header_bytes,
        max_headers,
        header_timeout: table.header_timeout.map_or(default.header_timeout, |time| time.0),
        keep_alive_timeout: table.keep_alive_timeout.map_or(default.keep_alive_timeout, |time| time.0),
        per_address: per_address.unwrap_or(default.per_address),
        http2: http2::limits(context, table.http2.as_ref()),
        http3: http3::limits(context, table),
    }
}

const SMALLEST_HEAD: usize = 1 << 10;
const LARGEST_HEAD: usize = 16 << 20;

pub(super) fn admin(context: &mut Context<'_>, written: &At<Admin>) -> (AdminConfig, Bound) {
    let table = &written.value;
    let address = match &table.address {
        Some(written) => bindable(context, written, DEFAULT_ADMIN).unwrap_or(DEFAULT_ADMIN),
        None => DEFAULT_ADMIN,
    };
    if let Some(token) = table.token.as_ref().filter(|token| token.value.trim().is_empty()) {
        context
            .error(token.id, "the admin token is empty", "empty")
            .help("remove the key to allow writes from this machine alone");
    }
    let token = table.token.as_ref().map(|token| Secret::new(token.value.clone()));
    let tls = table.tls.as_ref().and_then(|tls| {
        let lowered = tls::listener(context, tls, address.ip(), false)?;
        if lowered.subject_header.is_some() {
            context
                .error(
                    tls.id,
                    "nobody is told the subject of a client of the admin address",
                    "`subject_header`",
                )
                .help("remove `subject_header`; the subject stands in the log, with each change");
        }
        Some(lowered)
    });
    let place = Some(table.address.as_ref().map_or(written.id, |address| address.id));
    (AdminConfig { address, token, tls }, Bound { address, place, what: "the admin address".into() })
}

/// An address to bind: numbers only, as loading resolves no name.
fn bindable(context: &mut Context<'_>, written: &At<String>, example: SocketAddr) -> Option<SocketAddr> {
    let text = written.value.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let help = match text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some(("", port)) | Some(("*", port)) => {
            format!(
                "write `0.0.0.0:{port}` for every address of this machine, or `127.0.0.1:{port}` for this machine alone"
            )
        }
        Some(("localhost", port)) => format!("write `127.0.0.1:{port}`"),
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            format!("write `[{host}]:{port}`")
        }
        Some(_) => format!("names are not looked up here: write an address such as `{example}`"),
        None if text.parse::<u16>().is_ok() => format!("write `127.0.0.1:{text}` or `0.0.0.0:{text}`"),
        None if text.parse::<IpAddr>().is_ok() => format!("add a port, as in `{example}`"),
        None if text.contains("://") => format!("leave the scheme out, as in `{example}`"),
        None => format!("write an address and a port, such as `{example}`"),
    };
    let message = format!("{} is not an address to listen on", context.quote(written.id));
    context.error(written.id, message, "not an address with a port").help(help);
    None
}

pub(super) fn trusted_proxies(context: &mut Context<'_>, written: Option<&List<String>>) -> Vec<IpNet> {
    networks(context, written)
}

/// Addresses and networks.
pub(super) fn networks(context: &mut Context<'_>, written: Option<&List<String>>) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for written in written.into_iter().flat_map(List::iter) {
        let text = written.value.trim();
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => {
                let message = format!("{} is neither an address nor a network", context.quote(written.id));
                context
                    .error(written.id, message, "not an address")
                    .help("write `10.0.0.0/8` or `127.0.0.1`");
            }
        }
    }
    networks
}
