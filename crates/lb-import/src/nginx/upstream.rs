//! `upstream` blocks and the servers that `proxy_pass` names by itself.

use std::collections::HashMap;

use toml::Value;

use super::syntax::Directive;
use super::{at, time};
use crate::document::{Document, Table, backends, slug, table};
use crate::report::Report;

/// Upstreams as they were met; written when a rule first goes there.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    known: HashMap<String, Group>,
    written: HashMap<(String, &'static str), String>,
}

#[derive(Debug, Clone, Default)]
struct Group {
    comment: String,
    servers: Vec<Server>,
    strategy: Option<Value>,
    /// What fits most of its servers, where any says something.
    passive: Option<Passive>,
}

/// `max_fails` and `fail_timeout`.
type Passive = (i64, String);

#[derive(Debug, Clone, Default)]
struct Server {
    address: String,
    keys: Vec<(&'static str, Value)>,
    is_weighted: bool,
    /// Where it has no port of its own, in a group: also behind `https`.
    port: Option<u16>,
}

impl Upstreams {
    pub(super) fn learn(&mut self, directive: &Directive, report: &mut Report) {
        let mut group = Group { comment: at(directive), ..Group::default() };
        for child in directive.children() {
            group.learn(child, report);
        }
        group.learn_passive(directive, report);
        report.converted(&directive.place, format!("upstreams.{}", slug(directive.argument())));
        self.known.insert(directive.argument().to_owned(), group);
    }

    /// Whether this is a group's name.
    pub(super) fn is_group(&self, authority: &str) -> bool {
        self.known.contains_key(authority)
    }

    /// The name of the upstream for what `proxy_pass` names; written when it is first asked for.
    pub(super) fn name(
        &mut self,
        authority: &str,
        scheme: &'static str,
        verifies: bool,
        document: &mut Document,
    ) -> String {
        let wanted = (authority.to_owned(), scheme);
        if let Some(name) = self.written.get(&wanted) {
            return name.clone();
        }
        let direct = || Group {
            servers: vec![Server { address: authority.to_owned(), ..Server::default() }],
            ..Group::default()
        };
        let group = self.known.get(authority).cloned().unwrap_or_else(direct);
        let mut name = slug(authority);
        if scheme == "tcp" {
            name.push_str("-tcp");
        }
        if self.written.values().any(|taken| *taken == name) {
            name = format!("{name}-{scheme}");
        }
        let mut upstream = Table::upstream(&name, group.comment.clone());
        group.write(&mut upstream, scheme);
        if scheme == "https" && !verifies {
            upstream.set("tls", table([("insecure_skip_verify", true.into())]));
        }
        document.upstreams.push(upstream);
        self.written.insert(wanted, name.clone());
        name
    }
}

impl Group {
    fn learn(&mut self, directive: &Directive, report: &mut Report) {
        let place = &directive.place;
        let strategy = |name: &str| Some(Value::from(name));
        match directive.name() {
            "server" => self.server(directive, report),
            "least_conn" => {
                self.strategy = strategy("least_connections");
                report.converted(place, "least_connections");
            }
            "ip_hash" => {
                self.strategy = strategy("ip_hash");
                report.approximated(place, "by the whole address, and clients are spread differently");
            }
            "random" => {
                self.strategy = strategy(if directive.arguments().is_empty() { "random" } else { "p2c" });
                report.converted(place, "by chance");
            }
            "hash" => match hash_key(directive.argument()) {
                Some(key) => {
                    let is_ring = directive.arguments().get(1).is_some_and(|word| word == "consistent");
                    let name = if is_ring { "ring_hash" } else { "rendezvous" };
                    self.strategy = Some(table([("strategy", name.into()), ("key", key.into())]));
                    report.approximated(place, format!("{name}: the same key, spread differently"));
                }
                None => report.leave_out(place, "this key has no counterpart; requests take turns"),
            },
            "keepalive" | "keepalive_requests" | "keepalive_timeout" | "zone" | "keepalive_time" => {
                report.converted(place, "not needed: connections are kept, and state is shared");
            }
            _ => report.leave_out(place, "has no counterpart"),
        }
    }

    fn server(&mut self, directive: &Directive, report: &mut Report) {
        let place = &directive.place;
        let mut server = Server { address: directive.argument().to_owned(), ..Server::default() };
        if server.address.starts_with("unix:") {
            return report.leave_out(place, "there are no Unix sockets");
        }
        let has_port = server.address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        server.port = (!has_port).then_some(80);
        let (mut unknown, mut is_down) = (Vec::new(), false);
        for option in directive.arguments().iter().skip(1) {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match (name, value.parse::<i64>()) {
                ("weight", Ok(weight)) => {
                    server.keys.push(("weight", weight.into()));
                    server.is_weighted = true;
                }
                ("max_conns", Ok(most)) if most > 0 => server.keys.push(("max_connections", most.into())),
                ("backup", _) => server.keys.push(("backup", true.into())),
                ("down", _) => is_down = true,
                // Looked at once all servers are known.
                ("max_fails" | "fail_timeout" | "resolve", _) => {}
                _ => unknown.push(option.as_str()),
            }
        }
        if is_down {
            server.keys.retain(|(key, _)| *key != "weight");
            server.keys.push(("weight", 0.into()));
        }
        match unknown.is_empty() {
            true => report.converted(place, "a backend"),
            false => report.approximated(place, format!("a backend, without {}", unknown.join(" "))),
        }
        self.servers.push(server);
    }

