//! One member of an upstream.

use std::time::Duration;

use lb_http::config::{BackendConfig, BackendProtocol, ProxyVersion};

use super::tls::{self, Belief};
use super::url::{self, BackendUrl};
use super::{Context, health, http2};
use crate::tree::NodeId;
use crate::written::upstream::{self as written, Backend, Protocol};
use crate::written::values::{At, WordOr};

/// A backend with what later checks need: its place and its parsed URL.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) place: NodeId,
    pub(super) url: BackendUrl,
    pub(super) config: BackendConfig,
    /// `health_check_path` and `health_check_interval`, where they are written.
    pub(super) probe: (Option<String>, Option<Duration>),
}

pub(super) fn member(
    context: &mut Context<'_>,
    written: &At<WordOr<Backend>>,
    belief: Belief<'_>,
) -> Option<Member> {
    let shorthand = Backend::default();
    let (url, table) = match &written.value {
        WordOr::Word(url) => (At { id: written.id, value: url.clone() }, &shorthand),
        WordOr::Table(table) => {
            check(context, table);
            match &table.url {
                Some(url) => (url.clone(), table),
                None => {
                    if !context.tree.has(written.id, "url") {
                        context
                            .error(written.id, "a backend has no `url`", "no `url`")
                            .help("add `url = \"http://10.0.0.1:8080\"`");
                    }
                    return None;
                }
            }
        }
    };
    let weight = weight(context, table.weight.as_ref());
    let max_connections = table.max_connections.as_ref().map(|limit| {
        context.at_least_one(limit, "leave the key out for no limit; `weight = 0` means no new requests")
    });
    let parsed = parse_url(context, &url)?;
    let mut protocol = protocol(context, &parsed, table.protocol.as_ref().or(belief.protocol()));
    let proxy_protocol =
        proxy_protocol(context, protocol, table.proxy_protocol.as_ref().or(belief.proxy_protocol()));
    if protocol == BackendProtocol::Auto && proxy_protocol.is_some() {
        // Its connections speak for one client each.
        protocol = BackendProtocol::Http1;
    }
    let tls = tls::backend(context, url.id, &parsed, table.tls.as_ref(), belief, protocol);
    let speaks_http2 = matches!(protocol, BackendProtocol::Http2 | BackendProtocol::Auto);
    if let Some(own) = table.http2.as_ref().filter(|_| !speaks_http2) {
        http2::unused(context, own);
    }
    let http2 = match &table.http2 {
        Some(own) => http2::to_backends(context, Some(own)),
        None => belief.http2(),
    };
    let config = BackendConfig {
        url: url.value.clone(),
        host: parsed.host.clone(),
        port: parsed.port,
        tls: tls.ok()?,
        base_path: parsed.base_path.clone(),
        weight: weight?,
        max_connections: match max_connections {
            Some(limit) => Some(limit?),
            None => None,
        },
        timeout: table.timeout.map(|time| time.0),
        backup: table.backup.unwrap_or(false),
        protocol,
        http2,
        proxy_protocol,
        health: lb_health::HealthConfig::default(),
    };
    let path = table.health_check_path.as_ref().map(|path| path.value.clone());
    let probe = (path, table.health_check_interval.map(|time| time.0));
    Some(Member { place: url.id, url: parsed, config, probe })
}

/// Which HTTP is spoken with it.
fn protocol(context: &mut Context<'_>, url: &BackendUrl, written: Option<&At<Protocol>>) -> BackendProtocol {
    if url.raw {
        if let Some(written) = written.filter(|written| written.value != Protocol::Auto) {
            context
                .error(
                    written.id,
                    "`protocol` says which HTTP is spoken, and this URL says none",
                    "not for this URL",
                )
                .help("remove it, or write `http://` or `https://`");
        }
        return BackendProtocol::Tcp;
    }
    match written.map(|written| (written.value, written.id, url.secure)) {
        None | Some((Protocol::H1, ..) | (Protocol::Auto, _, false)) => BackendProtocol::Http1,
        Some((Protocol::Auto, _, true)) => BackendProtocol::Auto,
        Some((Protocol::H2, _, true) | (Protocol::H2c, _, false)) => BackendProtocol::Http2,
        Some((Protocol::H2, id, false)) => {
            context
                .error(id, "`protocol = \"h2\"` is HTTP/2 by TLS, and this URL is `http`", "not for this URL")
                .help("write `https://`, or \"h2c\" for HTTP/2 in the clear");
            BackendProtocol::Http2
        }
        Some((Protocol::H2c, id, true)) => {
            context
                .error(
                    id,
                    "`protocol = \"h2c\"` is HTTP/2 in the clear, and this URL is `https`",
                    "not for this URL",
                )
                .help("write \"h2\" for HTTP/2 by TLS");
            BackendProtocol::Http2
        }
    }
}

/// How connections to it begin.
pub(super) fn proxy_protocol(
    context: &mut Context<'_>,
    protocol: BackendProtocol,
    written: Option<&At<written::ProxyVersion>>,
) -> Option<ProxyVersion> {
    let written = written?;
    let version = match written.value {
        written::ProxyVersion::V1 => ProxyVersion::V1,
        written::ProxyVersion::V2 => ProxyVersion::V2,
        written::ProxyVersion::None => return None,
    };
    if protocol == BackendProtocol::Http2 {
        context
            .error(
                written.id,
                "the PROXY protocol names one client for a connection, and over HTTP/2 many clients share one",
                "not with this `protocol`",
            )
            .help("remove it, or `protocol`; backends are told the client in X-Forwarded-For, too");
    }
    Some(version)
}

fn parse_url(context: &mut Context<'_>, url: &At<String>) -> Option<BackendUrl> {
    url::parse(&url.value)
        .map_err(|error| {
            let excerpt = context.part_place(url.id, error.range);
            context
                .error_in(url.id, excerpt, format!("{}: {}", error.message, context.quote(url.id)), "here")
                .help(error.help);
        })
        .ok()
}

/// Zero is allowed: no new requests.
pub(super) fn weight(context: &mut Context<'_>, written: Option<&At<f64>>) -> Option<f64> {
    let Some(weight) = written else { return Some(1.0) };
    if weight.value.is_finite() && weight.value >= 0.0 {
        return Some(weight.value);
    }
    let message = format!("a weight cannot be {}", context.quote(weight.id));
    context
        .error(weight.id, message, "not a weight")
        .help("weights are numbers from 0; 0 means no new requests, and 2 twice the share of 1");
    None
}

fn check(context: &mut Context<'_>, table: &Backend) {
    health::check_path(context, table.health_check_path.as_ref());
}
