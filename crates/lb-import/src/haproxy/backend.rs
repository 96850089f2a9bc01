//! `backend` sections, and what of `listen` sections is one.

use std::collections::BTreeMap;

use toml::Value;

use super::syntax::{Line, Section};
use super::{Translation, at, time};
use crate::document::{Table, backends, closed, slug, table};

/// The backends by name; those that rules go to are written.
#[derive(Debug, Default)]
pub(super) struct Backends(BTreeMap<String, Backend>);

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Backend {
    upstream: Table,
    is_used: bool,
    /// Whether it is for connections, and not for requests.
    is_tcp: bool,
    pub(super) timeout: Option<String>,
    pub(super) connect_timeout: Option<String>,
    /// What it does to the heads of its requests.
    pub(super) changes: Vec<Line>,
}

/// What is gathered of its servers.
#[derive(Default)]
struct Servers {
    is_tcp: bool,
    backends: Vec<Value>,
    is_weighted: bool,
    is_checked: bool,
    check: toml::Table,
    /// Of each backend that is reached by TLS.
    tls: Vec<Option<toml::Table>>,
    proxy_protocol: Option<&'static str>,
}

impl Backends {
    pub(super) fn learn(&mut self, section: &Section, defaults: &[Line], translation: &mut Translation) {
        let head = &section.head;
        let is_tcp = section.is_tcp(defaults);
        let mut backend = Backend {
            is_tcp,
            upstream: Table::upstream(&slug(section.name()), at(head)),
            is_used: false,
            timeout: None,
            connect_timeout: None,
            changes: Vec::new(),
        };
        translation.backend(section, defaults, &mut backend);
        self.0.insert(section.name().to_owned(), backend);
    }

    /// The backend of this name, which is written from now on.
    pub(super) fn used(&mut self, name: &str, is_tcp: bool) -> Option<&Backend> {
        let backend = self.0.get_mut(name).filter(|backend| backend.is_tcp == is_tcp)?;
        backend.is_used = true;
        Some(backend)
    }

    pub(super) fn write(self, translation: &mut Translation) {
        let used = self.0.into_values().filter(|backend| backend.is_used);
        translation.document.upstreams.extend(used.map(|backend| backend.upstream));
    }
}

impl Translation {
    fn backend(&mut self, section: &Section, defaults: &[Line], backend: &mut Backend) {
        if section.kind() == "backend" {
            self.report.converted(&section.head.place, format!("upstreams.{}", slug(section.name())));
        }
        let mut servers = Servers { is_tcp: backend.is_tcp, ..Servers::default() };
        let inherited = |line: &&Line| {
            let name = line.name();
            let is_own =
                section.lines.iter().any(|own| own.name() == name && own.argument() == line.argument());
            matches!(name, "timeout" | "retries" | "balance" | "default-server" | "http-check") && !is_own
                || (name == "option" && line.argument() == "httpchk" && !is_own)
        };
        let has_balance = section.lines.iter().any(|line| line.name() == "balance");
        let inherited =
            defaults.iter().filter(inherited).filter(|line| line.name() != "balance" || !has_balance);
        let mut balance = None;
        let mut default_server: &[String] = &[];
        for line in inherited.chain(&section.lines) {
            let place = &line.place;
            match (line.name(), line.argument()) {
                ("balance", _) => balance = Some(line),
                ("default-server", _) => {
                    default_server = line.from(1);
                    self.report.converted(place, "held by its servers");
                }
                ("server", _) => self.server_line(line, default_server, &mut servers),
                ("option", "httpchk") => self.http_check(line, &mut servers),
                ("http-check", "expect") => match line.from(2) {
                    [kind, status] if kind == "status" || kind == "rstatus" => {
                        servers.check.insert("expect".to_owned(), status.replace(',', ", ").as_str().into());
                        self.report.converted(place, "health_check.expect");
                    }
                    _ => self.report.leave_out(place, "health_check.expect knows statuses alone"),
                },
                ("http-check", "send") => self.http_check_send(line, &mut servers),
                ("timeout", "server") => {
                    backend.timeout = time(line.word(2));
                    self.report.approximated(place, "timeout: until the response head, over all tries");
                }
                ("timeout", "connect") => {
                    backend.connect_timeout = time(line.word(2));
                    self.report.converted(place, "connect_timeout");
                }
                ("timeout", "queue") => {
                    if let Some(time) = time(line.word(2)) {
                        backend.upstream.set("queue", table([("timeout", time.into())]));
                    }
                    self.report.converted(place, "queue.timeout");
                }
                ("timeout", "check") => {
                    if let Some(time) = time(line.word(2)) {
                        servers.check.insert("timeout".to_owned(), time.into());
                    }
                    self.report.converted(place, "health_check.timeout");
                }
                ("timeout", "tunnel") => self.report.leave_out(place, "see tunnel_timeout of rules"),
                ("timeout", _) => {}
                ("retries", retries) => {
                    if let Ok(retries) = retries.parse::<i64>() {
                        backend.upstream.set("retries", table([("attempts", retries.into())]));
                        self.report.approximated(place, "retries.attempts: within a budget, each elsewhere");
                    }
                }
                ("http-request", "deny" | "reject" | "tarpit" | "silent-drop" | "auth")
                    if section.kind() == "backend" =>
                {
                    let note = "a backend refuses nothing by itself; WHAT IT REFUSES IS LET THROUGH";
                    self.report.leave_out(place, note);
                }
                ("http-request" | "http-response", _) if section.kind() == "backend" => {
                    match line.words.iter().any(|word| word == "if" || word == "unless") {
                        true => self.report.leave_out(place, "a change on a condition has no counterpart"),
                        false => backend.changes.push(line.clone()),
                    }
                }
                ("cookie" | "stick-table" | "stick", _) => {
                    let note =
                        "clients stay by a key: see the strategies rendezvous and ring_hash with `key`";
                    self.report.leave_out(place, note);
                }
                _ if section.kind() == "listen" => {}
                ("mode", _) => self.report.converted(place, "as its frontend's"),
                ("option", _) => self.report.converted(place, "the gateway does so itself"),
                _ => self.report.leave_out(place, "has no counterpart"),
            }
        }
        self.balance(balance, &servers, backend);
        if servers.backends.is_empty() {
            self.report
                .approximated(&section.head.place, "it has no servers: what leads to it is answered 503");
        }
        servers.write(&mut backend.upstream);
    }

