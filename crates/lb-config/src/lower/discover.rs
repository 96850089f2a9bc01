//! Where backends are listed that come and go while the gateway runs.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;

use lb_discovery::{
    DnsConfig, DnsQuestion, DockerConfig, EtcdConfig, EtcdUser, FileConfig, Peer, Place, RegistrationConfig,
    Scheme, SourceConfig, UpstreamSources,
};

use super::{Context, tls, url};
use crate::parse::Format;
use crate::tree::NodeId;
use crate::written::root::Root;
use crate::written::upstream::{self as written, Discover};
use crate::written::values::{At, Names, Words};

/// The port of a resolver that names none.
const DNS_PORT: u16 = 53;

/// The sources of every upstream that has any.
pub(super) fn sources(context: &mut Context<'_>, root: &Root) -> Vec<UpstreamSources> {
    let mut all = Vec::new();
    for (name, upstream) in root.upstreams.iter().flat_map(|Names(named)| named) {
        let Some(discover) = &upstream.value.discover else { continue };
        let sources = of_upstream(context, root, name, discover);
        all.push(UpstreamSources { upstream: name.clone(), sources });
    }
    all
}

fn of_upstream(
    context: &mut Context<'_>,
    root: &Root,
    upstream: &str,
    written: &At<Discover>,
) -> Vec<SourceConfig> {
    let discover = &written.value;
    check_places(context, written);
    let mut places = Vec::new();
    places.extend(discover.file.as_ref().and_then(|path| file(context, path)));
    let questions = [
        discover.dns.as_ref().and_then(|name| addresses(context, name)),
        discover.dns_srv.as_ref().and_then(|name| service(context, name)),
    ];
    for question in questions.into_iter().flatten() {
        places.extend(dns(context, discover, question).map(Place::Dns));
    }
    places.extend(discover.etcd.as_ref().and_then(|urls| etcd(context, discover, urls)));
    places.extend(discover.docker.as_ref().and_then(|socket| docker(context, socket, upstream)));
    if let Some(api) = discover.api.as_ref().filter(|api| api.value) {
        if root.admin.is_none() {
            context
                .error(api.id, "backends would register at the admin address, and there is none", "without `[admin]`")
                .help("add `[admin]` with `address = \"127.0.0.1:8081\"`, and a `token` where others are to reach it");
        }
        places.push(Place::Registration(RegistrationConfig {}));
    }
    let max_members = match &discover.max_members {
        None => Some(SourceConfig::MAX_MEMBERS),
        Some(count) => context
            .at_least_one(count, "leave the key out for 10000")
            .and_then(|count| NonZeroUsize::new(count.get() as usize)),
    };
    let keep = discover.keep.as_ref().map_or(SourceConfig::KEEP, |time| time.value.0);
    let Some(max_members) = max_members else { return Vec::new() };
    places.into_iter().map(|place| SourceConfig { place, max_members, keep }).collect()
}

