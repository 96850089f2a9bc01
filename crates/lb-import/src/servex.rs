//! Servex: the `proxy` block as it is, the server's addresses, and what of the other blocks has a counterpart.

use std::path::Path;

use toml::Value;

use crate::document::{Document, Table, slug, table};
use crate::report::Report;
use crate::tree::{self, Node};
use crate::{ImportError, Imported, read};

struct Translation {
    file: String,
    document: Document,
    report: Report,
}

pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let file = path.display().to_string();
    let root = tree::load(&file, &read(path)?)?;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut it = Translation { file: file.clone(), document: Document::default(), report: Report::default() };
    for (name, node) in root.entries() {
        match name.as_str() {
            "proxy" => it.proxy(node),
            "server" => it.server(node, whole.parent().unwrap_or(Path::new("/"))),
            "rate_limit" | "filter" | "security" | "auth" => {
                let note = "not translated: WHAT IT PROTECTS IS OPEN until you write it";
                it.report.leave_out(&node.place(&file, name), note);
            }
            _ => it.report.leave_out(&node.place(&file, name), "has no counterpart that is translated"),
        }
    }
    if it.document.rules.is_empty() {
        return Err(ImportError::Nothing(file));
    }
    it.report.sort(&[]);
    Ok(Imported { toml: it.document.render(&file), report: it.report })
}

impl Translation {
    fn proxy(&mut self, proxy: &Node) {
        if proxy.get("enabled").is_some_and(Node::is_false) {
            self.report.approximated(&proxy.place(&self.file, "proxy"), "it is off there, and on here");
        }
        for (name, node) in proxy.entries() {
            let place = node.place(&self.file, name);
            match (name.as_str(), node.value()) {
                ("enabled", _) => self.report.converted(&place, "not needed"),
                ("rules", _) => {
                    node.items().iter().enumerate().for_each(|(number, rule)| self.rule(number, rule));
                }
                ("health_check" | "traffic_dump", Some(Value::Table(block))) => {
                    let mut table = Table::new(format!("[{name}]"), "");
                    let is_said = |value: &Value| value.as_str() != Some("");
                    for (key, value) in block.into_iter().filter(|(_, value)| is_said(value)) {
                        table.set(&key, value);
                    }
                    self.document.tables.push(table);
                    self.report.converted(&place, name.as_str());
                }
                (
                    "global_timeout"
                    | "max_idle_conns"
                    | "max_idle_conns_per_host"
                    | "idle_conn_timeout"
                    | "insecure_skip_verify",
                    Some(value),
                ) => {
                    self.document.root.set(name, value);
                    self.report.converted(&place, name.as_str());
                }
                _ => self.report.leave_out(&place, "has no counterpart"),
            }
        }
    }

    fn rule(&mut self, number: usize, node: &Node) {
        let label = node.get("name").and_then(Node::text).unwrap_or_else(|| format!("rule-{}", number + 1));
        let mut rule = Table::rule(format!("{}:{}", self.file, node.line));
        for (key, value) in node.entries() {
            let place = value.place(&self.file, key);
            match (key.as_str(), value.value()) {
                ("name", _) | (_, None) => {}
                ("enable_traffic_dump", Some(value)) => rule.set("traffic_dump", value),
                ("dump_directory", _) => self.report.leave_out(&place, "never read there either"),
                ("path_prefix", Some(value)) => {
                    rule.set(key, value);
                    let note = "path_prefix: on whole segments, /apifoo is not below /api";
                    self.report.approximated(&place, note);
                }
                ("path_regex", Some(value)) => {
                    rule.set(key, value);
                    self.report.approximated(&place, "path_regex: it is looked at, which Servex does not");
                }
                ("load_balancing", Some(value)) if value.as_str() == Some("weighted_round_robin") => {
                    rule.set(key, table([("strategy", value), ("order", "block".into())]));
                }
                (
                    "host" | "headers" | "methods" | "backends" | "load_balancing" | "strip_prefix"
                    | "add_prefix" | "timeout",
                    Some(value),
                ) => rule.set(key, value),
                _ => self.report.leave_out(&place, "has no counterpart"),
            }
        }
        self.report.converted(&node.place(&self.file, &label), "a rule");
        self.document.add_rule(rule, &slug(&label));
    }

    fn server(&mut self, server: &Node, folder: &Path) {
        let text = |name: &str| server.get(name).and_then(Node::text).filter(|text| !text.is_empty());
        let file = |name: &str| text(name).map(|file| folder.join(file).display().to_string());
        for scheme in ["http", "https"] {
            let (Some(address), Some(node)) = (text(scheme), server.get(scheme)) else { continue };
            let address = address.replace("localhost:", "127.0.0.1:");
            let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address };
            let mut listener = Table::new("[[listeners]]", format!("{}:{}", self.file, node.line));
            listener.set("name", scheme);
            listener.set("address", address);
            for (from, to) in
                [("read_header_timeout", "header_timeout"), ("idle_timeout", "keep_alive_timeout")]
            {
                server.get(from).and_then(Node::value).into_iter().for_each(|value| listener.set(to, value));
            }
            if scheme == "https" {
                let (Some(cert), Some(key)) = (file("cert_file"), file("key_file")) else {
                    self.report
                        .leave_out(&node.place(&self.file, scheme), "it has no cert_file and key_file");
                    continue;
                };
                listener.set("tls", table([("cert", cert.into()), ("key", key.into())]));
            }
            self.document.listeners.push(listener);
        }
        for (name, node) in server.entries() {
            let place = node.place(&self.file, name);
            match name.as_str() {
                "http" | "https" | "cert_file" | "key_file" | "read_header_timeout" | "idle_timeout" => {
                    self.report.converted(&place, "listeners");
                }
                "enable_health_endpoint" | "enable_default_metrics" | "health_path" | "metrics_path" => {
                    for listener in &mut self.document.listeners {
                        listener.set("status_endpoints", true);
                    }
                    let note = "status_endpoints: /health and /metrics, ahead of the rules";
                    self.report.approximated(&place, note);
                }
                "auth_token" => {
                    self.report.leave_out(&place, "not translated: REQUESTS WITHOUT THE TOKEN PASS");
                }
                _ => self.report.leave_out(&place, "has no counterpart"),
            }
        }
    }
}
