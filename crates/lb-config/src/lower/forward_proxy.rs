//! Listeners that connect their clients to other servers.

use std::ops::RangeInclusive;

use lb_http::config::{ForwardProxyConfig, ForwardProxyUser, Timeouts};
use lb_router::HostPattern;
use lb_tls::{Password, PasswordError};

use super::{Context, listener, tcp};
use crate::tree::Kind;
use crate::written::listener::{ForwardProxy, Listener, ProxyUser};
use crate::written::root::Root;
use crate::written::values::{At, List, Ports, SwitchOr};

/// What is meant; `None` where it is off, or not for this listener.
pub(super) fn lower(
    context: &mut Context<'_>,
    root: &Root,
    listener: &At<Listener>,
) -> Option<ForwardProxyConfig> {
    let written = listener.value.forward_proxy.as_ref()?;
    let table = &written.value;
    let config = ForwardProxyConfig {
        allow_hosts: hosts(context, table.allow_hosts.as_ref()),
        deny_hosts: hosts(context, table.deny_hosts.as_ref()),
        allow_ports: match &table.allow_ports {
            Some(written) => ports(Some(written)),
            None => ForwardProxyConfig::PORTS.to_vec(),
        },
        deny_ports: ports(table.deny_ports.as_ref()),
        allow_networks: listener::networks(context, table.allow_networks.as_ref()),
        deny_networks: listener::networks(context, table.deny_networks.as_ref()),
        users: users(context, table.users.as_ref()),
        max_connections: table
            .max_connections
            .as_ref()
            .and_then(|count| context.at_least_one(count, "`enabled = false` turns it off"))
            .unwrap_or(ForwardProxyConfig::MAX_CONNECTIONS),
        timeouts: timeouts(root, table),
    };
    if table.enabled == Some(false) || tcp::is_tcp(&listener.value) {
        // A TCP listener has been told already.
        return None;
    }
    check(context, listener, written, &config);
    Some(config)
}

/// Whether a listener is one, for a configuration that may have no rule then.
pub(super) fn is_on(listener: &Listener) -> bool {
    listener.forward_proxy.as_ref().is_some_and(|table| table.value.enabled != Some(false))
}

fn check(
    context: &mut Context<'_>,
    listener: &At<Listener>,
    written: &At<ForwardProxy>,
    config: &ForwardProxyConfig,
) {
    if let Some(http2) = &listener.value.http2
        && !matches!(&http2.value, SwitchOr::Switch(false))
    {
        let place = context.key_place(written.id);
        context
            .error_at_key(
                http2.id,
                "a forward proxy speaks HTTP/1.1 with its clients",
                "not beside `forward_proxy`",
            )
            .also(place, "this one")
            .help("remove `http2`");
    }
    let address = listener.value.address.as_ref().and_then(|at| at.value.trim().parse().ok());
    let is_near = address.is_none_or(|address: std::net::SocketAddr| address.ip().is_loopback());
    if !is_near && config.users.is_empty() && config.allow_hosts.is_empty() {
        context
            .warning_at_key(
                written.id,
                "whoever reaches this listener can have it connect to any public server",
                "neither `users` nor `allow_hosts`",
            )
            .help("name `users`, or the hosts that are meant by `allow_hosts`");
    }
}

fn hosts(context: &mut Context<'_>, written: Option<&List<String>>) -> Vec<HostPattern> {
    let mut patterns = Vec::new();
    for host in written.into_iter().flat_map(List::iter) {
        match ForwardProxyConfig::host(&host.value) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => {
                context.error(host.id, problem.to_string(), "not a host").help(problem.remedy());
            }
        }
    }
    patterns
}

fn ports(written: Option<&List<Ports>>) -> Vec<RangeInclusive<u16>> {
    written.into_iter().flat_map(List::iter).map(|ports| ports.value.0.clone()).collect()
}

fn users(context: &mut Context<'_>, written: Option<&List<ProxyUser>>) -> Vec<ForwardProxyUser> {
    let mut users = Vec::new();
    for user in written.into_iter().flat_map(List::iter) {
        let ProxyUser { name, password } = &user.value;
        for (key, is_there) in [("name", name.is_some()), ("password", password.is_some())] {
            if !is_there && !context.tree.has(user.id, key) {
                context
                    .error(user.id, format!("a user has no `{key}`"), format!("no `{key}`"))
                    .help("write `{ name = \"alice\", password = \"file:PATH\" }`");
            }
        }
        let (Some(name), Some(password)) = (name, password) else { continue };
        if name.value.is_empty() || name.value.contains(':') || name.value.chars().any(char::is_control) {
            context
                .error(
                    name.id,
                    format!("{} cannot be the name of a user", context.quote(name.id)),
                    "not a name",
                )
                .help("names are not empty, and have neither colons nor control characters");
        }
        if let Some(password) = self::password(context, password) {
            users.push(ForwardProxyUser { name: name.value.clone(), password });
        }
    }
    context.unique(
        "user",
        written
            .into_iter()
            .flat_map(List::iter)
            .filter_map(|user| user.value.name.as_ref())
            .map(|name| (name.value.as_str(), name.id)),
    );
    users
}

/// A password that is hashed, or does not stand in the file itself.
fn password(context: &mut Context<'_>, written: &At<String>) -> Option<Password> {
    let text = written.value.trim_end_matches(['\r', '\n']);
    let is_elsewhere = matches!(context.tree.kind(written.id), Kind::Loose { .. });
    match text.parse::<Password>() {
        Ok(password) => {
            if !password.is_slow() {
                context
                    .warning_at_key(
                        written.id,
                        "`sha256:` has no salt and is quickly made: whoever reads it can try billions of passwords a second",
                        "for long random passwords alone",
                    )
                    .help(HOW_TO_HASH);
            }
            Some(password)
        }
        Err(PasswordError::Unknown) if is_elsewhere && !text.is_empty() => {
            Some(Password::of(text.as_bytes()))
        }
        Err(PasswordError::Unknown) => {
            context.error(written.id, "a password stands elsewhere, or is hashed", "neither").help(format!(
                "write \"file:PATH\" or \"${{NAME}}\" for one of the environment, or a hash: {HOW_TO_HASH}"
            ));
            None
        }
        Err(error) => {
            context.error(written.id, error.to_string(), "not a hash").help(HOW_TO_HASH);
            None
        }
    }
}

const HOW_TO_HASH: &str =
    "`htpasswd -nB NAME` and `argon2 \"$(openssl rand -hex 8)\" -id -e` print hashes with a salt";

fn timeouts(root: &Root, table: &ForwardProxy) -> Timeouts {
    let usual = Timeouts::default();
    Timeouts {
        response_head: root.global_timeout.map_or(usual.response_head, |time| time.0),
        connect: table.connect_timeout.or(root.connect_timeout).map_or(usual.connect, |time| time.0),
        idle: root.idle_timeout.map_or(usual.idle, |time| time.0),
        tunnel: table.tunnel_timeout.or(root.tunnel_timeout).map_or(usual.tunnel, |time| time.0),
        min_rate: None,
    }
}
