//! TCP listeners: where their connections go, and which keys belong to them alone, or to the others alone.

use lb_http::config::{ListenerTls, TcpConfig, TcpTarget, TcpTimeouts};
use lb_router::HostPattern;

use super::upstream::Upstreams;
use super::{Context, rule};
use crate::tree::NodeId;
use crate::written::listener::{Listener, Protocol, Sni};
use crate::written::root::Root;
use crate::written::values::{At, List, Time};

/// Keys of listeners that speak HTTP.
const OF_HTTP: &[&str] = &[
    "status_endpoints",
    "max_header_size",
    "max_headers",
    "header_timeout",
    "keep_alive_timeout",
    "http2",
    "forward_proxy",
    "http3",
];
/// Keys of listeners that do not.
const OF_TCP: &[&str] = &["upstream", "sni", "idle_timeout", "connect_timeout", "hello_timeout"];

/// Whether a listener is one.
pub(super) fn is_tcp(listener: &Listener) -> bool {
    listener.protocol == Some(Protocol::Tcp)
}

/// Whether connections of TCP listeners alone lead to an upstream.
pub(super) fn is_alone_with(root: &Root, upstream: &str) -> bool {
    let names = |name: &Option<At<String>>| name.as_ref().is_some_and(|name| name.value == upstream);
    let listeners = root.listeners.iter().flat_map(List::iter).map(|listener| &listener.value);
    let mut listeners = listeners.filter(|listener| is_tcp(listener));
    let leads_here = |listener: &Listener| {
        let by_name = listener.sni.iter().flat_map(|sni| sni.value.iter());
        names(&listener.upstream) || by_name.into_iter().any(|sni| names(&sni.value.upstream))
    };
    let mut rules = root.rules.iter().flat_map(List::iter).map(|rule| &rule.value);
    listeners.any(leads_here)
        && !rules.any(|rule| {
            let mut arms = rule.split.iter().flat_map(|split| split.value.iter());
            names(&rule.upstream) || arms.any(|arm| names(&arm.value.upstream))
        })
}

/// What a listener is told beside its address; `None` for one that speaks HTTP, or where it is wrong.
pub(super) fn lower(
    context: &mut Context<'_>,
    root: &Root,
    listener: &At<Listener>,
    upstreams: &Upstreams,
) -> Option<TcpConfig> {
    let table = &listener.value;
    if !is_tcp(table) {
        // One whose protocol could not be read is of neither kind.
        if table.protocol.is_some() || !context.tree.has(listener.id, "protocol") {
            refuse(context, listener.id, OF_TCP, "only a TCP listener has this key", |key| match key {
                "upstream" => "write `protocol = \"tcp\"`, or name the upstream in a rule",
                _ => "write `protocol = \"tcp\"`, or remove it; rules have timeouts of their own",
            });
        }
        return None;
    }
    let message = "a TCP listener passes connections on as they are, and has no use for this key";
    refuse(context, listener.id, OF_HTTP, message, |_| "remove it, or write `protocol = \"http\"`");
    let default = table.upstream.as_ref().map(|written| target(context, upstreams, written));
    let names = table.sni.as_ref().map(|sni| names(context, sni, upstreams));
    if default.is_none()
        && names.is_none()
        && !["upstream", "sni"].iter().any(|key| context.tree.has(listener.id, key))
    {
        context
            .error(listener.id, "a TCP listener does not say where its connections go", "no `upstream`")
            .help("add `upstream = \"NAME\"`");
    }
    let usual = TcpTimeouts::default();
    let time = |own: Option<Time>, root: Option<Time>, usual| own.or(root).map_or(usual, |time| time.0);
    Some(TcpConfig {
        default: match default {
            Some(default) => Some(default?),
            None => None,
        },
        names: names.unwrap_or_default(),
        timeouts: TcpTimeouts {
            total: time(None, root.global_timeout, usual.total),
            connect: time(table.connect_timeout, root.connect_timeout, usual.connect),
            idle: time(table.idle_timeout, root.tunnel_timeout, usual.idle),
            hello: time(table.hello_timeout, None, usual.hello),
        },
    })
}

/// TLS that says nothing of what is spoken over it, and to whose subject nobody can be told.
pub(super) fn secured(
    context: &mut Context<'_>,
    listener: &At<Listener>,
    mut tls: ListenerTls,
) -> ListenerTls {
    tls.options.alpn.clear();
    if tls.subject_header.is_some() {
        context
            .error(
                listener.value.tls.as_ref().map_or(listener.id, |tls| tls.id),
                "a TCP listener cannot tell backends the subject of a certificate: there are no headers",
                "`subject_header`",
            )
            .help("remove `subject_header`; the certificate is asked for all the same");
    }
    tls
}

fn refuse(
    context: &mut Context<'_>,
    listener: NodeId,
    keys: &[&'static str],
    message: &str,
    help: impl Fn(&str) -> &'static str,
) {
    for key in keys {
        if let Some(id) = context.tree.child(listener, key) {
            context.error_at_key(id, message, "not here").help(help(key));
        }
    }
}

/// An upstream that takes whatever comes.
fn target(context: &mut Context<'_>, upstreams: &Upstreams, written: &At<String>) -> Option<TcpTarget> {
    let entry = upstreams.entries.get(rule::find(context, upstreams, written)?)?;
    for member in entry.members.iter().filter(|member| !member.url.base_path.is_empty()) {
        let place = context.value_place(member.place);
        let message = format!(
            "backend {} of upstream `{}` has a path, and connections of a TCP listener have none",
            context.quote(member.place),
            entry.name
        );
        context.error(written.id, message, "leads there").also(place, "this one").help("leave the path out");
    }
    Some(TcpTarget {
        upstream: entry.name.clone(),
        retries: super::retries::Meant::default().or(&entry.retries),
    })
}

/// What names lead to.
fn names(
    context: &mut Context<'_>,
    written: &At<List<Sni>>,
    upstreams: &Upstreams,
) -> Vec<(Vec<HostPattern>, TcpTarget)> {
    let mut names = Vec::new();
    for item in written.value.iter() {
        let Sni { hosts, upstream } = &item.value;
        for (key, is_there) in [("hosts", hosts.is_some()), ("upstream", upstream.is_some())] {
            if !is_there && !context.tree.has(item.id, key) {
                context
                    .error(item.id, format!("a part of `sni` has no `{key}`"), format!("no `{key}`"))
                    .help("write `{ hosts = [\"db.example.com\"], upstream = \"NAME\" }`");
            }
        }
        let target = upstream.as_ref().and_then(|written| target(context, upstreams, written));
        let patterns = hosts.as_ref().map(|hosts| patterns(context, hosts)).unwrap_or_default();
        names.extend(target.map(|target| (patterns, target)));
    }
    if written.value.is_empty() {
        context.error(written.id, "`sni` is empty", "an empty list").help("remove it, or name hosts");
    }
    names
}

fn patterns(context: &mut Context<'_>, written: &At<List<String>>) -> Vec<HostPattern> {
    if written.value.is_empty() {
        context.error(written.id, "`hosts` is empty, so nothing would lead there", "an empty list");
    }
    let read = |host: &At<String>| match HostPattern::parse(&host.value) {
        Ok(pattern) => Some(pattern),
        Err(problem) => {
            context.error(host.id, problem.to_string(), "not a host").help(problem.remedy());
            None
        }
    };
    written.value.iter().filter_map(read).collect()
}