    /// When servers are left alone is said of the upstream here, of each server in nginx: what most of them say is taken.
    fn learn_passive(&mut self, directive: &Directive, report: &mut Report) {
        let servers = directive
            .children()
            .iter()
            .filter(|it| it.name() == "server" && !it.argument().starts_with("unix:"));
        let said: Vec<(&Directive, Option<Passive>)> = servers.map(|it| (it, passive(it))).collect();
        if said.iter().all(|(_, own)| own.is_none()) {
            return;
        }
        let usual = || (1, "10s".to_owned());
        let own: Vec<Passive> = said.iter().map(|(_, own)| own.clone().unwrap_or_else(usual)).collect();
        let count = |one: &Passive| own.iter().filter(|other| *other == one).count();
        // Of those that are as many the first.
        let Some(most) = own.iter().rev().max_by_key(|one| count(one)).cloned() else { return };
        let (fails, time) = &most;
        for ((server, written), own) in said.iter().zip(&own) {
            match (*own == most, written.is_some()) {
                (true, false) => {}
                (true, true) => {
                    let note = "max_fails and fail_timeout are `passive`, for the upstream";
                    report.approximated(&server.place, note);
                }
                (false, _) => {
                    let (own_fails, own_time) = own;
                    let note = format!(
                        "ITS max_fails={own_fails} fail_timeout={own_time} IS LOST: `passive` is the upstream's, here \
                         max_fails={fails} fail_timeout={time} as most have it"
                    );
                    report.approximated(&server.place, note);
                }
            }
        }
        self.passive = Some(most);
    }

    fn write(&self, upstream: &mut Table, scheme: &str) {
        let mut addresses: Vec<&str> = self.servers.iter().map(|server| server.address.as_str()).collect();
        addresses.sort_unstable();
        let is_twice = addresses.windows(2).any(|two| two.first() == two.last());
        let is_weighted = is_twice || self.servers.iter().any(|server| server.is_weighted);
        let weighted = || table([("strategy", "weighted_round_robin".into()), ("order", "smooth".into())]);
        match &self.strategy {
            Some(strategy) => upstream.set("load_balancing", strategy.clone()),
            None if is_weighted => upstream.set("load_balancing", weighted()),
            None => {}
        }
        match &self.passive {
            Some((0, _)) => upstream.set("passive", false),
            Some((fails, ejection)) => upstream.set(
                "passive",
                table([
                    ("consecutive_failures", (*fails).into()),
                    ("ejection_time", ejection.as_str().into()),
                ]),
            ),
            None => {}
        }
        let servers = self.servers.iter().map(|server| {
            let port = server.port.filter(|_| scheme == "https").map(|port| format!(":{port}"));
            let url = Value::from(format!("{scheme}://{}{}", server.address, port.unwrap_or_default()));
            match server.keys.is_empty() {
                true => url,
                false => table([("url", url)].into_iter().chain(server.keys.iter().cloned())),
            }
        });
        upstream.set("backends", backends(servers));
    }
}

/// What a server says of its own.
fn passive(server: &Directive) -> Option<Passive> {
    let option = |name: &str| {
        let mut written = server.arguments().iter().skip(1).filter_map(|it| it.split_once('='));
        written.rfind(|(key, _)| *key == name).map(|(_, value)| value)
    };
    let fails = option("max_fails").and_then(|text| text.parse().ok());
    let written = option("fail_timeout");
    let ejection = written.and_then(time);
    // Out for no time at all is never out.
    let is_never = written.is_some_and(|text| text.starts_with('0')) && ejection.is_none();
    if is_never {
        return Some((0, "0s".to_owned()));
    }
    (fails.is_some() || ejection.is_some())
        .then(|| (fails.unwrap_or(1), ejection.unwrap_or_else(|| "10s".to_owned())))
}

/// The key of a strategy that a variable stands for.
fn hash_key(variable: &str) -> Option<String> {
    Some(match variable {
        "$remote_addr" | "$binary_remote_addr" => "address".to_owned(),
        "$request_uri" | "$uri" => "path".to_owned(),
        _ => {
            let named = |prefix: &str| variable.strip_prefix(prefix).filter(|name| !name.is_empty());
            if let Some(name) = named("$cookie_") {
                format!("cookie:{name}")
            } else if let Some(name) = named("$http_") {
                format!("header:{}", name.replace('_', "-"))
            } else {
                format!("query:{}", named("$arg_")?)
            }
        }
    })
}
