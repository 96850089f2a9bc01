//! `location` blocks: rules by path, in the order in which nginx would have chosen.

use std::cmp::Reverse;

use super::condition::Conditions;
use super::rewrite::{redirects, regex_within};
use super::server::Server;
use super::settings::{Proxied, Settings};
use super::syntax::Directive;
use super::{Translation, at};
use crate::document::{CLOSED, Table, slug, table};

/// A rule that lacks its hosts.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) order: Order,
    pub(super) name: String,
    pub(super) rule: Table,
    /// In place of the server's, where it is for one of them alone.
    pub(super) hosts: Option<Vec<String>>,
    /// Needed only where other servers' rules could take what it takes.
    pub(super) is_beside_others: bool,
}

/// Where an `if` stands.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    /// The location's; a server has none.
    pub(super) path: Option<&'a Path>,
    pub(super) order: &'a Order,
    pub(super) server: &'a Server,
    pub(super) settings: &'a Settings,
}

/// nginx' order, as far as rules that are tried one by one can have it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    /// What a server does before it looks at locations.
    First(usize),
    Exact,
    /// Prefixes that no regex may beat; the longer first.
    Firm(Reverse<usize>),
    /// In the order of the file.
    Regex(usize),
    Prefix(Reverse<usize>),
    /// What is left.
    Rest,
}

/// What a location asks of the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    All,
    Exact(String),
    Prefix(String),
    Regex(String),
}

impl Translation {
    /// The rules of a server, in their order.
    pub(super) fn server(&mut self, server: &Server, around: &Settings) -> Vec<Draft> {
        let block = server.block.children();
        let settings = self.settings(block, around);
        let mut drafts = Vec::new();
        let mut otherwise = Vec::new();
        let mut nested = Vec::new();
        flatten(block, None, &mut nested);
        let all: Vec<&Directive> = nested.iter().map(|(location, _)| *location).collect();
        for (place, directive) in block.iter().enumerate() {
            match directive.name() {
                "rewrite" => self.rewrite(directive, place, &mut drafts),
                "if" => {
                    let order = Order::First(place);
                    let here = Here { path: None, order: &order, server, settings: &settings };
                    let other = self.condition(directive, &here, &mut drafts);
                    otherwise.extend(other.map(|other| (order, other)));
                }
                "return" => self.respond(directive, &Path::All, &Order::First(place), server, &mut drafts),
                "listen"
                | "server_name"
                | "location"
                | "ssl_certificate"
                | "ssl_certificate_key"
                | "ssl_protocols"
                | "ssl_ciphers"
                | "ssl_verify_client"
                | "ssl_client_certificate"
                | "ssl_trusted_certificate"
                | "keepalive_timeout" => {}
                "root" | "index" | "error_page" => {
                    self.report.leave_out(&directive.place, "the gateway serves no files");
                }
                name if Settings::has(name) => {}
                _ => self.rest(directive),
            }
        }
        let firm: Vec<String> = all
            .iter()
            .filter_map(|it| match it.arguments() {
                [sign, prefix] if sign == "^~" => Some(prefix.clone()),
                _ => None,
            })
            .collect();
        let has_regexes = all.iter().any(|it| it.argument().starts_with('~'));
        let named: Vec<&Directive> =
            all.iter().copied().filter(|it| it.argument().starts_with('@')).collect();
        for (place, (location, around)) in nested.iter().enumerate() {
            let Some((path, order)) = self.path(location, *around, place, &firm, has_regexes) else {
                continue;
            };
            let settings = self.settings(location.children(), &settings);
            self.location(location, &path, &order, &settings, server, &named, &mut drafts);
        }
        for (order, other) in otherwise {
            // Those ahead of the condition have been looked at before it.
            for draft in drafts.iter_mut().filter(|draft| draft.order > order) {
                other.restrict(&mut draft.rule);
            }
            drafts.extend(other.drafts);
        }
        drafts.sort_by(|one, other| one.order.cmp(&other.order));
        drafts
    }

