//! Upstreams: the named ones, and those that rules with backends of their own form.

use ahash::{HashMap, RandomState};
use lb_core::{BalancerOptions, StrategyConfig};
use lb_health::{HealthConfig, UpstreamOptions};
use lb_http::config::{BackendProtocol, QueueConfig, UpstreamConfig};

use super::backend::{self, Member};
use super::tls::{self, Belief};
use super::{Context, balance, balancer, health, http2, retries, tcp};
use crate::member::MemberTemplate;
use crate::tree::{NodeId, Tree};
use crate::written::root::Root;
use crate::written::upstream::{Backend, Balancing, Subset, Upstream};
use crate::written::values::{At, List, Names, Time, WordOr};

/// One upstream with what later checks need.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) members: Vec<Member>,
    /// The place of the first that speaks no HTTP, looked for once: ten thousand rules may lead here.
    raw: Option<usize>,
    strategy: StrategyConfig,
    /// What `retries` says for it.
    pub(super) retries: retries::Meant,
    pub(super) queue: QueueConfig,
    options: UpstreamOptions,
    balancer: BalancerOptions,
    /// For backends that come while the gateway runs; nothing where what they would be told is wrong.
    template: Option<MemberTemplate>,
}

impl Entry {
    /// A member that is not said to speak HTTP.
    pub(super) fn raw(&self) -> Option<&Member> {
        self.members.get(self.raw?)
    }

    /// Has every member watched, each by its own path where it has one.
    pub(super) fn watch(&mut self, context: &mut Context<'_>, watch: &health::Watch) {
        for member in &mut self.members {
            let (path, interval) = &member.probe;
            member.config.health = watch.of(path.as_deref(), *interval);
        }
        if let Some(template) = &mut self.template {
            template.health = watch.of(None, None);
        }
        let listed = self.members.iter().map(|member| &member.config.health);
        let others =
            self.template.iter().filter(|_| self.members.is_empty()).map(|template| &template.health);
        let mut probes = listed.chain(others).filter_map(|health| health.probe.as_ref());
        // To say it once is enough.
        let _ = probes.all(|probe| watch.check(context, probe));
        self.options = watch.options();
    }

    /// Whether any of its backends, or of those that may come, is spoken to by HTTP/2.
    fn may_speak_http2(&self, belief: Belief<'_>) -> bool {
        let speaks = |protocol| matches!(protocol, BackendProtocol::Http2 | BackendProtocol::Auto);
        speaks(belief.http()) || self.members.iter().any(|member| speaks(member.config.protocol))
    }

    /// Takes up what its balancer does beside its strategy.
    pub(super) fn balance(
        &mut self,
        context: &mut Context<'_>,
        slow_start: Option<&At<Time>>,
        subset: Option<&At<Subset>>,
    ) {
        self.balancer = balancer::options(context, &self.strategy, slow_start, subset);
    }
}

/// All upstreams, in the order in which the engine numbers them.
#[derive(Debug)]
pub(super) struct Upstreams {
    pub(super) entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    /// The root's strategy.
    strategy: StrategyConfig,
}

impl Upstreams {
    /// Those of `[upstreams.NAME]`.
    pub(super) fn named(context: &mut Context<'_>, root: &Root) -> Self {
        let strategy = root.load_balancing.as_ref().and_then(|written| balance::lower(context, written));
        let mut upstreams =
            Self { entries: Vec::new(), by_name: HashMap::default(), strategy: strategy.unwrap_or_default() };
        for (name, written) in root.upstreams.iter().flat_map(|Names(named)| named) {
            context.check_name("an upstream", name, written.id);
            let Upstream { load_balancing, backends, .. } = &written.value;
            health::check_upstream(context, &written.value);
            let is_listed = ["backends", "discover"].iter().any(|key| context.tree.has(written.id, key));
            if !is_listed {
                context
                    .error_at_key(written.id, format!("upstream `{name}` has no backends"), "no `backends`")
                    .help("add `backends = [\"http://10.0.0.1:8080\"]`, or `discover`");
            }
            let retries = retries::Meant::of(context, written.value.retries.as_ref());
            let tls = written.value.tls.as_ref();
            tls::check_upstream(context, tls);
            let belief = Belief::of(root, tls)
                .discovering(written.value.discover.is_some())
                .speaking(written.value.protocol.as_ref())
                .bounded(http2::to_backends(context, written.value.http2.as_ref()))
                .beginning(written.value.proxy_protocol.as_ref());
            let index = upstreams.add(context, name, backends.as_ref(), load_balancing.as_ref(), belief);
            if let Some(entry) = upstreams.entries.get_mut(index) {
                if let Some(bounds) = written.value.http2.as_ref().filter(|_| !entry.may_speak_http2(belief))
                {
                    http2::unused(context, bounds);
                }
                let watch = health::Watch::new(
                    root.health_check.as_ref(),
                    health::Written::of_upstream(&written.value),
                );
                let is_raw = entry.members.iter().any(|member| member.url.raw);
                let watch =
                    if is_raw || tcp::is_alone_with(root, name) { watch.by_connection() } else { watch };
                entry.watch(context, &watch);
                entry.balance(context, written.value.slow_start.as_ref(), written.value.subset.as_ref());
                entry.retries = retries;
                entry.queue = retries::queue(written.value.queue.as_ref());
            }
        }
        upstreams
    }

