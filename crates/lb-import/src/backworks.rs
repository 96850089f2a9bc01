//! Backworks: a blueprint's proxy targets become an upstream, its endpoints rules.

use std::path::Path;

use toml::Value;

use crate::document::{Document, Table, list, slug, table};
use crate::report::Report;
use crate::tree::{self, Node};
use crate::{ImportError, Imported, read};

/// The upstream's name.
const UPSTREAM: &str = "targets";

struct Translation {
    file: String,
    document: Document,
    report: Report,
    /// Whether the listener shows status pages.
    has_pages: bool,
}

pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let file = path.display().to_string();
    let root = tree::load(&file, &read(path)?)?;
    let (document, report) = (Document::default(), Report::default());
    let mut it = Translation { file: file.clone(), document, report, has_pages: false };
    for (name, node) in root.entries() {
        match name.as_str() {
            "name" | "version" | "description" | "mode" => it.converted(node, name, "not needed"),
            "server" | "endpoints" => {}
            "dashboard" => it.dashboard(node),
            "plugins" => {
                for (name, node) in node.entries() {
                    match name.as_str() {
                        "proxy" => it.proxy(node),
                        _ => it.leave_out(node, name, "there are no plugins"),
                    }
                }
            }
            _ => it.leave_out(node, name, "has no counterpart"),
        }
    }
    if let Some(endpoints) = root.get("endpoints") {
        it.endpoints(endpoints, root.at(&["plugins", "proxy"]));
    }
    it.listener(root.get("server"));
    if it.document.rules.is_empty() || it.document.upstreams.is_empty() {
        return Err(ImportError::Nothing(file));
    }
    it.report.sort(&[]);
    Ok(Imported { toml: it.document.render(&file), report: it.report })
}

impl Translation {
    fn converted(&mut self, node: &Node, name: &str, note: &str) {
        self.report.converted(&node.place(&self.file, name), note);
    }

    fn leave_out(&mut self, node: &Node, name: &str, note: &str) {
        self.report.leave_out(&node.place(&self.file, name), note);
    }

    fn listener(&mut self, server: Option<&Node>) {
        let text = |name: &str| server.and_then(|server| server.get(name)).and_then(Node::text);
        let host = text("host").unwrap_or_else(|| "0.0.0.0".to_owned()).replace("localhost", "127.0.0.1");
        let port = text("port").unwrap_or_else(|| "8080".to_owned());
        let mut listener = Table::new("[[listeners]]", "");
        listener.set("name", "web");
        listener.set("address", format!("{host}:{port}"));
        if self.has_pages {
            listener.set("status_endpoints", true);
        }
        self.document.listeners.push(listener);
        for (name, node) in server.map(Node::entries).unwrap_or_default() {
            match name.as_str() {
                "host" | "port" => self.converted(node, name, "listeners.address"),
                _ => self.leave_out(node, name, "has no counterpart"),
            }
        }
    }

    fn dashboard(&mut self, node: &Node) {
        if node.get("enabled").is_some_and(Node::is_false) {
            return self.converted(node, "dashboard", "off: [admin] is not written");
        }
        let port = node.get("port").and_then(Node::text).unwrap_or_else(|| "8081".to_owned());
        let mut admin = Table::new("[admin]", format!("{}:{}: dashboard", self.file, node.line));
        admin.set("address", format!("127.0.0.1:{port}"));
        self.document.tables.push(admin);
        let note = "[admin]: reached from this machine alone until you give another address";
        self.report.approximated(&node.place(&self.file, "dashboard"), note);
    }

