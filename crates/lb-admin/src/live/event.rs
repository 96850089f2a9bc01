//! What a viewer is sent: the part of a frame it asks for.

use std::collections::{BTreeMap, HashMap};

use super::RecentChanges;
use super::frame::{self, Frame};
use super::history::{History, Points};
use super::memory::{Memory, STEP};
use super::query::{BACKENDS, FEW_BACKENDS, Query, UPSTREAMS, paged};
use super::selection::{Member, order, standing};
use super::shape::{Backend, Change, Event, Failure, Figures, Page, Rule, Share, Totals, Upstream, unix_ms};
use super::window::round;
use crate::title;
use crate::view::UpstreamView;

/// Rules shown.
const RULES: usize = 50;

/// Up to which step a viewer has the points of each history it saw last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    totals: u64,
    upstreams: HashMap<String, u64>,
}

/// What events are made from.
pub(super) struct Sources<'a> {
    pub(super) frame: &'a Frame,
    pub(super) memory: &'a mut Memory,
    pub(super) changes: &'a RecentChanges,
    pub(super) latest_errors: &'a [Failure],
    pub(super) latest_changes: &'a [Change],
    pub(super) time_ms: u64,
}

impl<'a> Sources<'a> {
    /// The event, as JSON.
    pub(super) fn event(mut self, query: &Query, seen: &mut Seen) -> Vec<u8> {
        let Self { frame, .. } = self;
        let rules = self.rules(query);
        let (upstreams, backends) = self.parts(query, seen);
        let (rates, latency) = self.memory.totals(frame);
        let history = self.memory.history().map(|history| unseen(history, &mut seen.totals));
        let event = Event {
            version: frame.view.version,
            time_ms: self.time_ms,
            uptime_seconds: round(frame.view.uptime.as_secs_f64()),
            draining: frame.view.draining,
            backend_statistics: frame.backend_statistics,
            step_seconds: STEP.as_secs(),
            step: self.memory.last_step(),
            totals: Totals {
                figures: Figures { counts: frame.totals.counts, rates, latency },
                active: frame.active(),
                connections: frame.connections,
                states: states(&frame.view.upstreams),
                history,
            },
            rules,
            upstreams,
            backends,
            errors: self.latest_errors,
            changes: self.latest_changes,
        };
        serde_json::to_vec(&event).unwrap_or_default()
    }

