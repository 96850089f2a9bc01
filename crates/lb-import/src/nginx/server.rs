//! `server` blocks: listeners, certificates, and which rules come first.

use std::collections::BTreeMap;

use toml::Value;

use super::location::Draft;
use super::settings::Settings;
use super::syntax::Directive;
use super::{Translation, at, time};
use crate::document::{Table, list, slug, table};
use crate::report::Report;

/// The servers of a configuration.
#[derive(Default)]
pub(super) struct Servers(Vec<Server>);

/// A `server` block.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) names: Vec<String>,
    name_place: Option<Directive>,
    listens: Vec<Listen>,
    is_default: bool,
    pub(super) block: Directive,
}

#[derive(Clone)]
struct Listen {
    address: String,
    is_secure: bool,
    takes_preamble: bool,
    directive: Directive,
}

/// How specific a host is: what nginx looks at first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Exact,
    /// The longer, the earlier.
    Wildcard(std::cmp::Reverse<usize>),
    Default,
}

impl Servers {
    pub(super) fn learn(&mut self, block: &Directive, report: &mut Report) {
        let mut server = Server {
            names: Vec::new(),
            name_place: None,
            listens: Vec::new(),
            is_default: false,
            block: block.clone(),
        };
        for directive in block.children() {
            match directive.name() {
                "listen" => server.listen(directive, report),
                "server_name" => server.name(directive, report),
                _ => {}
            }
        }
        if server.listens.is_empty() {
            let (address, directive) = ("0.0.0.0:80".to_owned(), block.clone());
            server.listens.push(Listen { address, is_secure: false, takes_preamble: false, directive });
        }
        self.0.push(server);
    }

    pub(super) fn write(mut self, translation: &mut Translation, settings: &Settings) {
        let default = self.0.iter().position(|server| server.is_default).unwrap_or(0);
        self.listeners(translation, settings);
        self.without_upgrades(translation, default);
        let is_alone = self.0.len() == 1;
        let mut groups: Vec<(Rank, Vec<String>, String, Draft)> = Vec::new();
        for (place, server) in self.0.iter().enumerate() {
            if !is_alone && place != default && server.names.is_empty() {
                let note = "no rule: nothing leads to its server, of whose names no host pattern says any";
                translation.leave_out_rest(server.block.children(), note);
                continue;
            }
            let drafts = translation.server(server, settings);
            let label = server.names.first().map_or_else(|| "default".to_owned(), |name| slug(name));
            let mut hosts: Vec<(Rank, Vec<String>)> = Vec::new();
            let is_default = place == default;
            if !is_alone {
                let (wild, exact): (Vec<_>, Vec<_>) =
                    server.names.iter().cloned().partition(|name| name.starts_with("*."));
                // The default server's own names need rules of their own only where a wildcard could take them.
                let has_wildcards =
                    self.0.iter().any(|server| server.names.iter().any(|name| name.starts_with("*.")));
                if !exact.is_empty() && (!is_default || has_wildcards) {
                    hosts.push((Rank::Exact, exact));
                }
                for name in wild {
                    hosts.push((Rank::Wildcard(std::cmp::Reverse(name.len())), vec![name]));
                }
            }
            if is_default {
                hosts.push((Rank::Default, Vec::new()));
            }
            for (rank, hosts) in hosts {
                let drafts = drafts.iter().filter(|draft| !(is_alone && draft.is_beside_others));
                groups.extend(drafts.map(|draft| (rank, hosts.clone(), label.clone(), draft.clone())));
            }
        }
        groups.sort_by_key(|(rank, ..)| *rank);
        for (_, hosts, label, Draft { mut rule, name, hosts: own, .. }) in groups {
            let hosts = own.unwrap_or(hosts);
            if !hosts.is_empty() {
                rule.set("hosts", list(hosts));
            }
            translation.document.add_rule(rule, &format!("{label}-{name}"));
        }
    }