/// A place must be named, and what belongs to a kind of place needs one of that kind.
fn check_places(context: &mut Context<'_>, written: &At<Discover>) {
    let Discover {
        file,
        dns,
        dns_srv,
        etcd,
        docker,
        api,
        scheme,
        resolver,
        min_ttl,
        max_ttl,
        prefix,
        tls,
        user,
        password,
        ..
    } = &written.value;
    let places = ["file", "dns", "dns_srv", "etcd", "docker"];
    let is_named = file.is_some()
        || dns.is_some()
        || dns_srv.is_some()
        || etcd.is_some()
        || docker.is_some()
        || api.as_ref().is_some_and(|api| api.value);
    // One that could not be read is not missing.
    let is_written = places.iter().any(|key| context.tree.has(written.id, key));
    if !is_named && !is_written {
        context
            .error_at_key(written.id, "`discover` names no place where backends are listed", "no place")
            .help("add `file = \"backends.yaml\"`, `dns = \"app.internal:8080\"`, `dns_srv = \"_http._tcp.app.internal\"`, `etcd = \"http://127.0.0.1:2379\"`, `docker = \"/var/run/docker.sock\"` or `api = true`");
    }
    let of_etcd = [
        ("prefix", prefix.as_ref().map(|at| at.id)),
        ("tls", tls.as_ref().map(|at| at.id)),
        ("user", user.as_ref().map(|at| at.id)),
        ("password", password.as_ref().map(|at| at.id)),
    ];
    if etcd.is_none() && !context.tree.has(written.id, "etcd") {
        for (key, id) in of_etcd.into_iter().filter_map(|(key, id)| Some((key, id?))) {
            context
                .error_at_key(id, format!("`{key}` is for `etcd`, and there is none"), "for nothing")
                .help(format!(
                    "add `etcd`, or remove it{}",
                    if key == "tls" { "; TLS to backends is the upstream's `tls`" } else { "" }
                ));
        }
    }
    let of_dns = [
        ("scheme", scheme.as_ref().map(|at| at.id)),
        ("resolver", resolver.as_ref().map(|at| at.id)),
        ("min_ttl", min_ttl.as_ref().map(|at| at.id)),
        ("max_ttl", max_ttl.as_ref().map(|at| at.id)),
    ];
    if dns.is_none()
        && dns_srv.is_none()
        && !["dns", "dns_srv"].iter().any(|key| context.tree.has(written.id, key))
    {
        for (key, id) in of_dns.into_iter().filter_map(|(key, id)| Some((key, id?))) {
            context
                .error_at_key(
                    id,
                    format!("`{key}` is for `dns` and `dns_srv`, and there is neither"),
                    "for nothing",
                )
                .help("add one of them, or remove it");
        }
    }
}

/// Members of etcd's cluster, and what the keys begin with.
fn etcd(context: &mut Context<'_>, discover: &Discover, urls: &At<Words>) -> Option<Place> {
    let mut peers = Vec::new();
    for text in &urls.value.0 {
        let parsed = url::parse(text).ok().filter(|url| !url.raw && url.base_path.is_empty());
        let Some(url) = parsed else {
            let message = format!("{} is not the URL of an etcd", context.quote(urls.id));
            context
                .error(urls.id, message, "not a URL")
                .help("write `etcd = \"http://127.0.0.1:2379\"`, or a list of those");
            return None;
        };
        let tls = tls::called(context, urls.id, (&url.host, url.secure), discover.tls.as_ref()).ok()?;
        peers.push(Peer::Tcp { authority: authority(&url.host, url.port), tls });
    }
    let prefix = discover.prefix.as_ref().filter(|prefix| !prefix.value.is_empty());
    if prefix.is_none() || peers.is_empty() {
        let place = discover.prefix.as_ref().map_or(urls.id, |prefix| prefix.id);
        context
            .error(place, "every key of etcd would be taken for a backend", "no `prefix`")
            .help("add `prefix = \"/services/app/\"`, which the keys of backends begin with");
        return None;
    }
    let user = match (&discover.user, &discover.password) {
        (None, None) => None,
        (Some(name), Some(password)) if !name.value.is_empty() => {
            Some(EtcdUser { name: name.value.clone(), password: password.value.clone() })
        }
        (name, password) => {
            let id = name.as_ref().or(password.as_ref()).map_or(urls.id, |at| at.id);
            context
                .error(id, "a user of etcd has a name and a password", "one is missing")
                .help("add `user = \"gatewayd\"` and `password = \"file:/run/secrets/etcd\"`");
            return None;
        }
    };
    Some(Place::Etcd(EtcdConfig { peers, prefix: prefix?.value.clone(), user }))
}

