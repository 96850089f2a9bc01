//! `frontend` and `listen` sections: listeners and rules.

use super::backend::Backends;
use super::condition::{Acls, Asked};
use super::syntax::{Line, Section};
use super::{Translation, at, time};
use crate::document::{CLOSED, Table, slug, table};

impl Translation {
    pub(super) fn frontend(
        &mut self,
        section: &Section,
        defaults: &[Line],
        backends: &mut Backends,
        several: bool,
    ) {
        if section.is_tcp(defaults) {
            return self.tcp_frontend(section, backends);
        }
        match several {
            true => {
                let note = "rules hold for every listener: those of all frontends are tried in their order";
                self.report.approximated(&section.head.place, note);
            }
            false => self.report.converted(&section.head.place, "listeners and rules"),
        }
        let acls = Acls::of(&section.lines);
        let before = self.document.rules.len();
        let mut changes = Vec::new();
        let mut last = None;
        // What is done to requests is done before a backend is chosen, wherever it stands.
        let (first, then): (Vec<_>, Vec<_>) =
            section.lines.iter().partition(|line| matches!(line.name(), "http-request" | "redirect"));
        for line in first.into_iter().chain(then) {
            let place = &line.place;
            match line.name() {
                "bind" => self.bind(section, line),
                "acl" => self.report.converted(place, "see where it is used"),
                "http-request" | "redirect" => self.request(line, &acls, &mut changes),
                "http-response" => changes.push(line.clone()),
                "use_backend" => self.use_backend(line, &acls, backends),
                "default_backend" => {
                    last = Some((line.clone(), line.argument().to_owned()));
                    self.report.converted(place, "a rule without conditions, the last");
                }
                "option" if matches!(line.argument(), "httplog" | "tcplog") => self.log(line),
                "option" if section.kind() == "frontend" => {
                    self.report.converted(place, "the gateway does so itself");
                }
                "timeout" if matches!(line.argument(), "client" | "http-request" | "http-keep-alive") => {}
                "mode" => self.report.converted(place, "http"),
                "maxconn" => self.report.approximated(place, "see server.max_connections"),
                "log" | "compression" | "capture" | "description" | "rate-limit" | "monitor-uri"
                | "stats" | "errorfile" | "tcp-request" | "stick-table" => {
                    self.report.leave_out(place, "has no counterpart");
                }
                // A listen section's other lines are its backend's.
                _ if section.kind() == "listen" => {}
                _ => self.report.leave_out(place, "has no counterpart"),
            }
        }
        self.timeouts(section, defaults);
        if section.kind() == "listen" && last.is_none() {
            last = Some((section.head.clone(), section.name().to_owned()));
        }
        if let Some((line, name)) = last {
            let mut rule = Table::rule(at(&line));
            self.forward(&mut rule, &name, backends, &line);
            self.document.add_rule(rule, &format!("{}-default", slug(section.name())));
        }
        let rules = self.document.rules.split_off(before);
        let changed = rules.into_iter().map(|mut rule| {
            changes.iter().for_each(|line| self.change(line, &mut rule));
            rule
        });
        let changed: Vec<Table> = changed.collect();
        self.document.rules.extend(changed);
    }

    /// A frontend whose connections are passed on as they are.
    fn tcp_frontend(&mut self, section: &Section, backends: &mut Backends) {
        let default = section.lines.iter().find(|line| line.name() == "default_backend");
        let name = default.map_or(section.name(), Line::argument).to_owned();
        if backends.used(&name, true).is_none() {
            let note = "it has no default_backend of mode tcp; see `sni` of listeners";
            return self.report.leave_out(&section.head.place, note);
        }
        self.report.converted(&section.head.place, "listeners with protocol = \"tcp\"");
        let before = self.document.listeners.len();
        for line in &section.lines {
            match line.name() {
                "bind" => self.bind(section, line),
                "mode" => self.report.converted(&line.place, "protocol = \"tcp\""),
                "default_backend" => self.report.converted(&line.place, "upstream"),
                "use_backend" | "tcp-request" | "acl" => {
                    self.report
                        .leave_out(&line.place, "connections are told apart by `sni` of listeners alone");
                }
                _ if section.kind() == "listen" => {}
                _ => self.report.leave_out(&line.place, "has no counterpart"),
            }
        }
        for listener in self.document.listeners.iter_mut().skip(before) {
            listener.set("protocol", "tcp");
            listener.set("upstream", slug(&name));
        }
    }

