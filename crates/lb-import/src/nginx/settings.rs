//! What http, server and location say alike, and hand down: header changes, deadlines, and what guards a place.

use super::syntax::Directive;
use super::{Translation, time};
use crate::document::Table;

/// What holds at a level.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    /// `proxy_set_header`: a level that has any has none of those above.
    request: Vec<Directive>,
    /// `add_header`: the same.
    response: Vec<Directive>,
    hidden: Vec<Directive>,
    connect_timeout: Option<Directive>,
    next_upstream: Option<Directive>,
    tries: Option<Directive>,
    read_timeout: Option<Directive>,
    /// `limit_conn`: the same.
    pub(super) limits: Vec<Directive>,
    /// What cannot be kept and protects: it closes the place.
    pub(super) guard: Option<Directive>,
    pub(super) verifies_backends: bool,
}

impl Settings {
    /// Whether a directive of this name is one of these.
    pub(super) fn has(name: &str) -> bool {
        matches!(
            name,
            "proxy_set_header"
                | "add_header"
                | "proxy_hide_header"
                | "proxy_connect_timeout"
                | "proxy_read_timeout"
                | "proxy_send_timeout"
                | "proxy_ssl_verify"
                | "deny"
                | "allow"
                | "auth_basic"
                | "auth_basic_user_file"
                | "auth_request"
                | "auth_jwt"
                | "internal"
                | "satisfy"
                | "proxy_next_upstream"
                | "proxy_next_upstream_tries"
                | "limit_conn"
        )
    }
}

impl Translation {
    /// What holds in a block, below what holds around it.
    pub(super) fn settings(&mut self, block: &[Directive], around: &Settings) -> Settings {
        let mut settings = around.clone();
        let own =
            |name: &str| -> Vec<Directive> { block.iter().filter(|it| it.name() == name).cloned().collect() };
        let (request, response) = (own("proxy_set_header"), own("add_header"));
        if !request.is_empty() {
            settings.request = request;
        }
        if !response.is_empty() {
            settings.response = response;
        }
        settings.hidden.extend(own("proxy_hide_header"));
        let limits = own("limit_conn");
        if !limits.is_empty() {
            settings.limits = limits;
        }
        for directive in block {
            let report = &mut self.report;
            match directive.name() {
                "proxy_connect_timeout" => settings.connect_timeout = Some(directive.clone()),
                "proxy_read_timeout" => settings.read_timeout = Some(directive.clone()),
                "proxy_send_timeout" => {
                    report.approximated(&directive.place, "idle_timeout bounds the gaps in a body (60 s)");
                }
                "proxy_ssl_verify" => settings.verifies_backends = directive.argument() == "on",
                "proxy_next_upstream" => settings.next_upstream = Some(directive.clone()),
                "proxy_next_upstream_tries" => settings.tries = Some(directive.clone()),
                "allow" if directive.argument() == "all" => report.converted(&directive.place, "the default"),
                "auth_basic" if directive.argument() == "off" => settings.guard = None,
                "deny" | "auth_basic" | "auth_request" | "auth_jwt" | "internal" => {
                    let note = "cannot be kept: what it guards is closed (503) until you decide";
                    report.leave_out(&directive.place, note);
                    settings.guard = Some(directive.clone());
                }
                "allow" | "auth_basic_user_file" | "satisfy" => {
                    report.leave_out(&directive.place, "see what it guards");
                }
                _ => {}
            }
        }
        settings
    }

    /// Writes into a rule what holds for it. `proxied` is what `$proxy_host` stands for.
    pub(super) fn apply(&mut self, settings: &Settings, rule: &mut Table, proxied: &Proxied) {
        rule.set("host_header", proxied.host_header());
        for directive in &settings.request {
            self.request_header(directive, rule, proxied);
        }
        for directive in &settings.response {
            self.response_header(directive, rule);
        }
        for directive in &settings.limits {
            self.limit(directive, rule);
        }
        for directive in &settings.hidden {
            rule.push_in(["response_headers", "remove"], directive.argument());
            self.report.converted(&directive.place, "response_headers.remove");
        }
        self.retries(settings, rule);
        let timeouts = [(&settings.connect_timeout, "connect_timeout"), (&settings.read_timeout, "timeout")];
        for (directive, key) in timeouts {
            let Some(directive) = directive else { continue };
            match (time(directive.argument()), key) {
                (Some(time), "timeout") => {
                    rule.set(key, time);
                    let note = "timeout: until the response head, over all tries";
                    self.report.approximated(&directive.place, note);
                }
                (Some(time), _) => {
                    rule.set(key, time);
                    self.report.converted(&directive.place, key);
                }
                (None, _) => self.report.leave_out(&directive.place, "this time is not understood"),
            }
        }
    }