fn docker(context: &mut Context<'_>, written: &At<String>, upstream: &str) -> Option<Place> {
    let text = written.value.as_str();
    let path = text.strip_prefix("unix://").unwrap_or(text);
    let peer = match url::parse(&text.replacen("tcp://", "http://", 1)) {
        _ if path.starts_with('/') => Some(Peer::Unix(path.into())),
        Ok(url) if text.contains("://") && !url.secure && !url.raw && url.base_path.is_empty() => {
            Some(Peer::Tcp { authority: authority(&url.host, url.port), tls: None })
        }
        _ => None,
    };
    let Some(peer) = peer else {
        let message = format!("{} is not where Docker listens", context.quote(written.id));
        context
            .error(written.id, message, "neither a socket nor a URL")
            .help("write `docker = \"/var/run/docker.sock\"`, or a URL such as \"http://127.0.0.1:2375\"");
        return None;
    };
    Some(Place::Docker(DockerConfig { peer, upstream: upstream.to_owned() }))
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn file(context: &mut Context<'_>, path: &At<String>) -> Option<Place> {
    let full = context.directory.join(&path.value);
    if Format::from_path(&full).is_none() {
        let message = format!("the format of {} is told by its ending", context.quote(path.id));
        context.error(path.id, message, "not a known ending").help("name it .toml, .yaml, .yml or .json");
        return None;
    }
    Some(Place::File(FileConfig { path: full }))
}

fn dns(context: &mut Context<'_>, discover: &Discover, question: DnsQuestion) -> Option<DnsConfig> {
    let resolver = match &discover.resolver {
        None => None,
        Some(written) => Some(resolver(context, written)?),
    };
    let min_ttl = discover.min_ttl.as_ref().map_or(DnsConfig::MIN_TTL, |time| time.value.0);
    let max_ttl = discover.max_ttl.as_ref().map_or(DnsConfig::MAX_TTL.max(min_ttl), |time| time.value.0);
    if let Some(written) = discover.max_ttl.as_ref().filter(|_| max_ttl < min_ttl) {
        let message = format!("`max_ttl` is less than `min_ttl` ({min_ttl:?})");
        let first = discover.min_ttl.as_ref().and_then(|time| context.value_place(time.id));
        context
            .error(written.id, message, "less")
            .also(first, "than this")
            .help("raise it, or lower `min_ttl`");
        return None;
    }
    let scheme = match discover.scheme.as_ref().map(|scheme| scheme.value) {
        None | Some(written::Scheme::Http) => Scheme::Http,
        Some(written::Scheme::Https) => Scheme::Https,
        Some(written::Scheme::Tcp) => Scheme::Tcp,
        Some(written::Scheme::Tls) => Scheme::Tls,
    };
    Some(DnsConfig { question, scheme, resolver, min_ttl, max_ttl })
}

fn resolver(context: &mut Context<'_>, written: &At<String>) -> Option<SocketAddr> {
    let text = written.value.as_str();
    let alone = |address: IpAddr| SocketAddr::new(address, DNS_PORT);
    let address = text.parse().ok().or_else(|| text.parse().ok().map(alone));
    if address.is_none() {
        let message = format!("{} is not the address of a resolver", context.quote(written.id));
        context
            .error(written.id, message, "not an address")
            .help("write an address such as \"127.0.0.1:53\"; its port is 53 where none is written");
    }
    address
}

/// `app.internal:8080`
fn addresses(context: &mut Context<'_>, written: &At<String>) -> Option<DnsQuestion> {
    let parsed = url::parse(&written.value).ok().filter(|url| url.base_path.is_empty());
    let has_port = written.value.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let is_name = |host: &str| host.parse::<IpAddr>().is_err();
    match parsed {
        Some(url) if has_port && is_name(&url.host) && !written.value.contains("://") => {
            Some(DnsQuestion::Addresses { host: url.host, port: url.port })
        }
        _ => {
            let message = format!("{} is not a name and a port", context.quote(written.id));
            refuse_name(
                context,
                written.id,
                message,
                "write `dns = \"app.internal:8080\"`; what is reached by TLS has `scheme = \"https\"` beside it",
            );
            None
        }
    }
}

/// `_http._tcp.app.internal`
fn service(context: &mut Context<'_>, written: &At<String>) -> Option<DnsQuestion> {
    let name = written.value.trim_end_matches('.');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        let message = format!("{} is not the name of a service", context.quote(written.id));
        refuse_name(
            context,
            written.id,
            message,
            "write `dns_srv = \"_http._tcp.app.internal\"`; its ports are in its records",
        );
        return None;
    }
    Some(DnsQuestion::Service(written.value.clone()))
}

fn refuse_name(context: &mut Context<'_>, id: NodeId, message: String, help: &str) {
    context.error(id, message, "not a name").help(help);
}