    /// What stands beside `config` may stand in it, too.
    fn proxy(&mut self, proxy: &Node) {
        let mut upstream = Table::upstream(UPSTREAM, format!("{}:{}: plugins.proxy", self.file, proxy.line));
        let config = proxy.get("config").map(Node::entries).unwrap_or_default();
        for (name, node) in proxy.entries().iter().filter(|(name, _)| name != "config").chain(config) {
            match name.as_str() {
                "enabled" => self.converted(node, name, "not needed"),
                "targets" => self.targets(node, &mut upstream),
                "load_balancing" => {
                    let algorithm = node.text().or_else(|| node.get("algorithm").and_then(Node::text));
                    self.balance(node, &algorithm.unwrap_or_default(), &mut upstream);
                }
                "circuit_breaker" => self.breaker(node, &mut upstream),
                "health_check" | "health_checks" => self.converted(node, name, "health_check of the targets"),
                "metrics" => self.converted(node, name, "/metrics and /proxy-status have them"),
                "transform_request" | "transform_response" => {
                    self.converted(node, name, "changes of heads in every rule");
                }
                _ => self.leave_out(node, name, "has no counterpart"),
            }
        }
        self.document.upstreams.push(upstream);
    }

    fn balance(&mut self, node: &Node, algorithm: &str, upstream: &mut Table) {
        let smooth = || table([("strategy", "weighted_round_robin".into()), ("order", "smooth".into())]);
        let strategy = match algorithm {
            "weighted_round_robin" | "weighted" | "Weighted" => smooth(),
            "round_robin" | "RoundRobin" | "" => "round_robin".into(),
            "ip_hash" | "IpHash" => "ip_hash".into(),
            "random" | "least_connections" | "weighted_random" => algorithm.into(),
            _ => return self.leave_out(node, "load_balancing", "has no counterpart; they take turns"),
        };
        upstream.set("load_balancing", strategy);
        self.converted(node, "load_balancing", "load_balancing");
    }

    fn breaker(&mut self, node: &Node, upstream: &mut Table) {
        let mut breaker = toml::Table::new();
        for (key, value) in node.entries() {
            match (key.as_str(), value.value()) {
                ("failure_threshold" | "recovery_timeout" | "half_open_max_calls", Some(own)) => {
                    breaker.insert(key.clone(), own);
                }
                ("enabled", _) => {}
                _ => self.leave_out(value, key, "has no counterpart"),
            }
        }
        upstream.set("circuit_breaker", breaker);
        self.converted(node, "circuit_breaker", "circuit_breaker");
    }

    fn targets(&mut self, node: &Node, upstream: &mut Table) {
        let mut backends = Vec::new();
        let mut check = toml::Table::new();
        for target in node.items() {
            let Some(url) = target.get("url").and_then(Node::text) else {
                self.leave_out(target, "target", "it has no url");
                continue;
            };
            let mut backend = toml::Table::new();
            backend.insert("url".to_owned(), url.trim_end_matches('/').into());
            for (key, value) in target.entries() {
                match (key.as_str(), value.value()) {
                    ("url" | "name", _) => {}
                    ("weight" | "timeout", Some(own)) => drop(backend.insert(key.clone(), own)),
                    ("health_check", _) => self.health_check(value, &mut backend, &mut check),
                    ("retry_attempts", Some(attempts)) => {
                        upstream.set("retries", table([("attempts", attempts)]));
                        let note = "retries.attempts of the upstream: within a budget, each elsewhere";
                        self.report.approximated(&value.place(&self.file, key), note);
                    }
                    _ => self.leave_out(value, key, "has no counterpart"),
                }
            }
            self.report.converted(&target.place(&self.file, &url), "a backend");
            backends.push(Value::Table(backend));
        }
        upstream.set("backends", Value::Array(backends));
        if !check.is_empty() {
            upstream.set("health_check", check);
        }
    }

    /// Path and interval are a backend's own, the rest the upstream's.
    fn health_check(&mut self, node: &Node, backend: &mut toml::Table, shared: &mut toml::Table) {
        for (key, value) in node.entries() {
            let Some(own) = value.value() else { continue };
            match key.as_str() {
                "path" => drop(backend.insert("health_check_path".to_owned(), own)),
                "interval" => drop(backend.insert("health_check_interval".to_owned(), own)),
                "timeout" | "healthy_threshold" | "unhealthy_threshold" => {
                    drop(shared.insert(key.clone(), own));
                }
                "enabled" => {}
                _ => self.leave_out(value, key, "has no counterpart"),
            }
        }
        self.converted(node, "health_check", "health_check");
    }