    /// What is tried elsewhere, and how often.
    fn retries(&mut self, settings: &Settings, rule: &mut Table) {
        let causes = settings.next_upstream.as_ref();
        let is_off = causes.is_some_and(|directive| directive.argument() == "off");
        let tries = settings.tries.as_ref().and_then(|directive| directive.argument().parse::<i64>().ok());
        // nginx counts the first one, too, and by 0 means no bound.
        let attempts = if is_off { Some(0) } else { tries.filter(|tries| *tries > 0).map(|tries| tries - 1) };
        let mut written = toml::Table::new();
        written.extend(attempts.map(|attempts| ("attempts".to_owned(), attempts.into())));
        if let Some(directive) = causes.filter(|_| !is_off) {
            let mut on = vec!["connect".to_owned(), "reset".to_owned()];
            let statuses = directive.arguments().iter().filter_map(|cause| cause.strip_prefix("http_"));
            on.extend(statuses.map(str::to_owned));
            written.insert("on".to_owned(), on.into());
        }
        if !written.is_empty() {
            rule.set("retries", written);
        }
        for directive in [&settings.next_upstream, &settings.tries].into_iter().flatten() {
            let note = "retries: idempotent requests alone, each elsewhere, within a budget";
            self.report.approximated(&directive.place, note);
        }
    }

    fn request_header(&mut self, directive: &Directive, rule: &mut Table, proxied: &Proxied) {
        let [name, value] = directive.arguments() else {
            return self.report.leave_out(&directive.place, "expected a name and a value");
        };
        let place = &directive.place;
        let lower = name.to_ascii_lowercase();
        let forwarding = [
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-request-id",
        ];
        match (lower.as_str(), value.as_str()) {
            ("host", "$host" | "$http_host" | "$server_name") => {
                rule.set("host_header", "preserve");
                self.report.converted(place, "host_header = \"preserve\"");
            }
            ("host", "$proxy_host") => {
                rule.set("host_header", proxied.host_header());
                self.report.converted(place, "host_header");
            }
            ("host", literal) if !literal.contains('$') => {
                rule.set("host_header", literal);
                self.report.converted(place, "host_header");
            }
            ("connection" | "upgrade", _) => {
                self.report
                    .converted(place, "the gateway does so itself: connections are kept, upgrades pass");
            }
            (known, value) if forwarding.contains(&known) && value.contains('$') => {
                self.report.converted(place, "the gateway sets it itself, by trusted_proxies");
            }
            (_, "") => {
                rule.push_in(["request_headers", "remove"], name.as_str());
                self.report.converted(place, "request_headers.remove");
            }
            (_, literal) if !literal.contains('$') => {
                rule.set_in(["request_headers", "set"], name, literal);
                self.report.converted(place, "request_headers.set");
            }
            _ => self.report.leave_out(place, "variables have no counterpart"),
        }
    }

    fn response_header(&mut self, directive: &Directive, rule: &mut Table) {
        let (name, value, always) = match directive.arguments() {
            [name, value] => (name, value, false),
            [name, value, always] if always == "always" => (name, value, true),
            _ => return self.report.leave_out(&directive.place, "expected a name and a value"),
        };
        if value.contains('$') {
            return self.report.leave_out(&directive.place, "variables have no counterpart");
        }
        rule.set_in(["response_headers", "add"], name, value.as_str());
        match always {
            true => self.report.converted(&directive.place, "response_headers.add"),
            false => {
                self.report
                    .approximated(&directive.place, "response_headers.add: on answers of every status");
            }
        }
    }
}

/// Where a location forwards to.
#[derive(Debug, Clone)]
pub(super) struct Proxied {
    pub(super) upstream: String,
    /// The host and port as written.
    pub(super) authority: String,
    /// Whether it is one backend and no group.
    pub(super) is_direct: bool,
    /// What takes the place of the location's path.
    pub(super) uri: Option<String>,
}

impl Proxied {
    /// nginx names to the backend what `proxy_pass` names, unless it is told otherwise.
    fn host_header(&self) -> String {
        if self.is_direct { "backend".to_owned() } else { self.authority.clone() }
    }
}
