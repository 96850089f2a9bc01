//! HAProxy: frontends' `use_backend` lines become rules in their order, backends become upstreams.

mod backend;
mod condition;
mod frontend;
mod syntax;

use std::path::{Path, PathBuf};

use self::backend::Backends;
use self::syntax::{Line, Section};
use crate::document::{self, Document, Table};
use crate::report::Report;
use crate::{ImportError, Imported};

/// What is being written.
pub(super) struct Translation {
    document: Document,
    report: Report,
    /// What relative names of files start from.
    root: PathBuf,
}

pub(super) fn import(path: &Path) -> Result<Imported, ImportError> {
    let sections = syntax::load(path)?;
    let root = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let root = root.parent().unwrap_or(Path::new("/")).to_path_buf();
    let mut translation = Translation { document: Document::default(), report: Report::default(), root };
    let mut defaults = Vec::new();
    let mut backends = Backends::default();
    let (stats, sections): (Vec<_>, Vec<_>) = sections.into_iter().partition(Section::is_statistics);
    for section in &stats {
        translation
            .report
            .leave_out(&section.head.place, "the page of statistics: see [admin], and `status_endpoints`");
        for line in &section.lines {
            translation.report.leave_out(&line.place, "of the page of statistics");
        }
    }
    for section in &sections {
        match section.kind() {
            "global" => translation.global(section),
            "defaults" => {
                translation.defaults(section);
                defaults = section.lines.clone();
            }
            "backend" | "listen" => backends.learn(section, &defaults, &mut translation),
            "frontend" => {}
            _ => translation.report.leave_out(&section.head.place, "this section has no counterpart"),
        }
    }
    let is_frontend = |section: &&Section| matches!(section.kind(), "frontend" | "listen");
    let is_http = |section: &&Section| !section.is_tcp(&defaults);
    let frontends: Vec<_> = sections.iter().filter(is_frontend).collect();
    let several = frontends.iter().copied().filter(is_http).count() > 1;
    for section in frontends {
        translation.frontend(section, &defaults, &mut backends, several);
    }
    backends.write(&mut translation);
    let Translation { document, mut report, .. } = translation;
    let name = path.display().to_string();
    if document.is_empty() {
        return Err(ImportError::Nothing(name));
    }
    report.sort(&[]);
    Ok(Imported { toml: document.render(&name), report })
}

impl Translation {
    fn global(&mut self, section: &Section) {
        self.report.converted(&section.head.place, "see its lines");
        for line in &section.lines {
            let place = &line.place;
            match line.name() {
                "nbthread" => {
                    let Ok(threads) = line.argument().parse::<i64>() else { continue };
                    self.server("workers", threads);
                    self.report.converted(place, "server.workers");
                }
                "maxconn" => {
                    let Ok(most) = line.argument().parse::<i64>() else { continue };
                    self.server("max_connections", most);
                    self.report.converted(place, "server.max_connections");
                }
                "ssl-default-bind-options" | "ssl-default-bind-ciphers" | "ssl-default-bind-ciphersuites" => {
                    self.report
                        .approximated(place, "the gateway's own: TLS 1.2 and 1.3 with ciphers that are good");
                }
                "lua-load" | "stats" => self.report.leave_out(place, "has no counterpart; see [admin]"),
                _ => self.report.converted(place, "not needed: the gateway has its own way"),
            }
        }
    }

    fn defaults(&mut self, section: &Section) {
        self.report.converted(&section.head.place, "held by the sections below it");
        for line in &section.lines {
            let place = &line.place;
            match line.name() {
                "option" if matches!(line.argument(), "httplog" | "tcplog") => self.log(line),
                "mode" | "option" | "balance" | "retries" | "timeout" | "http-check" | "default-server" => {
                    let is_own =
                        ["redispatch", "forwardfor", "dontlognull", "http-server-close", "http-keep-alive"];
                    if line.name() == "option" && is_own.contains(&line.argument()) {
                        self.report.converted(place, "the gateway does so itself");
                    }
                    // The others are said where they hold.
                }
                "log" => self.report.converted(place, "not needed: lines go to standard error"),
                "errorfile" | "errorloc" => {
                    self.report.leave_out(place, "errors are problem documents (RFC 9457)");
                }
                "maxconn" => self.report.approximated(place, "see server.max_connections"),
                _ => self.report.leave_out(place, "has no counterpart"),
            }
        }
    }

    fn log(&mut self, line: &Line) {
        self.document.root.set("access_log", true);
        self.report.approximated(&line.place, "access_log = true: JSON lines on standard error");
    }

    fn server(&mut self, key: &str, value: i64) {
        if self.document.tables.is_empty() {
            self.document.tables.push(Table::new("[server]", ""));
        }
        if let Some(server) = self.document.tables.first_mut() {
            server.set(key, value);
        }
    }

    /// A file of the source as the configuration names it.
    fn file(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }
}

/// A line's place, for the comment of what comes of it.
fn at(line: &Line) -> String {
    let place = &line.place;
    format!("{}:{}: {}", place.file, place.line, place.text)
}

/// A time as HAProxy writes it, as this gateway does: a bare number is milliseconds.
fn time(text: &str) -> Option<String> {
    document::time(text, "ms")
}