    /// What a location asks for, and when it is looked at.
    fn path(
        &mut self,
        location: &Directive,
        around: Option<&str>,
        place: usize,
        firm: &[String],
        has_regexes: bool,
    ) -> Option<(Path, Order)> {
        let (sign, text) = match location.arguments() {
            [sign, text] => (sign.as_str(), text.as_str()),
            [text] if text.starts_with('@') => {
                self.report.converted(&location.place, "used where try_files names it");
                return None;
            }
            [text] => ("", text.as_str()),
            _ => {
                self.report.leave_out(&location.place, "is not understood");
                return None;
            }
        };
        let report = &mut self.report;
        match sign {
            "=" => {
                report.converted(&location.place, "path");
                Some((Path::Exact(text.to_owned()), Order::Exact))
            }
            "~" | "~*" => {
                let Some(regex) = regex_within(text, sign == "~*", around) else {
                    let note = "its regex could match paths outside of the location that it stands in";
                    report.leave_out(&location.place, note);
                    return None;
                };
                if let Err(error) = regex::Regex::new(&regex) {
                    let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
                    report.leave_out(&location.place, format!("no path_regex can say it: {reason}"));
                    return None;
                }
                report.converted(&location.place, "path_regex");
                Some((Path::Regex(regex), Order::Regex(place)))
            }
            "" | "^~" if text == "/" => {
                report.converted(&location.place, "every path");
                let order = if sign == "^~" { Order::Firm(Reverse(1)) } else { Order::Prefix(Reverse(1)) };
                Some((Path::All, order))
            }
            "" | "^~" => {
                let is_below = firm.iter().any(|prefix| text.starts_with(prefix.as_str()) && text != prefix);
                let rank = Reverse(text.len());
                match text.ends_with('/') {
                    true => {
                        let note = format!(
                            "path_prefix: takes {}, too, which nginx redirects",
                            text.trim_end_matches('/')
                        );
                        report.approximated(&location.place, note);
                    }
                    false => {
                        let note = format!("path_prefix: takes {text} and what is below it, not {text}…");
                        report.approximated(&location.place, note);
                    }
                }
                if is_below && sign.is_empty() && has_regexes {
                    report
                        .approximated(&location.place, "below a ^~ location: regexes do not go ahead of it");
                }
                let order = if sign == "^~" || is_below { Order::Firm(rank) } else { Order::Prefix(rank) };
                Some((Path::Prefix(text.to_owned()), order))
            }
            _ => {
                report.leave_out(&location.place, "is not understood");
                None
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a location and all that it stands in")]
    fn location(
        &mut self,
        location: &Directive,
        path: &Path,
        order: &Order,
        settings: &Settings,
        server: &Server,
        named: &[&Directive],
        drafts: &mut Vec<Draft>,
    ) {
        for directive in location.children() {
            match directive.name() {
                "proxy_pass" | "return" | "rewrite" | "location" | "try_files" | "if" => {}
                "limit_conn" if self.counts_addresses(directive) => {
                    let note = "`max_connections_per_address` is a listener's, for all of its locations";
                    self.report.leave_out(&directive.place, note);
                }
                "root" | "alias" | "index" | "autoindex" | "expires" | "fastcgi_pass" | "fastcgi_param"
                | "uwsgi_pass" | "scgi_pass" | "grpc_pass" | "memcached_pass" | "error_page" => {
                    self.report.leave_out(
                        &directive.place,
                        "the gateway forwards by HTTP alone, and serves no files",
                    );
                }
                name if Settings::has(name) => {}
                _ => self.rest(directive),
            }
        }
        let here = Here { path: Some(path), order, server, settings };
        let Conditions { returns, forwards, others } = self.conditions(location, &here);
        drafts.extend(returns);
        let before = drafts.len();
        drafts.extend(forwards);
        self.located(location, path, order, settings, server, named, drafts);
        for other in others {
            for draft in drafts.iter_mut().skip(before) {
                other.restrict(&mut draft.rule);
            }
            drafts.extend(other.drafts);
        }
    }

    /// What a location does once its conditions have been looked at.
    #[expect(clippy::too_many_arguments, reason = "a location and all that it stands in")]
    fn located(
        &mut self,
        location: &Directive,
        path: &Path,
        order: &Order,
        settings: &Settings,
        server: &Server,
        named: &[&Directive],
        drafts: &mut Vec<Draft>,
    ) {
        let find = |name: &str| location.children().iter().find(|it| it.name() == name);
        let mut push = |rule: Table| drafts.push(Draft::new(order.clone(), path.label(), rule));
        if settings.guard.is_some() {
            if let Some(directive) = find("proxy_pass") {
                self.report.leave_out(&directive.place, "closed (503), as what guards it cannot be kept");
            }
            return push(path.closed(location));
        }
        let rewrites = || location.children().iter().filter(|it| it.name() == "rewrite");
        for directive in rewrites().filter(|it| redirects(it.arguments()).is_some()) {
            if let Some(rule) = self.redirecting(directive, path) {
                push(rule);
            }
        }
        if let Some(directive) = find("return") {
            return self.respond(directive, path, order, server, drafts);
        }
        let proxy_pass = find("proxy_pass").cloned().or_else(|| {
            // `try_files $uri @app`: files are the backend's.
            let directive = find("try_files")?;
            let name = directive.arguments().last()?;
            let target = named.iter().find(|it| it.argument() == name)?;
            let found = target.children().iter().find(|it| it.name() == "proxy_pass")?;
            self.report.approximated(&directive.place, format!("all of it goes where {name} does"));
            Some(found.clone())
        });
        let Some(directive) = proxy_pass else {
            if let Some(directive) = find("try_files") {
                self.report.leave_out(&directive.place, "the gateway serves no files: closed (503)");
            }
            for directive in rewrites().filter(|it| redirects(it.arguments()).is_none()) {
                let note =
                    "closed (503): a path that is matched again after it was rewritten has no counterpart";
                self.report.leave_out(&directive.place, note);
            }
            if find("location").is_some() {
                let note = "closed (503) but for its nested locations: nothing else in it is forwarded";
                self.report.approximated(&location.place, note);
            }
            return push(path.closed(location));
        };
        let Some(proxied) = self.proxied(&directive, settings) else {
            self.report.leave_out(&directive.place, "closed (503): variables have no counterpart");
            return push(path.closed(location));
        };
        let mut rule = Table::rule(at(location));
        path.write(&mut rule);
        rule.set("upstream", proxied.upstream.as_str());
        self.apply(settings, &mut rule, &proxied);
        for directive in rewrites().filter(|it| redirects(it.arguments()).is_none()) {
            if let Some(rewritten) = self.rewritten(directive, path, &rule) {
                push(rewritten);
            }
        }
        self.replace_path(&directive, &proxied, path, &mut rule);
        push(rule);
    }

    /// What `proxy_pass` names, and the upstream for it.
    pub(super) fn proxied(&mut self, directive: &Directive, settings: &Settings) -> Option<Proxied> {
        let target = directive.argument();
        if target.contains('$') {
            return None;
        }
        let (scheme, rest) = match target.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            _ => return None,
        };
        let (authority, uri) = match rest.find('/') {
            Some(slash) => (rest.get(..slash)?, Some(rest.get(slash..)?.to_owned())),
            None => (rest, None),
        };
        if authority.is_empty() || authority.starts_with("unix:") {
            return None;
        }
        let verifies = settings.verifies_backends;
        let is_direct = !self.upstreams.is_group(authority);
        let upstream = self.upstreams.name(authority, scheme, verifies, &mut self.document);
        match scheme == "https" && !verifies {
            true => {
                let note = format!("upstream {upstream}; as with nginx, its certificate is believed unseen");
                self.report.approximated(&directive.place, note);
            }
            false => self.report.converted(&directive.place, format!("upstream {upstream}")),
        }
        Some(Proxied { upstream, authority: authority.to_owned(), is_direct, uri })
    }

    /// `proxy_pass` with a path puts it in the place of the location's.
    fn replace_path(&mut self, directive: &Directive, proxied: &Proxied, path: &Path, rule: &mut Table) {
        let Some(uri) = &proxied.uri else { return };
        let (uri, query) =
            uri.split_once('?').map_or((uri.as_str(), None), |(uri, query)| (uri, Some(query)));
        if query.is_some() {
            self.report.leave_out(&directive.place, "the query: a rule writes none");
        }
        match path {
            Path::Exact(_) => rule.set("rewrite", uri),
            Path::All if uri == "/" => {}
            Path::All => {
                rule.set("add_prefix", uri.trim_end_matches('/'));
                if !uri.ends_with('/') {
                    let note = format!("add_prefix: /x becomes {uri}/x, where nginx makes {uri}x of it");
                    self.report.approximated(&directive.place, note);
                }
            }
            Path::Prefix(prefix) => {
                let (from, to) = (prefix.trim_end_matches('/'), uri.trim_end_matches('/'));
                rule.set("strip_prefix", from);
                if !to.is_empty() {
                    rule.set("add_prefix", to);
                }
                if prefix.ends_with('/') != uri.ends_with('/') {
                    let note = "the rest of the path follows whole segments: slashes are not doubled or lost";
                    self.report.approximated(&directive.place, note);
                }
            }
            Path::Regex(_) => self.report.leave_out(&directive.place, "nginx takes no path here"),
        }
    }

    /// `return`: a redirect, or nothing that a gateway could say.
    pub(super) fn respond(
        &mut self,
        directive: &Directive,
        path: &Path,
        order: &Order,
        server: &Server,
        drafts: &mut Vec<Draft>,
    ) {
        let (status, target) = match directive.arguments() {
            [status, target] => (status.parse::<i64>().unwrap_or(0), target.as_str()),
            [target] if target.contains("://") => (302, target.as_str()),
            [status] => (status.parse::<i64>().unwrap_or(0), ""),
            _ => (0, ""),
        };
        let mut push = |rule: Table, hosts: Option<Vec<String>>| {
            drafts.push(Draft { hosts, ..Draft::new(order.clone(), path.label(), rule) });
        };
        if ![301, 302, 303, 307, 308].contains(&status) || target.is_empty() {
            let note = format!("the gateway gives no answers of its own: 503 in the place of {status}");
            self.report.approximated(&directive.place, note);
            return push(path.closed(directive), None);
        }
        let Some(Target { origin, whole }) = Target::of(target) else {
            self.report.leave_out(&directive.place, "closed (503): no redirect can say where");
            return push(path.closed(directive), None);
        };
        let mut rule = Table::rule(at(directive));
        path.write(&mut rule);
        if let Some(whole) = &whole {
            rule.set("rewrite", whole.as_str());
        }
        let redirect = |origin: Option<String>| {
            let to = origin.map(|origin| ("to", origin.into()));
            table(to.into_iter().chain([("status", status.into())]))
        };
        match origin {
            // The host that was asked for.
            Origin::Asked(scheme) => {
                let exact: Vec<&String> =
                    server.names.iter().filter(|name| !name.starts_with("*.")).collect();
                if exact.is_empty() {
                    return self
                        .report
                        .leave_out(&directive.place, "no redirect keeps a host that has no name here");
                }
                for name in exact {
                    let mut rule = rule.clone();
                    rule.set("redirect", redirect(Some(format!("{scheme}://{name}"))));
                    push(rule, Some(vec![name.clone()]));
                }
            }
            Origin::Named(origin) => {
                rule.set("redirect", redirect(Some(origin)));
                push(rule, None);
            }
            Origin::Same => {
                rule.set("redirect", redirect(None));
                push(rule, None);
            }
        }
        match whole.is_some() {
            true => self.report.approximated(&directive.place, "redirect: the query is kept"),
            false => self.report.converted(&directive.place, "redirect"),
        }
    }
}

impl Draft {
    pub(super) fn new(order: Order, name: String, rule: Table) -> Self {
        Self { order, name, rule, hosts: None, is_beside_others: false }
    }
}

impl Path {
    pub(super) fn write(&self, rule: &mut Table) {
        match self {
            Self::All => {}
            Self::Exact(path) => rule.set("path", path.as_str()),
            Self::Prefix(prefix) => rule.set("path_prefix", prefix.as_str()),
            Self::Regex(regex) => rule.set("path_regex", regex.as_str()),
        }
    }

    pub(super) fn label(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => slug(text),
        }
    }

    pub(super) fn closed(&self, directive: &Directive) -> Table {
        let mut rule = Table::rule(at(directive));
        self.write(&mut rule);
        rule.set("upstream", CLOSED);
        rule
    }
}

/// Where a redirect leads.
struct Target {
    origin: Origin,
    /// A path in place of the one that was asked for.
    whole: Option<String>,
}

enum Origin {
    /// The host that was asked for, by this scheme.
    Asked(&'static str),
    Named(String),
    Same,
}

impl Target {
    fn of(text: &str) -> Option<Self> {
        let (origin, rest) = match text.split_once("://") {
            None if text.starts_with('/') => (Origin::Same, text),
            None => return None,
            Some((scheme, rest)) => {
                let scheme = match scheme {
                    "https" => "https",
                    "http" | "$scheme" => "http",
                    _ => return None,
                };
                let end = rest.find('/').or_else(|| rest.find("$request_uri")).or_else(|| rest.find("$uri"));
                let (host, rest) = rest.split_at(end.unwrap_or(rest.len()));
                match host {
                    "$host" | "$http_host" | "$server_name" => (Origin::Asked(scheme), rest),
                    _ if host.contains('$') || host.is_empty() => return None,
                    _ => (Origin::Named(format!("{scheme}://{host}")), rest),
                }
            }
        };
        match rest {
            "$request_uri" | "$uri" | "$uri$is_args$args" => Some(Self { origin, whole: None }),
            "" => Some(Self { origin, whole: Some("/".to_owned()) }),
            _ if rest.contains('$') => None,
            _ => Some(Self { origin, whole: Some(rest.to_owned()) }),
        }
    }
}

/// All locations, nested ones too with the prefix of the one around them, in the order of the file.
fn flatten<'a>(
    block: &'a [Directive],
    around: Option<&'a str>,
    into: &mut Vec<(&'a Directive, Option<&'a str>)>,
) {
    for directive in block.iter().filter(|it| it.name() == "location") {
        into.push((directive, around));
        let own = match directive.arguments() {
            [sign, text] if sign == "^~" || sign == "=" => Some(text.as_str()),
            [text] if text.starts_with('/') => Some(text.as_str()),
            // Whatever matches a regex may be anywhere.
            _ => around,
        };
        flatten(directive.children(), own, into);
    }
}