    fn balance(&mut self, line: Option<&Line>, servers: &Servers, backend: &mut Backend) {
        let keyed = |name: &str, key: String| table([("strategy", name.into()), ("key", key.into())]);
        let turns = || match servers.is_weighted {
            true => table([("strategy", "weighted_round_robin".into()), ("order", "smooth".into())]),
            false => "round_robin".into(),
        };
        let Some(line) = line else { return backend.upstream.set("load_balancing", turns()) };
        let place = &line.place;
        let argument = line.argument();
        let name =
            |text: &str| text.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')')).to_owned();
        let spread = "the same key, spread differently";
        let (strategy, note) = match argument {
            "roundrobin" | "static-rr" => (turns(), None),
            "leastconn" => ("least_connections".into(), None),
            "source" => ("ip_hash".into(), Some(spread)),
            "uri" => (keyed("rendezvous", "path".to_owned()), Some(spread)),
            "url_param" => (keyed("rendezvous", format!("query:{}", line.word(2))), Some(spread)),
            "random" => ("p2c".into(), None),
            "first" => ("least_connections".into(), Some("least_connections: the first is not filled up")),
            _ if argument.starts_with("hdr(") => {
                (keyed("rendezvous", format!("header:{}", name(argument))), Some(spread))
            }
            _ if argument.starts_with("random(") => ("p2c".into(), None),
            _ => (turns(), Some("has no counterpart: requests take turns")),
        };
        backend.upstream.set("load_balancing", strategy);
        match note {
            Some(note) => self.report.approximated(place, note),
            None => self.report.converted(place, "load_balancing"),
        }
    }

    fn http_check(&mut self, line: &Line, servers: &mut Servers) {
        let path = match line.from(2) {
            [] => "/",
            [path] => path,
            [_, path, ..] => path,
        };
        servers.check.insert("path".to_owned(), path.into());
        match line.word(2) {
            "" | "GET" => self.report.converted(&line.place, "health_check.path"),
            method => {
                let note = format!("health_check.path: by GET and not {method}");
                self.report.approximated(&line.place, note);
            }
        }
    }

    fn http_check_send(&mut self, line: &Line, servers: &mut Servers) {
        let mut words = line.from(2).iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "uri" => {
                    let path = words.next().map_or("/", String::as_str);
                    servers.check.insert("path".to_owned(), path.into());
                }
                "hdr" => {
                    let (name, value) = (words.next(), words.next());
                    if let (Some(name), Some(value)) = (name, value)
                        && name.eq_ignore_ascii_case("host")
                    {
                        servers.check.insert("host".to_owned(), value.as_str().into());
                    }
                }
                _ => {}
            }
        }
        self.report.approximated(&line.place, "health_check: path and host");
    }

    fn server_line(&mut self, line: &Line, defaults: &[String], servers: &mut Servers) {
        let place = &line.place;
        let address = line.word(2);
        if address.starts_with('/') || address.starts_with("unix@") || !address.contains(':') {
            return self.report.leave_out(place, "a backend is a host and a port");
        }
        let mut keys: Vec<(&'static str, Value)> = Vec::new();
        let (mut is_secure, mut is_disabled) = (false, false);
        let (mut unknown, mut tls) = (Vec::new(), toml::Table::new());
        let mut words = defaults.iter().chain(line.from(3));
        while let Some(word) = words.next() {
            let mut value = || words.next().cloned().unwrap_or_default();
            let mut check = |key: &str, value: Value| drop(servers.check.insert(key.to_owned(), value));
            match word.as_str() {
                "check" => servers.is_checked = true,
                "backup" => keys.push(("backup", true.into())),
                "disabled" => is_disabled = true,
                "ssl" => is_secure = true,
                "weight" => {
                    servers.is_weighted = true;
                    keys.push(("weight", value().parse::<i64>().unwrap_or(1).into()));
                }
                "maxconn" => keys.push(("max_connections", value().parse::<i64>().unwrap_or(1).into())),
                "inter" => {
                    if let Some(time) = time(&value()) {
                        check("interval", time.into());
                    }
                }
                "rise" => check("healthy_threshold", value().parse::<i64>().unwrap_or(2).into()),
                "fall" => check("unhealthy_threshold", value().parse::<i64>().unwrap_or(3).into()),
                "slowstart" => drop(value()),
                "verify" if value() == "none" => {
                    drop(tls.insert("insecure_skip_verify".to_owned(), true.into()));
                }
                "verify" => {}
                "ca-file" => match value().as_str() {
                    "@system-ca" => {}
                    file => {
                        drop(tls.insert("ca".to_owned(), self.root.join(file).display().to_string().into()));
                    }
                },
                "sni" => match value().strip_prefix("str(").and_then(|rest| rest.strip_suffix(')')) {
                    Some(name) => drop(tls.insert("server_name".to_owned(), name.into())),
                    None => unknown.push("sni".to_owned()),
                },
                "verifyhost" => drop(tls.insert("server_name".to_owned(), value().into())),
                "send-proxy" => servers.proxy_protocol = Some("v1"),
                "send-proxy-v2" => servers.proxy_protocol = Some("v2"),
                "cookie" | "id" | "init-addr" | "resolvers" | "resolve-prefer" | "alpn" | "port" | "crt" => {
                    unknown.push(format!("{word} {}", value()));
                }
                other => unknown.push(other.to_owned()),
            }
        }
        if is_disabled {
            keys.retain(|(key, _)| *key != "weight");
            keys.push(("weight", 0.into()));
        }
        let scheme = match (servers.is_tcp, is_secure) {
            (false, false) => "http",
            (false, true) => "https",
            (true, false) => "tcp",
            (true, true) => "tls",
        };
        let url = Value::from(format!("{scheme}://{address}"));
        let backend = match keys.is_empty() {
            true => url,
            false => table([("url", url)].into_iter().chain(keys)),
        };
        servers.backends.push(backend);
        servers.tls.push(is_secure.then_some(tls));
        match unknown.is_empty() {
            true => self.report.converted(place, "a backend"),
            false => self.report.approximated(place, format!("a backend, without {}", unknown.join(", "))),
        }
    }
}