    fn endpoints(&mut self, endpoints: &Node, proxy: Option<&Node>) {
        let named: Vec<Node> = endpoints.entries().iter().map(|(_, node)| node.clone()).collect();
        let all = if endpoints.items().is_empty() { &named } else { endpoints.items() };
        // Those with fewer parameters first: rules are tried in their order.
        let mut order: Vec<&Node> = all.iter().collect();
        let parameters = |path: String| path.matches('{').count();
        order.sort_by_key(|node| node.get("path").and_then(Node::text).map_or(0, parameters));
        order.into_iter().for_each(|endpoint| self.endpoint(endpoint, proxy));
    }

    fn endpoint(&mut self, endpoint: &Node, proxy: Option<&Node>) {
        let text = |name: &str| endpoint.get(name).and_then(Node::text);
        let Some(path) = text("path") else { return self.leave_out(endpoint, "endpoint", "it has no path") };
        let place = endpoint.place(&self.file, &path);
        let handler = text("handler").unwrap_or_else(|| "proxy".to_owned());
        match (handler.as_str(), path.as_str()) {
            ("proxy", _) => {}
            ("static" | "metrics", "/health" | "/metrics" | "/ping" | "/ready") => {
                self.has_pages = true;
                return self.report.approximated(&place, "status_endpoints: the gateway's own page");
            }
            _ => {
                return self
                    .report
                    .leave_out(&place, format!("nothing answers as the handler {handler} does"));
            }
        }
        let mut rule = Table::rule(format!("{}:{}: {path}", self.file, endpoint.line));
        rule.set(if path.contains('{') { "path_template" } else { "path" }, path.as_str());
        let method = text("method");
        if let Some(method) = &method {
            rule.set("methods", list([method.to_ascii_uppercase()]));
        }
        rule.set("upstream", UPSTREAM);
        let own = endpoint.at(&["config", "proxy"]).or_else(|| endpoint.get("proxy"));
        if let Some(own) = own {
            self.own(own, method.as_deref(), &path, &mut rule);
        }
        let around = proxy.into_iter().flat_map(|proxy| [Some(proxy), proxy.get("config")]).flatten();
        for config in around.chain(own) {
            self.transforms(config, &mut rule);
        }
        self.report.converted(&place, "a rule");
        let label = match &method {
            Some(method) => format!("{}-{}", method.to_ascii_lowercase(), slug(&path)),
            None => slug(&path),
        };
        self.document.add_rule(rule, &label);
    }

    /// What an endpoint says of its forwarding.
    fn own(&mut self, own: &Node, method: Option<&str>, path: &str, rule: &mut Table) {
        for (key, value) in own.entries() {
            match (key.as_str(), value.text()) {
                ("path", Some(to)) if to == path => self.converted(value, key, "it stays as it is"),
                ("path", Some(to)) => {
                    rule.set("rewrite", to);
                    self.converted(value, key, "rewrite");
                }
                ("strip_prefix" | "add_prefix" | "timeout", _) => {
                    value.value().into_iter().for_each(|own| rule.set(key, own));
                    self.converted(value, key, key);
                }
                ("method", Some(other)) if method.is_some_and(|it| it.eq_ignore_ascii_case(&other)) => {
                    self.converted(value, key, "it stays as it is");
                }
                ("transform_request" | "transform_response", _) => {}
                _ => self.leave_out(value, key, "has no counterpart"),
            }
        }
    }

    fn transforms(&mut self, config: &Node, rule: &mut Table) {
        for (block, heads) in
            [("transform_request", "request_headers"), ("transform_response", "response_headers")]
        {
            for (key, value) in config.get(block).map(Node::entries).unwrap_or_default() {
                match key.as_str() {
                    "headers" | "add_headers" => {
                        for (name, value) in value.entries() {
                            let Some(text) = value.text() else { continue };
                            rule.set_in([heads, "set"], name, text);
                            self.converted(value, name, &format!("{heads}.set"));
                        }
                    }
                    "remove_headers" => {
                        for item in value.items().iter().filter_map(Node::text) {
                            rule.push_in([heads, "remove"], item);
                        }
                        self.converted(value, key, &format!("{heads}.remove"));
                    }
                    _ => self.leave_out(value, key, "bodies and parameters are not changed"),
                }
            }
        }
    }
}