    fn bind(&mut self, section: &Section, line: &Line) {
        for address in line.argument().split(',') {
            let address = match address {
                _ if address.starts_with(':') => format!("0.0.0.0{address}"),
                _ if address.starts_with("*:") => address.replacen('*', "0.0.0.0", 1),
                _ => address.replace("ipv4@", "").replace("ipv6@", "").replace("localhost:", "127.0.0.1:"),
            };
            let address = address.strip_prefix(":::").map_or(address.clone(), |port| format!("[::]:{port}"));
            if address.parse::<std::net::SocketAddr>().is_err() {
                let note = "a listener's address is an IP address and one port";
                self.report.leave_out(&line.place, note);
                continue;
            }
            let mut listener = Table::new("[[listeners]]", at(line));
            listener.set("name", format!("{}-{}", slug(section.name()), slug(&address)));
            listener.set("address", address.as_str());
            self.bind_options(line, &mut listener);
            self.document.listeners.push(listener);
            self.report.converted(&line.place, format!("a listener at {address}"));
        }
    }

    fn bind_options(&mut self, line: &Line, listener: &mut Table) {
        let mut words = line.from(2).iter();
        let mut tls = toml::Table::new();
        let mut client_auth = toml::Table::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().map_or("", String::as_str);
            match word.as_str() {
                "ssl" | "strict-sni" | "transparent" | "v4v6" | "v6only" | "tfo" => {}
                "accept-proxy" => listener.set("proxy_protocol", true),
                "crt" if tls.is_empty() => {
                    // HAProxy has certificate and key in one file.
                    let file = self.file(value());
                    tls.insert("cert".to_owned(), file.as_str().into());
                    tls.insert("key".to_owned(), file.into());
                    let note = "its certificates: a directory must be written as tls.certificates";
                    self.report.approximated(&line.place, note);
                }
                "crt" => {
                    let file = self.file(value());
                    let pair = table([("cert", file.as_str().into()), ("key", file.into())]);
                    let more = tls.entry("certificates").or_insert_with(|| toml::Value::Array(Vec::new()));
                    if let toml::Value::Array(more) = more {
                        more.push(pair);
                    }
                }
                "ca-file" => drop(client_auth.insert("ca".to_owned(), self.file(value()).into())),
                "verify" => match value() {
                    "required" => drop(client_auth.insert("mode".to_owned(), "required".into())),
                    "optional" => drop(client_auth.insert("mode".to_owned(), "optional".into())),
                    _ => {}
                },
                "ssl-min-ver" => {
                    let version = if value() == "TLSv1.3" { "1.3" } else { "1.2" };
                    tls.insert("min_version".to_owned(), version.into());
                }
                "alpn" => {
                    if !value().contains("h2") {
                        listener.set("http2", false);
                    }
                }
                "name" | "maxconn" | "process" | "thread" | "backlog" | "interface" | "npn" | "ciphers"
                | "ciphersuites" | "curves" | "user" | "group" | "mode" | "id" | "nice" => drop(value()),
                other => self.report.leave_out(&line.place, format!("{other} has no counterpart")),
            }
        }
        if client_auth.contains_key("mode") && !tls.is_empty() {
            tls.insert("client_auth".to_owned(), client_auth.into());
        }
        if !tls.is_empty() {
            listener.set("tls", tls);
        }
    }

    fn timeouts(&mut self, section: &Section, defaults: &[Line]) {
        let lines = || section.lines.iter().rev().chain(defaults.iter().rev());
        for (name, key) in [("http-request", "header_timeout"), ("http-keep-alive", "keep_alive_timeout")] {
            let found = lines().find(|line| line.name() == "timeout" && line.argument() == name);
            let Some((line, time)) = found.and_then(|line| Some((line, time(line.word(2))?))) else {
                continue;
            };
            let address = |table: &Table| table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
            let own = format!("{}-", slug(section.name()));
            let listeners = self.document.listeners.iter_mut();
            listeners
                .filter(|listener| address(listener).is_some_and(|name| name.starts_with(&own)))
                .for_each(|listener| listener.set(key, time.as_str()));
            self.report.converted(&line.place, key);
        }
        if let Some(line) = lines().find(|line| line.name() == "timeout" && line.argument() == "client") {
            self.report.approximated(&line.place, "idle_timeout bounds the gaps in a body (60 s)");
        }
    }

    fn use_backend(&mut self, line: &Line, acls: &Acls<'_>, backends: &mut Backends) {
        let name = line.argument();
        if name.contains('%') {
            return self.report.leave_out(&line.place, "a backend by a variable has no counterpart");
        }
        let alternatives = match self.alternatives(line, 2, acls) {
            Ok(alternatives) => alternatives,
            Err(reason) => return self.report.leave_out(&line.place, reason),
        };
        for asked in alternatives {
            let mut rule = Table::rule(at(line));
            asked.write(&mut rule);
            self.forward(&mut rule, name, backends, line);
            let label = asked.label().unwrap_or_else(|| "all".to_owned());
            self.document.add_rule(rule, &format!("{}-{}", slug(name), slug(&label)));
        }
    }

    /// What the condition from this word on comes to; said where it is not quite the same.
    fn alternatives(&mut self, line: &Line, from: usize, acls: &Acls<'_>) -> Result<Vec<Asked>, String> {
        let words = line.from(from);
        let alternatives = match words.split_first() {
            None => return Ok(vec![Asked::default()]),
            Some((word, condition)) if word == "if" => acls.condition(condition)?,
            Some((word, _)) => return Err(format!("`{word}` has no counterpart")),
        };
        match alternatives.notes.is_empty() {
            true => self.report.converted(&line.place, format!("{} rules", alternatives.asked.len())),
            false => self.report.approximated(&line.place, alternatives.notes.join("; ")),
        }
        Ok(alternatives.asked)
    }

    fn forward(&mut self, rule: &mut Table, name: &str, backends: &mut Backends, line: &Line) {
        match backends.used(name, false) {
            Some(backend) => {
                rule.set("upstream", slug(name));
                if let Some(time) = &backend.timeout {
                    rule.set("timeout", time.as_str());
                }
                if let Some(time) = &backend.connect_timeout {
                    rule.set("connect_timeout", time.as_str());
                }
                for line in backend.changes.clone() {
                    self.change(&line, rule);
                }
            }
            None => {
                self.report
                    .leave_out(&line.place, format!("there is no backend {name} by HTTP: closed (503)"));
                rule.set("upstream", CLOSED);
            }
        }
    }

    /// `http-request` and `redirect`: what makes rules of its own, and what changes all of them.
    fn request(&mut self, line: &Line, acls: &Acls<'_>, changes: &mut Vec<Line>) {
        let action = if line.name() == "redirect" { "redirect" } else { line.argument() };
        let condition = line.words.iter().position(|word| word == "if" || word == "unless");
        match (action, condition) {
            ("deny" | "reject" | "tarpit" | "silent-drop" | "auth", condition) => {
                let from = condition.unwrap_or(line.words.len());
                match self.alternatives(line, from, acls) {
                    Ok(alternatives) => {
                        let note = "503 in the place of what it answers";
                        self.report.approximated(&line.place, note);
                        for asked in alternatives {
                            let mut rule = Table::rule(at(line));
                            asked.write(&mut rule);
                            rule.set("upstream", CLOSED);
                            let label = asked.label().unwrap_or_else(|| "all".to_owned());
                            self.document.add_rule(rule, &format!("closed-{}", slug(&label)));
                        }
                    }
                    Err(reason) => {
                        let note = format!("{reason}; WHAT IT REFUSES IS LET THROUGH");
                        self.report.leave_out(&line.place, note);
                    }
                }
            }
            ("redirect", condition) => self.redirect(line, condition, acls),
            (_, Some(_)) => self.report.leave_out(&line.place, "a change on a condition has no counterpart"),
            (_, None) => changes.push(line.clone()),
        }
    }

    fn redirect(&mut self, line: &Line, condition: Option<usize>, acls: &Acls<'_>) {
        let option = |name: &str| {
            let place = line.words.iter().position(|word| word == name)?;
            line.words.get(place + 1).map(String::as_str)
        };
        let status = option("code").and_then(|code| code.parse::<i64>().ok()).unwrap_or(302);
        let (to, whole) = match (option("prefix"), option("location")) {
            (Some(prefix), _) if !prefix.contains('%') && prefix.contains("://") => {
                (prefix.trim_end_matches('/'), None)
            }
            (None, Some(location)) if !location.contains('%') => match location.split_once("://") {
                Some((scheme, rest)) => {
                    let end = scheme.len() + 3 + rest.find('/').unwrap_or(rest.len());
                    let (origin, path) = location.split_at(end);
                    (origin, Some(if path.is_empty() { "/" } else { path }))
                }
                None => ("", Some(location)),
            },
            _ => {
                let note =
                    "rules hold for every listener: nothing is sent from http to https of the same name";
                return self.report.leave_out(&line.place, note);
            }
        };
        let from = condition.unwrap_or(line.words.len());
        let alternatives = match self.alternatives(line, from, acls) {
            Ok(alternatives) => alternatives,
            Err(reason) => return self.report.leave_out(&line.place, reason),
        };
        for asked in alternatives {
            let mut rule = Table::rule(at(line));
            asked.write(&mut rule);
            if let Some(path) = whole {
                rule.set("rewrite", path);
            }
            let to = (!to.is_empty()).then(|| ("to", to.into()));
            rule.set("redirect", table(to.into_iter().chain([("status", status.into())])));
            let label = asked.label().unwrap_or_else(|| "all".to_owned());
            self.document.add_rule(rule, &format!("redirect-{}", slug(&label)));
        }
    }

    /// What `http-request` and `http-response` change of heads and paths.
    pub(super) fn change(&mut self, line: &Line, rule: &mut Table) {
        let heads = if line.name() == "http-response" { "response_headers" } else { "request_headers" };
        let place = &line.place;
        if rule.get("upstream").and_then(toml::Value::as_str) == Some(CLOSED)
            || rule.get("redirect").is_some()
        {
            return;
        }
        let (name, value) = (line.word(2), line.word(3));
        let literal = |text: &str| !text.contains("%[") && !text.contains("%{");
        match line.argument() {
            "set-header" | "add-header" if name.eq_ignore_ascii_case("host") && literal(value) => {
                rule.set("host_header", value);
                self.report.converted(place, "host_header");
            }
            action @ ("set-header" | "add-header") if literal(value) => {
                let how = if action == "set-header" { "set" } else { "add" };
                rule.set_in([heads, how], name, value);
                self.report.converted(place, format!("{heads}.{how}"));
            }
            "set-header" | "add-header" if name.to_ascii_lowercase().starts_with("x-forwarded-") => {
                self.report.converted(place, "the gateway sets it itself, by trusted_proxies");
            }
            "del-header" => {
                rule.push_in([heads, "remove"], name);
                self.report.converted(place, format!("{heads}.remove"));
            }
            "set-path" if literal(name) => {
                rule.set("rewrite", name);
                self.report.converted(place, "rewrite");
            }
            "replace-path" => self.replace_path(line, rule),
            _ => self.report.leave_out(place, "has no counterpart"),
        }
    }

    /// `replace-path ^/api(/.*)? \1` is a prefix that is stripped.
    fn replace_path(&mut self, line: &Line, rule: &mut Table) {
        let (pattern, target) = (line.word(2), line.word(3));
        let bare = pattern.trim_start_matches('^').trim_end_matches('$');
        let prefix = ["(/.*)?", "(/.*)", "/(.*)"].iter().find_map(|end| bare.strip_suffix(end));
        let is_plain = |text: &str| text.chars().all(|it| it.is_ascii_alphanumeric() || "/-_".contains(it));
        let added = target.strip_suffix("\\1").map(|added| added.trim_end_matches('/'));
        let below = |path: &str, prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let own = ["path_prefix", "path"].iter().find_map(|key| rule.get(key)?.as_str().map(str::to_owned));
        match (prefix.filter(|prefix| is_plain(prefix)), added.filter(|added| is_plain(added))) {
            (Some(prefix), Some(added)) => match own {
                // Every path of the rule is below the prefix, or none is.
                Some(own) if below(&own, prefix) => {
                    if !prefix.is_empty() {
                        rule.set("strip_prefix", prefix);
                    }
                    if !added.is_empty() {
                        rule.set("add_prefix", added);
                    }
                    self.report.converted(&line.place, "strip_prefix and add_prefix");
                }
                Some(own) if !below(prefix, own.trim_end_matches('/')) => {}
                _ if added.is_empty() => {
                    rule.set("strip_prefix", prefix);
                    self.report.converted(&line.place, "strip_prefix");
                }
                _ => {
                    let note = "not in rules whose path may be below the prefix or not";
                    self.report.leave_out(&line.place, note);
                }
            },
            _ => self.report.leave_out(&line.place, "no rewrite can say it"),
        }
    }
}
