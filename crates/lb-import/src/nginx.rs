//! nginx: servers become rules by host, locations rules by path, in the order in which nginx would have chosen.
//!
//! nginx takes the server by name (exact, then wildcards, then the default one) and then the location: an exact one, else the
//! longest prefix, unless that lets regexes go first and one of them matches. Rules here are tried in their order, so they are
//! written in that one.

mod condition;
mod limit;
mod location;
mod rewrite;
mod server;
mod settings;
mod stream;
mod syntax;
mod upstream;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::server::Servers;
use self::settings::Settings;
use self::syntax::Directive;
use self::upstream::Upstreams;
use crate::document::{self, Document};
use crate::report::Report;
use crate::{ImportError, Imported};

/// What is being written.
pub(super) struct Translation {
    document: Document,
    report: Report,
    upstreams: Upstreams,
    /// What `limit_conn` counts by, by the names of zones.
    zones: BTreeMap<String, String>,
    /// What relative names of files start from.
    root: PathBuf,
}

pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut report = Report::default();
    let (directives, files) = syntax::load(path, &mut report)?;
    let root = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let root = root.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut translation = Translation {
        document: Document::default(),
        report,
        upstreams: Upstreams::default(),
        zones: BTreeMap::new(),
        root,
    };
    for directive in &directives {
        match directive.name() {
            "http" => translation.http(directive),
            "events" => translation.report.converted(&directive.place, "not needed: the gateway sees to it"),
            "stream" => translation.stream(directive),
            "server" | "upstream" => {
                // A file of conf.d by itself.
                translation.http(&Directive {
                    words: vec!["http".to_owned()],
                    block: Some(directives.clone()),
                    place: directive.place.clone(),
                });
                break;
            }
            "worker_processes" => translation.workers(directive),
            _ => translation.rest(directive),
        }
    }
    let Translation { document, mut report, .. } = translation;
    if document.is_empty() {
        return Err(ImportError::Nothing(path.display().to_string()));
    }
    report.sort(&files);
    Ok(Imported { toml: document.render(&path.display().to_string()), report })
}

impl Translation {
    fn http(&mut self, http: &Directive) {
        self.learn_zones(http);
        let settings = self.settings(http.children(), &Settings::default());
        for directive in http.children().iter().filter(|it| it.name() == "upstream") {
            self.upstreams.learn(directive, &mut self.report);
        }
        let mut servers = Servers::default();
        for directive in http.children() {
            match directive.name() {
                "server" => servers.learn(directive, &mut self.report),
                "upstream" => {}
                "set_real_ip_from" => self.trust(directive),
                name if Settings::has(name) => {}
                _ => self.rest(directive),
            }
        }
        servers.write(self, &settings);
    }

    fn workers(&mut self, directive: &Directive) {
        match directive.argument().parse::<i64>() {
            Ok(workers) if workers > 0 => {
                let mut server = document::Table::new("[server]", at(directive));
                server.set("workers", workers);
                self.document.tables.push(server);
                self.report.converted(&directive.place, "server.workers");
            }
            _ => self.report.converted(&directive.place, "the default: one for each processor"),
        }
    }

    fn trust(&mut self, directive: &Directive) {
        let network = directive.argument().to_owned();
        if network.starts_with("unix") {
            return self.report.leave_out(&directive.place, "there are no Unix sockets");
        }
        let mut networks = match self.document.root.get("trusted_proxies") {
            Some(toml::Value::Array(networks)) => networks.clone(),
            _ => Vec::new(),
        };
        networks.push(network.into());
        self.document.root.set("trusted_proxies", toml::Value::Array(networks));
        self.report.converted(&directive.place, "trusted_proxies");
    }

    /// Says what becomes of a directive that nothing here looks at.
    fn rest(&mut self, directive: &Directive) {
        let name = directive.name();
        let own = "not needed: the gateway has its own way";
        match name {
            "user"
            | "pid"
            | "error_log"
            | "worker_connections"
            | "worker_rlimit_nofile"
            | "daemon"
            | "sendfile"
            | "tcp_nopush"
            | "tcp_nodelay"
            | "types"
            | "types_hash_max_size"
            | "default_type"
            | "server_tokens"
            | "keepalive_requests"
            | "charset"
            | "log_format"
            | "multi_accept"
            | "use"
            | "server_names_hash_bucket_size"
            | "server_names_hash_max_size"
            | "proxy_http_version"
            | "proxy_buffering"
            | "proxy_buffers"
            | "proxy_buffer_size"
            | "proxy_busy_buffers_size"
            | "proxy_request_buffering"
            | "proxy_redirect"
            | "resolver"
            | "resolver_timeout"
            | "real_ip_header"
            | "real_ip_recursive"
            | "ssl_session_cache"
            | "ssl_session_timeout"
            | "ssl_session_tickets"
            | "ssl_prefer_server_ciphers"
            | "ssl_dhparam"
            | "ssl_ecdh_curve"
            | "http2"
            | "reset_timedout_connection"
            | "client_body_buffer_size"
            | "large_client_header_buffers"
            | "client_header_buffer_size"
            | "proxy_headers_hash_max_size"
            | "proxy_headers_hash_bucket_size"
            | "variables_hash_max_size" => {
                self.report.converted(&directive.place, own);
            }
            "access_log" if directive.argument() == "off" => {
                self.report.converted(&directive.place, "the default");
            }
            "access_log" => {
                self.document.root.set("access_log", true);
                let note = "access_log = true: JSON lines on standard error";
                self.report.approximated(&directive.place, note);
            }
            "client_max_body_size" => {
                let note = "not in force in this version: bodies have no bound, and nginx' default of 1m none either";
                self.report.leave_out(&directive.place, note);
            }
            "map" | "geo" | "split_clients" | "set" => {
                self.report.leave_out(&directive.place, "variables have no counterpart");
            }
            _ if name.starts_with("gzip") || name.starts_with("brotli") => {
                self.report.leave_out(&directive.place, "compression is not in force in this version");
            }
            _ if name.starts_with("proxy_cache") => {
                self.report.leave_out(&directive.place, "nothing is cached");
            }
            "limit_conn_zone" => self.report.converted(&directive.place, "see limit_conn"),
            "limit_conn_log_level" | "limit_req_log_level" => {
                self.report.converted(&directive.place, own);
            }
            "limit_conn_status" | "limit_conn_dry_run" => {
                self.report
                    .leave_out(&directive.place, "a rule's `concurrency` answers 503, a listener closes");
            }
            "limit_req" | "limit_req_zone" | "limit_req_status" | "limit_req_dry_run" => {
                let note = "rates are not limited in this version: `concurrency` of a rule bounds its requests at a time, \
                            `max_connections_per_address` of a listener its clients; else limit them ahead of the gateway";
                self.report.leave_out(&directive.place, note);
            }
            "limit_rate" | "limit_rate_after" | "limit_except" => {
                let note = match name {
                    "limit_except" => "write `methods` of the rule: it is not closed for others here",
                    _ => "answers are not slowed down",
                };
                self.report.leave_out(&directive.place, note);
            }
            _ => self.report.leave_out(&directive.place, "has no counterpart"),
        }
    }

    /// A file of the source as the configuration names it.
    fn file(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }
}

/// A directive's place, for the comment of what comes of it.
fn at(directive: &Directive) -> String {
    let place = &directive.place;
    format!("{}:{}: {}", place.file, place.line, place.text)
}

/// A time as nginx writes it, as this gateway does: a bare number is seconds.
fn time(text: &str) -> Option<String> {
    document::time(text, "s")
}
