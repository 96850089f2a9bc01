//! Rules: where each leads, its deadlines, its header for the backend.

use std::num::NonZeroU64;
use std::sync::Arc;

use lb_http::config::{HostHeader, RuleConfig, SplitConfig, Timeouts};

use super::matching::{self, Route};
use super::tls::Belief;
use super::upstream::{self, Entry, Upstreams};
use super::{
    Context, balance, dump, forward_proxy, health, mirror, policy, redirect, retries, route, split, tcp, tls,
};
use crate::suggest;
use crate::tree::{NodeId, Tree};
use crate::written::listener::Listener;
use crate::written::root::Root;
use crate::written::rule::Rule;
use crate::written::values::{At, List};

pub(super) fn rules(context: &mut Context<'_>, root: &Root, upstreams: &mut Upstreams) -> Vec<RuleConfig> {
    let count = root.rules.iter().map(|rules| rules.iter().count()).sum();
    let mut names = Vec::with_capacity(count);
    let mut routes = Vec::with_capacity(count);
    let mut rules = Vec::with_capacity(count);
    for (index, written) in root.rules.iter().flat_map(List::numbered) {
        let (name, place) = match &written.value.name {
            Some(name) => (name.value.clone(), name.id),
            None => (format!("rule-{}", index + 1), written.id),
        };
        context.check_name("a rule", &name, place);
        let route = matching::route(context, &name, written);
        let rule = rule(context, root, upstreams, written, &name, place, &route);
        names.push((name, place));
        routes.push(route);
        rules.extend(rule);
    }
    context.unique("rule", names.iter().map(|(name, place)| (name.as_str(), *place)));
    route::check(context, &routes);
    rules
}

fn rule(
    context: &mut Context<'_>,
    root: &Root,
    upstreams: &mut Upstreams,
    written: &At<Rule>,
    name: &str,
    name_place: NodeId,
    route: &Route,
) -> Option<RuleConfig> {
    let rule = &written.value;
    dump::check(context, &rule.traffic_dump);
    health::check_switch(context, rule.health_check.as_deref());
    health::check_passive(context, rule.passive.as_deref());
    health::check_breaker(context, rule.circuit_breaker.as_deref());
    let retries = retries::Meant::of(context, rule.retries.as_deref());
    if let Some(threshold) = &rule.panic_threshold {
        context.fraction(threshold);
    }
    let policies = policy::policies(context, rule);
    let dump = dump::of_rule(root, rule);
    let host_header = host_header(context, rule.host_header.as_ref().or(root.host_header.as_ref()));
    let (target, split) = target(context, root, upstreams, written, name, name_place)?;
    check_speaks_http(context, upstreams, rule, target, split.as_ref());
    let of_upstream = upstreams.entries.get(target).map(|entry| entry.retries.clone()).unwrap_or_default();
    Some(RuleConfig {
        route: Arc::clone(&route.config),
        upstream: target,
        split,
        mirror: mirror::lower(context, upstreams, rule),
        redirect: rule.redirect.as_ref().and_then(|written| redirect::lower(context, written)),
        timeouts: timeouts(root, rule),
        host_header,
        retries: retries.or(&of_upstream),
        hedge: rule.hedge.as_ref().and_then(|written| retries::hedge(context, written)),
        concurrency: rule.concurrency.as_ref().and_then(|written| retries::concurrency(context, written)),
        policies,
        dump,
    })
}

