//! What a new configuration changes, by names: shown before it is put in force, and logged when it has been.

use std::fmt::{self, Write};

use ahash::HashMap;

use crate::config::{BackendConfig, GatewayConfig, RuleConfig, SplitConfig, UpstreamConfig};

/// Names that are listed in a line for people; of the others there is the number.
const LISTED: usize = 8;

/// Everything that one configuration changes of another.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Rules by name.
    pub rules: Changes,
    /// The rules that both have stand in another order.
    pub reordered: bool,
    /// Listeners by name.
    pub listeners: Changes,
    /// Upstreams that come, go or change.
    pub upstreams: Vec<UpstreamChange>,
    /// Upstreams that stay as they are.
    pub upstreams_unchanged: usize,
    /// Settings of the whole that change at once, by key.
    pub settings: Vec<&'static str>,
    /// What only takes effect at the next start.
    pub restart: Vec<Restart>,
}

/// Names that come, change, go, and how many stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// In the new one alone.
    pub added: Vec<String>,
    /// In both, and not the same.
    pub changed: Vec<String>,
    /// In the old one alone.
    pub removed: Vec<String>,
    /// The same in both.
    pub unchanged: usize,
}

/// What changes of one upstream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpstreamChange {
    /// Its name.
    pub name: String,
    /// `added`, `removed` or `changed`.
    pub change: &'static str,
    /// Backends that come, by URL.
    pub added: Vec<String>,
    /// Backends that go: they finish what they have.
    pub removed: Vec<String>,
    /// Backends that stay and have other settings: URL, and what changes in words.
    pub changed: Vec<(String, String)>,
    /// Settings of its own, by key.
    pub settings: Vec<&'static str>,
}

/// A setting that a running gateway cannot change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// Its key.
    pub key: &'static str,
    /// What is in force.
    pub from: String,
    /// What the file says.
    pub to: String,
}

impl Plan {
    /// What `next` changes of `now`.
    #[must_use]
    pub fn between(now: &GatewayConfig, next: &GatewayConfig) -> Self {
        let mut plan = Self {
            rules: changes(&now.rules, &next.rules, rule_name, |one, other| {
                same_rule((now, one), (next, other))
            }),
            reordered: is_reordered(&now.rules, &next.rules),
            listeners: changes(&now.listeners, &next.listeners, |it| &it.name, PartialEq::eq),
            ..Self::default()
        };
        plan.compare_upstreams(&now.upstreams, &next.upstreams);
        for (key, is_changed) in [
            ("server.max_connections", now.max_connections != next.max_connections),
            ("server.shutdown_timeout", now.shutdown_timeout != next.shutdown_timeout),
            ("server.drain_delay", now.drain_delay != next.drain_delay),
            ("trusted_proxies", now.trusted_proxies != next.trusted_proxies),
            ("bounds of idle connections", now.pool != next.pool),
            ("underscores_in_headers", now.underscores_in_headers != next.underscores_in_headers),
            ("tracing.sample", now.trace_sample != next.trace_sample),
            ("merge_slashes", now.merge_slashes != next.merge_slashes),
        ] {
            plan.settings.extend(is_changed.then_some(key));
        }
        if now.workers != next.workers {
            plan.needs_restart("server.workers", now.workers.to_string(), next.workers.to_string());
        }
        if now.state_file != next.state_file {
            let shown = |config: &GatewayConfig| match &config.state_file {
                Some(file) => file.display().to_string(),
                None => "none".to_owned(),
            };
            plan.needs_restart("server.state_file", shown(now), shown(next));
        }
        plan
    }

    /// Adds a setting that only takes effect at the next start.
    pub fn needs_restart(&mut self, key: &'static str, from: impl Into<String>, to: impl Into<String>) {
        self.restart.push(Restart { key, from: from.into(), to: to.into() });
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.rules.any()
            && !self.reordered
            && !self.listeners.any()
            && self.upstreams.is_empty()
            && self.settings.is_empty()
            && self.restart.is_empty()
    }