    /// Servers that only send clients from http to https of the same name: rules are for every listener, so they would take the
    /// requests of the other server, too.
    fn without_upgrades(&mut self, translation: &mut Translation, default: usize) {
        let all = self.0.clone();
        let default = all.get(default).map(|server| server.block.place.clone());
        let mut kept = Vec::new();
        for server in self.0.drain(..) {
            let others = || all.iter().filter(|other| other.block.place != server.block.place);
            let is_shared = |name: &String| others().any(|other| other.names.contains(name));
            let conditions = || server.block.children().iter().filter(|it| it.name() == "if");
            let inner = conditions().flat_map(Directive::children);
            let mut returns = server.block.children().iter().chain(inner).filter(|it| it.name() == "return");
            let upgrade = returns.find(|it| is_upgrade(it));
            let serves_all = server.names.is_empty() && others().next().is_some();
            match upgrade {
                Some(directive) if serves_all || server.names.iter().any(is_shared) => {
                    let note = "rules hold for every listener: http is served like https and not sent there";
                    translation.report.leave_out(&directive.place, note);
                    let rest = ["location", "return", "if"];
                    for other in server.block.children().iter().filter(|it| rest.contains(&it.name())) {
                        if other.place != directive.place {
                            translation.report.leave_out(&other.place, "see its server's return");
                        }
                    }
                }
                _ => {
                    if let Some(place) = &server.name_place
                        && server.names.iter().any(is_shared)
                    {
                        let note = "another server has this name at another address; rules hold for every listener, the first is taken";
                        translation.report.approximated(&place.place, note);
                    }
                    kept.push(server);
                }
            }
        }
        for server in &mut kept {
            server.is_default = Some(&server.block.place) == default.as_ref();
        }
        // The default may have gone: whoever is first stands in for it.
        if let Some(first) = kept.first_mut().filter(|_| default.is_some()) {
            first.is_default = true;
        }
        self.0 = kept;
    }

    fn listeners(&self, translation: &mut Translation, settings: &Settings) {
        let mut listeners: BTreeMap<String, (Table, Vec<Value>)> = BTreeMap::new();
        let all: Vec<&str> = self.0.iter().flat_map(|it| &it.listens).map(|it| it.address.as_str()).collect();
        for server in &self.0 {
            for listen in &server.listens {
                let place = &listen.directive.place;
                // A socket for every IPv6 address is one for every IPv4 address, too.
                if let Some(port) = listen.address.strip_prefix("0.0.0.0:")
                    && all.contains(&format!("[::]:{port}").as_str())
                {
                    translation.report.converted(place, format!("[::]:{port} is for both families"));
                    continue;
                }
                let entry = listeners.entry(listen.address.clone()).or_insert_with(|| {
                    let mut listener = Table::new("[[listeners]]", at(&listen.directive));
                    listener.set("name", slug(&listen.address));
                    listener.set("address", listen.address.as_str());
                    (listener, Vec::new())
                });
                if listen.takes_preamble {
                    entry.0.set("proxy_protocol", true);
                }
                translation.listener(server, listen, entry);
            }
        }
        for (address, (listener, _)) in &mut listeners {
            let here = self.0.iter().filter(|server| server.listens.iter().any(|it| it.address == *address));
            let said: Vec<Option<Directive>> = here
                .map(|server| {
                    let own: Vec<&Directive> =
                        server.block.children().iter().filter(|it| it.name() == "limit_conn").collect();
                    let all = if own.is_empty() { settings.limits.iter().collect() } else { own };
                    all.into_iter().find(|it| translation.counts_addresses(it)).cloned()
                })
                .collect();
            translation.limit_addresses(listener, &said);
        }
        for (mut listener, certificates) in listeners.into_values() {
            if let Some((Value::Table(first), more)) = certificates.split_first() {
                let mut tls = match listener.get("tls") {
                    Some(Value::Table(tls)) => tls.clone(),
                    _ => toml::Table::new(),
                };
                tls.extend(first.clone());
                if !more.is_empty() {
                    tls.insert("certificates".to_owned(), Value::Array(more.to_vec()));
                }
                listener.set("tls", tls);
            }
            translation.document.listeners.push(listener);
        }
    }
}

impl Server {
    /// The same with these names alone.
    pub(super) fn named(&self, names: Vec<String>) -> Self {
        Self { names, ..self.clone() }
    }

    fn listen(&mut self, directive: &Directive, report: &mut Report) {
        let address = directive.argument();
        let address = match address {
            _ if address.starts_with("unix:") => {
                return report.leave_out(&directive.place, "there are no Unix sockets");
            }
            _ if address.bytes().all(|byte| byte.is_ascii_digit()) => format!("0.0.0.0:{address}"),
            _ if address.ends_with(']') || !address.contains(':') => format!("{address}:80"),
            _ => address.replace("*:", "0.0.0.0:").replace("localhost:", "127.0.0.1:"),
        };
        let address = if address == "*:80" { "0.0.0.0:80".to_owned() } else { address };
        if address.parse::<std::net::SocketAddr>().is_err() {
            return report.leave_out(&directive.place, "a listener's address is an IP address and a port");
        }
        let has = |word: &str| directive.arguments().iter().any(|option| option == word);
        self.is_default |= has("default_server") || has("default");
        report.converted(&directive.place, format!("a listener at {address}"));
        self.listens.push(Listen {
            address,
            is_secure: has("ssl"),
            takes_preamble: has("proxy_protocol"),
            directive: directive.clone(),
        });
    }