/// Requests cannot be sent to a backend that is not said to speak HTTP.
fn check_speaks_http(
    context: &mut Context<'_>,
    upstreams: &Upstreams,
    rule: &Rule,
    target: usize,
    split: Option<&SplitConfig>,
) {
    let arms = split.iter().flat_map(|split| &split.arms).map(|arm| arm.upstream);
    let own = (rule.redirect.is_none() && split.is_none()).then_some(target);
    let mut entries = arms.chain(own).filter_map(|index| upstreams.entries.get(index));
    let Some(member) = entries.find_map(Entry::raw) else { return };
    let place = rule.upstream.as_ref().map(|at| at.id).or(rule.split.as_ref().map(|at| at.id));
    let message = format!(
        "requests cannot go to backend {}: its URL says that it speaks no HTTP",
        context.quote(member.place)
    );
    let backend = place.and_then(|_| context.value_place(member.place));
    context
        .error(place.unwrap_or(member.place), message, "for a TCP listener alone")
        .also(backend, "this one")
        .help("write `http://` or `https://`");
}

fn timeouts(root: &Root, rule: &Rule) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        response_head: rule.timeout.or(root.global_timeout).map_or(default.response_head, |time| time.0),
        connect: rule.connect_timeout.or(root.connect_timeout).map_or(default.connect, |time| time.0),
        idle: rule.idle_timeout.or(root.idle_timeout).map_or(default.idle, |time| time.0),
        tunnel: rule.tunnel_timeout.or(root.tunnel_timeout).map_or(default.tunnel, |time| time.0),
        // None at all is as good as no rule.
        min_rate: rule.min_rate.or(root.min_rate).and_then(|size| NonZeroU64::new(size.0)),
    }
}

/// The upstream a rule leads to: a named one, one of its own backends, or several.
fn target(
    context: &mut Context<'_>,
    root: &Root,
    upstreams: &mut Upstreams,
    written: &At<Rule>,
    name: &str,
    name_place: NodeId,
) -> Option<(usize, Option<SplitConfig>)> {
    let rule = &written.value;
    split::check(context, rule);
    let ways = [
        ("upstream", rule.upstream.as_ref().map(|at| at.id)),
        ("backends", rule.backends.as_ref().map(|at| at.id)),
        ("split", rule.split.as_ref().map(|at| at.id)),
        ("redirect", rule.redirect.as_ref().map(|at| at.id)),
    ];
    let mut given = ways.into_iter().filter_map(|(key, id)| id.map(|id| (key, id)));
    let Some((first, first_id)) = given.next() else {
        // A target that could not be read is not missing.
        if ways.iter().all(|(key, _)| !context.tree.has(written.id, key)) {
            let label = "neither `upstream` nor `backends`";
            context
                .error(written.id, format!("rule `{name}` leads nowhere"), label)
                .help("add `backends = [\"http://10.0.0.1:8080\"]`, or `upstream = \"NAME\"`");
        }
        return None;
    };
    for (other, id) in given {
        let place = context.key_place(first_id);
        context
            .error_at_key(id, format!("rule `{name}` has both `{first}` and `{other}`"), "the second")
            .also(place, "the first")
            .help("keep one of them");
    }
    if rule.redirect.is_some() {
        // Nothing is picked for it.
        return Some((0, None));
    }
    if let Some(own) = &rule.backends {
        upstream::check_own_name(context, root, name, name_place);
        tls::check_upstream(context, rule.tls.as_deref());
        let belief = Belief::of(root, rule.tls.as_deref());
        let index = upstreams.add(context, name, Some(own), rule.load_balancing.as_deref(), belief);
        let watch = health::Watch::new(root.health_check.as_ref(), health::Written::of_rule(rule));
        if let Some(entry) = upstreams.entries.get_mut(index) {
            entry.watch(context, &watch);
            entry.balance(context, rule.slow_start.as_ref(), rule.subset.as_deref());
            entry.queue = retries::queue(rule.queue.as_deref());
        }
        return Some((index, None));
    }
    check_not_shared(context, rule);
    let strategy = rule.load_balancing.as_deref().and_then(|written| balance::lower(context, written));
    if let Some(written) = &rule.split {
        let split = split::lower(context, upstreams, rule, written, (name, strategy.as_ref()))?;
        return Some((split.arms.first()?.upstream, Some(split)));
    }
    let index = find(context, upstreams, rule.upstream.as_ref()?)?;
    let index = match strategy {
        Some(strategy) => upstreams.with_strategy(index, name, strategy),
        None => index,
    };
    Some((index, None))
}