    fn compare_upstreams(&mut self, now: &[UpstreamConfig], next: &[UpstreamConfig]) {
        let names = changes(now, next, |it| &it.name, PartialEq::eq);
        self.upstreams_unchanged = names.unchanged;
        let change =
            |change| move |name: String| UpstreamChange { name, change, ..UpstreamChange::default() };
        self.upstreams.extend(names.added.into_iter().map(change("added")));
        let before: HashMap<&str, &UpstreamConfig> = now.iter().map(|it| (it.name.as_str(), it)).collect();
        for after in next {
            let Some(before) = before.get(&*after.name).filter(|before| **before != after) else { continue };
            self.upstreams.push(compare_upstream(before, after));
        }
        self.upstreams.extend(names.removed.into_iter().map(change("removed")));
    }
}

impl Changes {
    /// Whether anything changes.
    #[must_use]
    pub fn any(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty())
    }

    /// By the word for one of them.
    fn describe(&self, what: &str) -> String {
        if !self.any() {
            return unchanged(self.unchanged, what);
        }
        let mut line = format!("{what}s");
        for (sign, names) in [('+', &self.added), ('~', &self.changed), ('-', &self.removed)] {
            if !names.is_empty() {
                let _ = write!(line, " {sign}{} ({})", names.len(), listed(names));
            }
        }
        line
    }
}

/// One line for people: `rules +1 (v2) ~2 (api, web), upstream app: +http://10.0.0.4, 2 listeners unchanged`.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = vec![self.rules.describe("rule")];
        if self.reordered {
            parts.push("rules in another order".to_owned());
        }
        parts.extend(self.upstreams.iter().take(LISTED).map(ToString::to_string));
        match self.upstreams.len() {
            0 => parts.push(unchanged(self.upstreams_unchanged, "upstream")),
            count if count > LISTED => parts.push(format!("and {} more upstreams", count - LISTED)),
            _ => {}
        }
        parts.push(self.listeners.describe("listener"));
        parts.extend(self.settings.iter().map(|key| format!("{key} changed")));
        parts.extend(self.restart.iter().map(ToString::to_string));
        f.write_str(&parts.join("; "))
    }
}

impl fmt::Display for UpstreamChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.change != "changed" {
            return write!(f, "upstream {} {}", self.name, self.change);
        }
        let backends = self.added.iter().map(|url| format!("+{url}"));
        let backends = backends.chain(self.removed.iter().map(|url| format!("-{url}")));
        let backends = backends.chain(self.changed.iter().map(|(url, words)| format!("{url} {words}")));
        let all: Vec<String> =
            backends.chain(self.settings.iter().map(|key| format!("{key} changed"))).collect();
        write!(f, "upstream {}: {}", self.name, listed(&all))
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}→{} takes effect at the next start", self.key, self.from, self.to)
    }
}

fn unchanged(count: usize, what: &str) -> String {
    format!("{count} {what}{} unchanged", if count == 1 { "" } else { "s" })
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        let _ = write!(text, " and {} more", names.len() - LISTED);
    }
    text
}

fn rule_name(rule: &RuleConfig) -> &str {
    &rule.route.name
}

/// Whether two rules of one name do the same; upstreams are numbered anew in each configuration.
fn same_rule(
    (now, one): (&GatewayConfig, &RuleConfig),
    (next, other): (&GatewayConfig, &RuleConfig),
) -> bool {
    let leads_alike = || upstream_of(now, one) == upstream_of(next, other);
    if one == other {
        return leads_alike();
    }
    let mut numbered = RuleConfig { upstream: one.upstream, ..other.clone() };
    if let (Some(one), Some(other)) = (&one.mirror, &mut numbered.mirror) {
        other.upstream = one.upstream;
    }
    // Arms are known by their names.
    let arms = |rule: Option<&SplitConfig>| rule.map(|split| split.arms.clone()).unwrap_or_default();
    let known = arms(one.split.as_ref());
    for (arm, known) in numbered.split.iter_mut().flat_map(|split| &mut split.arms).zip(&known) {
        arm.upstream = known.upstream;
    }
    *one == numbered && leads_alike()
}