impl Servers {
    fn write(mut self, upstream: &mut Table) {
        let mut said = self.tls.iter().flatten();
        let first = said.next().cloned().unwrap_or_default();
        // What one of them is believed by is not what the others are.
        let are_alike = said.all(|tls| *tls == first);
        if !are_alike {
            self.backends = self.backends.into_iter().zip(self.tls).map(with_tls).collect();
        }
        if self.backends.is_empty() {
            // Requests find nobody there either.
            self.backends.push(closed(if self.is_tcp { "tcp" } else { "http" }));
        }
        upstream.set("backends", backends(self.backends));
        if self.is_checked {
            if !self.check.contains_key("path") {
                self.check.insert("type".to_owned(), "tcp".into());
            }
            upstream.set("health_check", self.check);
        }
        if are_alike && !first.is_empty() {
            upstream.set("tls", first);
        }
        if let Some(version) = self.proxy_protocol {
            upstream.set("proxy_protocol", version);
        }
    }
}

/// A backend with TLS of its own.
fn with_tls((backend, tls): (Value, Option<toml::Table>)) -> Value {
    let Some(tls) = tls.filter(|tls| !tls.is_empty()) else { return backend };
    let mut keys = match backend {
        Value::Table(keys) => keys,
        url => toml::Table::from_iter([("url".to_owned(), url)]),
    };
    keys.insert("tls".to_owned(), tls.into());
    keys.into()
}