    /// Adds one; its number is its place.
    pub(super) fn add(
        &mut self,
        context: &mut Context<'_>,
        name: &str,
        backends: Option<&At<List<WordOr<Backend>>>>,
        load_balancing: Option<&At<WordOr<Balancing>>>,
        belief: Belief<'_>,
    ) -> usize {
        let strategy = load_balancing.and_then(|written| balance::lower(context, written));
        let members = backends.map(|written| members(context, name, written, belief)).unwrap_or_default();
        let is_whole = backends.is_some_and(|written| written.value.iter().count() == members.len());
        if is_whole && !members.iter().any(|member| member.url.secure) {
            tls::check_of_use(context, name, belief);
        }
        let is_idle = !members.is_empty() && members.iter().all(|member| member.config.weight == 0.0);
        if is_whole && is_idle && !belief.discovers() {
            let place = backends.map_or(Tree::ROOT, |written| written.id);
            context
                .warning_at_key(
                    place,
                    format!(
                        "no backend of `{name}` gets requests, as every weight is 0: they are answered 503"
                    ),
                    "every weight is 0",
                )
                .help("give one of them a weight, unless that is what is meant");
        }
        let template = template(context, name, &members, belief);
        self.push(Entry {
            name: name.to_owned(),
            raw: members.iter().position(|member| member.config.protocol == BackendProtocol::Tcp),
            members,
            template,
            strategy: strategy.unwrap_or_else(|| self.strategy.clone()),
            retries: retries::Meant::default(),
            queue: QueueConfig::default(),
            options: UpstreamOptions::default(),
            balancer: BalancerOptions::default(),
        })
    }

    /// An upstream as one rule sees it that balances it otherwise: an upstream of its own with the same backends.
    pub(super) fn with_strategy(&mut self, index: usize, rule: &str, strategy: StrategyConfig) -> usize {
        let Some(shared) = self.entries.get(index) else { return index };
        if shared.strategy == strategy {
            return index;
        }
        let members = shared.members.iter().map(|member| Member {
            place: member.place,
            url: member.url.clone(),
            config: member.config.clone(),
            probe: member.probe.clone(),
        });
        let entry = Entry {
            name: format!("{}@{rule}", shared.name),
            members: members.collect(),
            raw: shared.raw,
            strategy,
            retries: shared.retries.clone(),
            queue: shared.queue,
            options: shared.options.clone(),
            balancer: shared.balancer,
            template: shared.template.clone(),
        };
        self.push(entry)
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// Each, and what backends are told that come later; those without are of no use, as something is wrong.
    pub(super) fn finish(self) -> (Vec<UpstreamConfig>, Vec<MemberTemplate>) {
        let lower = |entry: Entry| {
            let upstream = UpstreamConfig {
                name: entry.name,
                strategy: entry.strategy,
                backends: entry.members.into_iter().map(|member| member.config).collect(),
                health: entry.options,
                balancer: entry.balancer,
                queue: entry.queue,
            };
            Some((upstream, entry.template?))
        };
        self.entries.into_iter().filter_map(lower).unzip()
    }

    fn push(&mut self, entry: Entry) -> usize {
        let index = self.entries.len();
        self.by_name.entry(entry.name.clone()).or_insert(index);
        self.entries.push(entry);
        index
    }
}

fn template(
    context: &mut Context<'_>,
    upstream: &str,
    members: &[Member],
    belief: Belief<'_>,
) -> Option<MemberTemplate> {
    let place = belief.place().unwrap_or(Tree::ROOT);
    // What is wrong was said at those that the file lists.
    let is_said = !members.is_empty();
    let problems = is_said.then(|| std::mem::take(context.problems));
    let proxy_protocol = backend::proxy_protocol(context, belief.http(), belief.proxy_protocol());
    let tls = tls::members(context, place, belief, is_said);
    if let Some(problems) = problems {
        let said_now = std::mem::replace(context.problems, problems);
        if tls.is_none() && context.problems.errors() == 0 {
            // Each that is listed says otherwise of itself.
            context.problems.extend(said_now.into_vec());
        }
    }
    Some(MemberTemplate {
        upstream: upstream.to_owned(),
        protocol: belief.protocol().map(|written| written.value),
        http2: belief.http2(),
        proxy_protocol,
        tls: tls?,
        health: HealthConfig::default(),
    })
}

fn members(
    context: &mut Context<'_>,
    upstream: &str,
    written: &At<List<WordOr<Backend>>>,
    belief: Belief<'_>,
) -> Vec<Member> {
    if written.value.is_empty() {
        context
            .error(written.id, format!("upstream `{upstream}` has no backends"), "an empty list")
            .help("list at least one, such as \"http://10.0.0.1:8080\"");
    }
    let count = written.value.iter().count();
    let mut members: Vec<Member> = Vec::with_capacity(count);
    let mut seen: HashMap<_, NodeId> = HashMap::with_capacity_and_hasher(count, RandomState::new());
    for written in written.value.iter() {
        let Some(member) = backend::member(context, written, belief) else { continue };
        if let Some(&first) = seen.get(&member.url) {
            let message =
                format!("backend {} stands twice in upstream `{upstream}`", context.quote(member.place));
            let first = context.value_place(first);
            context
                .error(member.place, message, "the second time")
                .also(first, "first here")
                .help("remove one of them; a larger share is a `weight`");
            continue;
        }
        seen.insert(member.url.clone(), member.place);
        members.push(member);
    }
    members
}

/// Names that rules with backends of their own share with an upstream.
pub(super) fn check_own_name(context: &mut Context<'_>, root: &Root, name: &str, place: NodeId) {
    let named = root.upstreams.iter().flat_map(|Names(named)| named).find(|(upstream, _)| upstream == name);
    if let Some((_, upstream)) = named {
        let first = context.key_place(upstream.id);
        context
            .error(place, format!("a rule with backends of its own forms an upstream of its name, and `{name}` is one already"), "the second")
            .also(first, "the first")
            .help("give the rule another name, or let it name this upstream");
    }
}