fn upstream_of<'a>(config: &'a GatewayConfig, rule: &RuleConfig) -> Option<&'a str> {
    config.upstreams.get(rule.upstream).map(|upstream| upstream.name.as_str())
}

fn is_reordered(now: &[RuleConfig], next: &[RuleConfig]) -> bool {
    if now.iter().map(rule_name).eq(next.iter().map(rule_name)) {
        return false;
    }
    let places: HashMap<&str, usize> = now.iter().map(rule_name).zip(0..).collect();
    let kept = next.iter().filter_map(|rule| places.get(rule_name(rule)));
    !kept.is_sorted()
}

fn changes<'a, T>(
    now: &'a [T],
    next: &'a [T],
    name: impl Fn(&'a T) -> &'a str,
    same: impl Fn(&'a T, &'a T) -> bool,
) -> Changes {
    let mut found = Changes::default();
    // As most often, all stand where they stood: no index is needed.
    if now.iter().map(&name).eq(next.iter().map(&name)) {
        let changed = now.iter().zip(next).filter(|(before, after)| !same(before, after));
        found.changed = changed.map(|(_, after)| name(after).to_owned()).collect();
        found.unchanged = next.len() - found.changed.len();
        return found;
    }
    let mut before: HashMap<&str, &T> = now.iter().map(|it| (name(it), it)).collect();
    for after in next {
        match before.remove(name(after)) {
            None => found.added.push(name(after).to_owned()),
            Some(before) if same(before, after) => found.unchanged += 1,
            Some(_) => found.changed.push(name(after).to_owned()),
        }
    }
    let removed = now.iter().map(name).filter(|name| before.contains_key(name));
    found.removed = removed.map(str::to_owned).collect();
    found
}

fn compare_upstream(now: &UpstreamConfig, next: &UpstreamConfig) -> UpstreamChange {
    let url = |backend: &BackendConfig| backend.url.clone();
    let before: HashMap<&str, &BackendConfig> = now.backends.iter().map(|it| (it.url.as_str(), it)).collect();
    let backends = changes(&now.backends, &next.backends, |it| &it.url, PartialEq::eq);
    let changed = next.backends.iter().filter_map(|after| {
        let before = before.get(&*after.url).filter(|before| **before != after)?;
        Some((url(after), compare_backend(before, after)))
    });
    let settings = [
        ("load_balancing", now.strategy != next.strategy),
        ("health", now.health != next.health),
        ("slow_start or subset", now.balancer != next.balancer),
        ("queue", now.queue != next.queue),
    ];
    let moved = !backends.any() && now.backends.len() == next.backends.len();
    let moved = moved && now.backends.iter().map(url).ne(next.backends.iter().map(url));
    let settings = settings.into_iter().chain([("order of backends", moved)]);
    UpstreamChange {
        name: next.name.clone(),
        change: "changed",
        changed: changed.collect(),
        added: backends.added,
        removed: backends.removed,
        settings: settings.filter(|(_, is_changed)| *is_changed).map(|(key, _)| key).collect(),
    }
}

fn compare_backend(now: &BackendConfig, next: &BackendConfig) -> String {
    let mut words = Vec::new();
    if now.weight != next.weight {
        words.push(format!("weight {}→{}", now.weight, next.weight));
    }
    if now.max_connections != next.max_connections {
        let shown = |limit: Option<std::num::NonZeroU32>| {
            limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
        };
        words.push(format!("max_connections {}→{}", shown(now.max_connections), shown(next.max_connections)));
    }
    let rest = BackendConfig { weight: now.weight, max_connections: now.max_connections, ..next.clone() };
    if rest != *now {
        words.push("settings changed".to_owned());
    }
    words.join(", ")
}