    fn name(&mut self, directive: &Directive, report: &mut Report) {
        let mut odd = Vec::new();
        for name in directive.arguments() {
            match name.as_str() {
                "_" | "" | "localhost" if name != "localhost" => {}
                // All below it, and itself.
                _ if name.starts_with('.') => {
                    self.names.push(name.trim_start_matches('.').to_owned());
                    self.names.push(format!("*{name}"));
                }
                _ if name.starts_with('~') || name.ends_with(".*") || name.contains('$') => {
                    odd.push(name.as_str());
                }
                _ => self.names.push(name.clone()),
            }
        }
        self.name_place = Some(directive.clone());
        match odd.is_empty() {
            true => report.converted(&directive.place, "hosts of its rules"),
            false => report.leave_out(&directive.place, format!("no host pattern says {}", odd.join(" "))),
        }
    }
}

impl Translation {
    /// Says that nothing comes of a server's directives.
    fn leave_out_rest(&mut self, block: &[Directive], note: &str) {
        for directive in block.iter().filter(|it| !matches!(it.name(), "listen" | "server_name")) {
            self.report.leave_out(&directive.place, note);
            self.leave_out_rest(directive.children(), note);
        }
    }

    /// What a server says of its listeners: certificates, TLS, deadlines.
    fn listener(
        &mut self,
        server: &Server,
        listen: &Listen,
        (listener, certificates): &mut (Table, Vec<Value>),
    ) {
        let find = |name: &str| server.block.children().iter().find(|it| it.name() == name);
        if let Some(directive) = find("keepalive_timeout")
            && let Some(time) = time(directive.argument())
        {
            listener.set("keep_alive_timeout", time);
            self.report.converted(&directive.place, "keep_alive_timeout");
        }
        if !listen.is_secure {
            return;
        }
        match (find("ssl_certificate"), find("ssl_certificate_key")) {
            (Some(cert), Some(key)) => {
                let files = [("cert", self.file(cert.argument())), ("key", self.file(key.argument()))];
                let pair = table(files.map(|(name, file)| (name, file.into())));
                if !certificates.contains(&pair) {
                    certificates.push(pair);
                }
                self.report.converted(&cert.place, "tls.cert");
                self.report.converted(&key.place, "tls.key");
            }
            _ => {
                let note = "it has no ssl_certificate of its own; the listener's others are shown";
                self.report.approximated(&listen.directive.place, note);
            }
        }
        if let Some(directive) = find("ssl_protocols") {
            let has = |version: &str| directive.arguments().iter().any(|it| it == version);
            let version = if has("TLSv1.2") || !has("TLSv1.3") { "1.2" } else { "1.3" };
            listener.set_tls("min_version", version.into());
            let is_old = has("TLSv1") || has("TLSv1.1") || has("SSLv3");
            match is_old {
                true => self.report.approximated(&directive.place, "nothing before TLS 1.2 is spoken"),
                false => self.report.converted(&directive.place, format!("tls.min_version = {version}")),
            }
        }
        if let Some(directive) = find("ssl_ciphers") {
            self.report.approximated(&directive.place, "the gateway's own: only ciphers that are good");
        }
        if let Some(verify) = find("ssl_verify_client").filter(|it| it.argument() != "off") {
            let mode = if verify.argument() == "on" { "required" } else { "optional" };
            let ca = find("ssl_client_certificate").or_else(|| find("ssl_trusted_certificate"));
            let Some(ca) = ca else {
                return self.report.leave_out(&verify.place, "it has no ssl_client_certificate");
            };
            let file = self.file(ca.argument());
            listener.set_tls("client_auth", table([("ca", file.into()), ("mode", mode.into())]));
            self.report.converted(&verify.place, "tls.client_auth");
            self.report.converted(&ca.place, "tls.client_auth.ca");
        }
    }
}

impl Table {
    fn set_tls(&mut self, name: &str, value: Value) {
        let mut tls = match self.get("tls") {
            Some(Value::Table(tls)) => tls.clone(),
            _ => toml::Table::new(),
        };
        tls.insert(name.to_owned(), value);
        self.set("tls", tls);
    }
}

/// Whether a `return` sends a client to https of the host that it asked for.
fn is_upgrade(directive: &Directive) -> bool {
    let target = directive.arguments().last().map_or("", String::as_str);
    target.starts_with("https://$")
}