    fn rules(&mut self, query: &Query) -> Page<Rule<'a>> {
        let Self { frame, .. } = *self;
        let found: Vec<_> = frame
            .view
            .rules
            .iter()
            .zip(&frame.rules)
            .map(|(rule, figures)| (rule, rule.shares(), figures))
            .filter(|(_, shares, _)| {
                query.upstream.as_ref().is_none_or(|upstream| shares.iter().any(|(name, _)| name == upstream))
            })
            .filter(|(rule, shares, _)| {
                let names: String = shares.iter().flat_map(|(name, _)| [" ", name]).collect();
                let text = format!("{} {}{names}", rule.name, rule.path).to_ascii_lowercase();
                query.find.split_whitespace().all(|word| text.contains(word))
            })
            .collect();
        let count = found.len();
        let shown = found.into_iter().take(RULES).map(|(rule, shares, figures)| {
            let figures = figures.as_ref().map(|(stats, counts)| Figures {
                counts: *counts,
                rates: self.memory.rates(stats, frame.made, *counts),
                latency: self.memory.latency(stats, frame.made, |summary| stats.add_duration(summary)),
            });
            Rule {
                name: &rule.name,
                host: rule.host.as_deref(),
                path: &rule.path,
                methods: &rule.methods,
                upstream: &rule.upstream,
                shares: shares.into_iter().map(|(upstream, share)| Share { upstream, share }).collect(),
                strategy_title: title::of(&rule.strategy),
                figures: figures.unwrap_or_default(),
            }
        });
        let shown = shown.collect();
        Page { total: frame.view.rules.len(), found: count, page: 1, pages: 1, shown }
    }

    /// The page of upstreams, each with some of its backends, or the page of one list of backends.
    fn parts(&mut self, query: &Query, seen: &mut Seen) -> (Page<Upstream<'a>>, Option<Page<Backend<'a>>>) {
        let Self { frame, .. } = *self;
        let upstreams = &frame.view.upstreams;
        let wanted =
            |upstream: &UpstreamView| query.upstream.as_ref().is_none_or(|name| *name == upstream.name);
        let found: Vec<(usize, Vec<Member<'a>>)> = (0..)
            .zip(upstreams)
            .filter(|(_, upstream)| wanted(upstream))
            .map(|(place, _)| (place, frame.found(place, query)))
            .filter(|(_, members)| !members.is_empty() || query.find.is_empty())
            .collect();
        let is_one = query.upstream.is_some() || upstreams.len() == 1;
        // A page number means the longest list that is shown.
        let upstream_page = if is_one || query.is_flat { 0 } else { query.page };
        let (range, page, pages) = paged(found.len(), upstream_page, UPSTREAMS);
        let mut now_seen = HashMap::new();
        let mut shown = Vec::new();
        for (place, members) in found.get(range).unwrap_or_default() {
            let members = if query.is_flat { Vec::new() } else { members.clone() };
            shown.extend(self.upstream(*place, members, is_one, query, (&mut *seen, &mut now_seen)));
        }
        seen.upstreams = now_seen;
        let total = upstreams.len();
        let backends = query.is_flat.then(|| {
            let members: Vec<_> = found.iter().flat_map(|(_, members)| members.iter().copied()).collect();
            let total = upstreams.iter().map(|upstream| upstream.backends.len()).sum();
            self.backends(members, total, BACKENDS, query.page, query)
        });
        (Page { total, found: found.len(), page: page + 1, pages, shown }, backends)
    }

    fn upstream(
        &mut self,
        place: usize,
        members: Vec<Member<'a>>,
        is_one: bool,
        query: &Query,
        (seen, now_seen): (&mut Seen, &mut HashMap<String, u64>),
    ) -> Option<Upstream<'a>> {
        let Self { frame, .. } = *self;
        let upstream = frame.view.upstreams.get(place)?;
        let (reading, _) = frame.upstreams.get(place)?;
        let (rates, latency) = self.memory.upstream(&upstream.name, frame.made, reading);
        let mut step = seen.upstreams.get(&upstream.name).copied().unwrap_or(0);
        let history = self.memory.history_of(&upstream.name).map(|history| unseen(history, &mut step));
        now_seen.insert(upstream.name.clone(), step);
        let (room, page) = if is_one { (BACKENDS, query.page) } else { (FEW_BACKENDS, 0) };
        Some(Upstream {
            name: &upstream.name,
            strategy: &upstream.strategy,
            strategy_title: title::of(&upstream.strategy),
            figures: Figures { counts: reading.counts, rates, latency },
            active: frame::active(upstream),
            states: states(std::slice::from_ref(upstream)),
            history,
            backends: self.backends(members, upstream.backends.len(), room, page, query),
        })
    }

    fn backends(
        &mut self,
        mut members: Vec<Member<'a>>,
        total: usize,
        room: usize,
        page: usize,
        query: &Query,
    ) -> Page<Backend<'a>> {
        order(&mut members, query.sort, room, self.memory, self.frame);
        let (range, page, pages) = paged(members.len(), page, room);
        let mut weights = HashMap::new();
        let shown = members.get(range).unwrap_or_default().iter().map(|member| {
            let weight = *weights.entry(member.place).or_insert_with(|| weight_in_use(member.upstream));
            self.backend(member, weight, query.is_flat)
        });
        let shown = shown.collect();
        Page { total, found: members.len(), page: page + 1, pages, shown }
    }

    fn backend(&mut self, member: &Member<'a>, weight_in_use: f64, with_upstream: bool) -> Backend<'a> {
        let Self { frame, .. } = *self;
        let Member { upstream, backend, counts, .. } = *member;
        let rates = self.memory.rates(&backend.stats, frame.made, counts);
        let of_upstream = frame.upstreams.get(member.place).map_or(0.0, |(reading, _)| {
            self.memory.upstream(&upstream.name, frame.made, reading).0.requests_per_second
        });
        let share = if of_upstream > 0.0 { (rates.requests_per_second / of_upstream).min(1.0) } else { 0.0 };
        let takes_requests = backend.is_eligible() && !backend.backup && weight_in_use > 0.0;
        let since = self.changes.last_of(&upstream.name, backend.stats.backend()).or(backend.since);
        Backend {
            upstream: with_upstream.then_some(upstream.name.as_str()),
            url: backend.stats.backend(),
            weight: backend.weight,
            backup: backend.backup,
            state: standing(backend),
            healthy: backend.healthy,
            circuit: backend.circuit.name(),
            why: backend.error.as_deref(),
            since_ms: since.map(unix_ms),
            until_ms: backend.ejected_until.or(backend.open_until).map(unix_ms),
            active: backend.active_connections,
            max_connections: backend.max_connections,
            figures: Figures { counts, rates, latency: member.latency(self.memory, frame) },
            share: round(share),
            due: takes_requests.then(|| round(backend.weight / weight_in_use)),
        }
    }
}

/// Points that a viewer has not had, which it has from now on.
fn unseen(history: &History, seen: &mut u64) -> Points {
    let points = history.after(*seen);
    *seen = history.last();
    points
}

/// The weight of all backends that take requests.
fn weight_in_use(upstream: &UpstreamView) -> f64 {
    let eligible = upstream.backends.iter().filter(|backend| backend.is_eligible() && !backend.backup);
    eligible.map(|backend| backend.weight).sum()
}

/// How many backends stand how.
fn states(upstreams: &[UpstreamView]) -> BTreeMap<&'static str, usize> {
    let mut states = BTreeMap::new();
    for backend in upstreams.iter().flat_map(|upstream| &upstream.backends) {
        *states.entry(standing(backend)).or_default() += 1;
    }
    states
}
