//! Which backends a viewer sees, and in which order.

use std::cmp::Ordering;

use lb_observe::live::Circuit;

use super::frame::Frame;
use super::memory::Memory;
use super::query::{Query, Sort};
use super::window::{Counts, Percentiles};
use crate::view::{BackendState, BackendView, UpstreamView};

/// So many backends at most are ordered by latency, the busiest: each has to be read whole for it.
const ORDERED_BY_LATENCY: usize = 2000;

/// A backend, its upstream's place, and what it has counted.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) place: usize,
    pub(super) upstream: &'a UpstreamView,
    pub(super) backend: &'a BackendView,
    pub(super) counts: Counts,
}

impl Frame {
    /// What a query finds of one upstream, as configured. Every word must stand in the upstream's name or strategy, or in the
    /// backend's URL or state.
    pub(super) fn found<'a>(&'a self, place: usize, query: &Query) -> Vec<Member<'a>> {
        let (Some(upstream), Some((_, counts))) = (self.view.upstreams.get(place), self.upstreams.get(place))
        else {
            return Vec::new();
        };
        let members = upstream.backends.iter().zip(counts);
        let members = members.map(|(backend, counts)| Member { place, upstream, backend, counts: *counts });
        if query.find.is_empty() {
            return members.collect();
        }
        let mut text = String::new();
        members.filter(|member| member.has_words(&query.find, &mut text)).collect()
    }
}

impl Member<'_> {
    fn has_words(&self, find: &str, text: &mut String) -> bool {
        text.clear();
        let Self { upstream, backend, .. } = self;
        for part in [&upstream.name, &*upstream.strategy, backend.stats.backend(), standing(backend)] {
            text.push_str(part);
            text.push(' ');
        }
        text.make_ascii_lowercase();
        find.split_whitespace().all(|word| text.contains(word))
    }

    /// Latency of late.
    pub(super) fn latency(&self, memory: &mut Memory, frame: &Frame) -> Percentiles {
        let stats = &self.backend.stats;
        memory.latency(stats, frame.made, |summary| stats.add_latency(summary))
    }
}

/// How a backend stands, in a word: an open circuit says more than that it is healthy otherwise.
pub(super) fn standing(backend: &BackendView) -> &'static str {
    match (backend.state, backend.circuit) {
        (BackendState::Healthy, Circuit::Open | Circuit::HalfOpen) => backend.circuit.name(),
        (state, _) => state.name(),
    }
}

/// Puts members in a viewer's order. `room` is how many of them fit on a page.
pub(super) fn order(members: &mut [Member<'_>], sort: Sort, room: usize, memory: &mut Memory, frame: &Frame) {
    let now = frame.made;
    match sort {
        Sort::Place if members.len() <= room => {}
        Sort::Place | Sort::State => members.sort_by_key(|member| severity(member.backend)),
        Sort::Name => members.sort_by(|a, b| a.backend.stats.backend().cmp(b.backend.stats.backend())),
        Sort::Active => members.sort_by_key(|member| std::cmp::Reverse(member.backend.active_connections)),
        Sort::Rate => descending(members, |member| {
            memory.rates(&member.backend.stats, now, member.counts).requests_per_second
        }),
        Sort::Errors => {
            descending(members, |member| memory.rates(&member.backend.stats, now, member.counts).error_rate);
        }
        Sort::Latency => {
            if members.len() > ORDERED_BY_LATENCY {
                order(members, Sort::Rate, room, memory, frame);
            }
            let busiest = members.len().min(ORDERED_BY_LATENCY);
            if let Some(busiest) = members.get_mut(..busiest) {
                descending(busiest, |member| member.latency(memory, frame).p99.unwrap_or(-1.0));
            }
        }
    }
}

/// Sorts by a figure that is read once for each, highest first, otherwise as they were.
fn descending<'a>(members: &mut [Member<'a>], mut of: impl FnMut(&Member<'a>) -> f64) {
    let mut keyed: Vec<(f64, Member<'a>)> = members.iter().map(|member| (of(member), *member)).collect();
    keyed.sort_by(|(a, _), (b, _)| b.partial_cmp(a).unwrap_or(Ordering::Equal));
    for (slot, (_, member)) in members.iter_mut().zip(keyed) {
        *slot = member;
    }
}

/// What an operator should see first is lowest.
fn severity(backend: &BackendView) -> u8 {
    match (backend.state, backend.circuit) {
        (BackendState::Unhealthy | BackendState::Unresolved, _) => 0,
        (BackendState::Ejected, _) | (_, Circuit::Open) => 1,
        (_, Circuit::HalfOpen) => 2,
        (BackendState::Draining, _) => 3,
        (BackendState::Healthy, Circuit::Closed) => 4,
    }
}