pub(super) fn find(context: &mut Context<'_>, upstreams: &Upstreams, written: &At<String>) -> Option<usize> {
    let found = upstreams.find(&written.value);
    if found.is_none() {
        let help = suggest::did_you_mean(&written.value, upstreams.names())
            .unwrap_or_else(|| format!("add a table `[upstreams.{}]`", written.value));
        let message = format!("there is no upstream {}", context.quote(written.id));
        context.error(written.id, message, "unknown upstream").help(help);
    }
    found
}

/// What belongs to backends is written where they are.
fn check_not_shared(context: &mut Context<'_>, rule: &Rule) {
    let keys: [(&str, Option<NodeId>); 8] = [
        ("health_check", rule.health_check.as_deref().map(|at| at.id)),
        ("passive", rule.passive.as_deref().map(|at| at.id)),
        ("circuit_breaker", rule.circuit_breaker.as_deref().map(|at| at.id)),
        ("queue", rule.queue.as_deref().map(|at| at.id)),
        ("panic_threshold", rule.panic_threshold.as_ref().map(|at| at.id)),
        ("slow_start", rule.slow_start.as_ref().map(|at| at.id)),
        ("subset", rule.subset.as_deref().map(|at| at.id)),
        ("tls", rule.tls.as_deref().map(|at| at.id)),
    ];
    for (key, id) in keys {
        let Some(id) = id else { continue };
        context
            .error_at_key(id, format!("`{key}` belongs to the upstream, and this rule names one"), "not here")
            .help("move it into the upstream's table");
    }
}

fn host_header(context: &mut Context<'_>, written: Option<&At<String>>) -> HostHeader {
    let Some(written) = written else { return HostHeader::default() };
    match written.value.as_str() {
        "preserve" => HostHeader::Preserve,
        "backend" => HostHeader::Backend,
        literal => {
            let near = suggest::did_you_mean(literal, ["preserve", "backend"]);
            if let Some(help) = near.filter(|_| !literal.contains(['.', ':'])) {
                let message = format!("`host_header` would be {}", context.quote(written.id));
                context.error(written.id, message, "perhaps not a host").help(help);
            } else if literal.is_empty() || literal.contains(['/', ' ', '@', ',', '?', '#']) {
                let message = format!("{} is not a host", context.quote(written.id));
                context
                    .error(written.id, message, "not a host")
                    .help("write \"preserve\", \"backend\", or a host such as \"app.internal\"");
            }
            policy::header_value(context, written).map_or(HostHeader::Preserve, HostHeader::Literal)
        }
    }
}

/// A configuration that would serve nothing is refused: an empty file under `--watch` must not empty a gateway.
pub(super) fn check_any(context: &mut Context<'_>, root: &Root) {
    let needs_no_rule = |listener: &Listener| tcp::is_tcp(listener) || forward_proxy::is_on(listener);
    let is_served = root.listeners.iter().flat_map(List::iter).any(|listener| needs_no_rule(&listener.value));
    let written = context.tree.child(Tree::ROOT, "rules");
    let has_rule = match &root.rules {
        Some(rules) => !rules.is_empty(),
        // Rules that could not be read, or whose key is misspelt, are not missing.
        None => written.map_or(context.tree.has(Tree::ROOT, "rules"), |rules| !context.tree.is_whole(rules)),
    };
    if !is_served && !has_rule {
        let message = "there is no rule, so nothing would be served";
        let id = written.unwrap_or(Tree::ROOT);
        context.error_at_key(id, message, "no rule").help(
            "add one: `[[rules]]` with `backends = [\"http://127.0.0.1:8081\"]` in TOML, or an item under `rules:` in YAML",
        );
    }
}
