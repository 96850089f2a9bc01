//! Who may be offered requests, and with what weight: health, draining, weight 0, priority groups, the panic threshold, slow
//! start and subsets. All of it is decided here, off the path, so that no strategy repeats any of it.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::number::{GOLDEN, below, mix};
use crate::set::BackendSet;
use crate::weight::Weight;

/// What a balancer does beside its strategy; by default nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BalancerOptions {
    /// A backend that becomes eligible again, or is new after a reload, gets its share over this time, a tenth more each
    /// tenth of it. For strategies that heed weights.
    pub slow_start: Option<Duration>,
    /// Between 0 and 1: when less of the group in use is healthy, health is taken for wrong and all of the group is used, so
    /// that the few healthy ones are not run over (Envoy's panic threshold).
    pub panic_threshold: Option<f64>,
    /// Of each group only a subset is used, so that a large fleet of balancers does not connect everyone to everyone.
    pub subset: Option<Subset>,
}

/// Deterministic subsetting (Beyer et al., Site Reliability Engineering, chapter 20): clients of one round use disjoint subsets,
/// so that every backend has the same number of clients, give or take one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subset {
    /// This balancer's number in its fleet, from 0.
    pub client: u64,
    /// Backends in a subset.
    pub size: NonZeroUsize,
}

/// The state that eligibility has beside the backends' own: since when each is eligible.
#[derive(Debug)]
pub(crate) struct Eligibility {
    options: BalancerOptions,
    /// By position.
    states: Box<[State]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    Warming(Instant),
    Warm,
}

/// What one look at a backend told. Each is looked at once: it may change between two looks.
#[derive(Debug, Clone, Copy)]
struct Seen {
    position: usize,
    weight: Weight,
    priority: u8,
    healthy: bool,
}

/// Steps of slow start: weights stay short decimals, and cycles of turns short.
const STEPS: u32 = 10;

impl Eligibility {
    /// For backends that are all warm: those of a process that has just started have to carry the load at once.
    pub(crate) fn new(options: BalancerOptions, count: usize) -> Self {
        Self { options, states: vec![State::Warm; count].into() }
    }

    /// For backends of which some were known before: these keep their state, the others begin slowly.
    pub(crate) fn after(
        &self,
        options: BalancerOptions,
        before: &[Arc<Backend>],
        configured: &[Arc<Backend>],
        now: Instant,
    ) -> Self {
        let known = OnceCell::new();
        let state = |(place, backend): (usize, &Arc<Backend>)| {
            // Most stand where they stood.
            if before.get(place).is_some_and(|before| Arc::ptr_eq(before, backend)) {
                return self.states.get(place).copied();
            }
            let known: &HashMap<*const Backend, State> = known
                .get_or_init(|| before.iter().map(Arc::as_ptr).zip(self.states.iter().copied()).collect());
            known.get(&Arc::as_ptr(backend)).copied()
        };
        let states = configured.iter().enumerate().map(state);
        Self { options, states: states.map(|state| state.unwrap_or(State::Warming(now))).collect() }
    }

    pub(crate) fn options(&self) -> BalancerOptions {
        self.options
    }

    /// The eligible backends at `now`, and when to ask again though nothing else changed: while a backend warms up.
    pub(crate) fn select(
        &mut self,
        configured: &[Arc<Backend>],
        now: Instant,
    ) -> (BackendSet, Option<Instant>) {
        let seen: Vec<Seen> =
            configured.iter().enumerate().filter_map(|(position, backend)| see(position, backend)).collect();
        self.advance(&seen, now);
        let group = self.group(&seen);
        let group = self.options.subset.map_or(group.clone(), |subset| subset.of(&group, configured));
        let again = group.iter().filter_map(|seen| self.next_step(seen.position, now)).min();
        let members: Vec<(usize, Weight)> =
            group.into_iter().map(|seen| (seen.position, self.warmed(seen, now))).collect();
        (BackendSet::of(configured, &members), again)
    }

    /// Notes who came and who went.
    fn advance(&mut self, seen: &[Seen], now: Instant) {
        let mut seen = seen.iter().filter(|seen| seen.healthy).peekable();
        let slow_start = self.options.slow_start.unwrap_or_default();
        for (position, state) in self.states.iter_mut().enumerate() {
            let eligible = seen.next_if(|seen| seen.position == position).is_some();
            *state = match *state {
                _ if !eligible => State::Out,
                State::Out if !slow_start.is_zero() => State::Warming(now),
                State::Warming(since) if now.saturating_duration_since(since) < slow_start => {
                    State::Warming(since)
                }
                _ => State::Warm,
            };
        }
    }

    /// The members of the first priority group that has a healthy one; in panic the unhealthy too.
    fn group(&self, seen: &[Seen]) -> Vec<Seen> {
        let healthy = || seen.iter().filter(|seen| seen.healthy);
        let panicking = self.options.panic_threshold.filter(|threshold| *threshold > 0.0);
        let first = healthy().map(|seen| seen.priority).min();
        let first =
            if panicking.is_some() { first.or(seen.iter().map(|seen| seen.priority).min()) } else { first };
        let group: Vec<Seen> = seen.iter().filter(|seen| Some(seen.priority) == first).copied().collect();
        let well = group.iter().filter(|seen| seen.healthy).count();
        if panicking.is_some_and(|threshold| (well as f64) < threshold * group.len() as f64) {
            return group;
        }
        group.into_iter().filter(|seen| seen.healthy).collect()
    }

    fn warmed(&self, seen: Seen, now: Instant) -> Weight {
        let factor = f64::from(self.step(seen.position, now)) / f64::from(STEPS);
        // A weight so small that its tenth is nothing keeps its own.
        Weight::try_from(seen.weight.get() * factor)
            .ok()
            .filter(|weight| !weight.is_zero())
            .unwrap_or(seen.weight)
    }

    /// Which tenth of its weight a backend has, from 1 to 10.
    fn step(&self, position: usize, now: Instant) -> u32 {
        match (self.states.get(position), self.options.slow_start) {
            (Some(State::Warming(since)), Some(slow_start)) if !slow_start.is_zero() => {
                let done = now.saturating_duration_since(*since).as_secs_f64() / slow_start.as_secs_f64();
                (1..STEPS).find(|step| done < f64::from(*step) / f64::from(STEPS)).unwrap_or(STEPS)
            }
            _ => STEPS,
        }
    }

    fn next_step(&self, position: usize, now: Instant) -> Option<Instant> {
        match (self.states.get(position), self.options.slow_start) {
            (Some(State::Warming(since)), Some(slow_start)) => {
                since.checked_add(slow_start.mul_f64(f64::from(self.step(position, now)) / f64::from(STEPS)))
            }
            _ => None,
        }
    }
}

fn see(position: usize, backend: &Arc<Backend>) -> Option<Seen> {
    let seen = Seen {
        position,
        weight: backend.weight(),
        priority: backend.priority(),
        healthy: backend.is_healthy(),
    };
    (!backend.is_draining() && !seen.weight.is_zero()).then_some(seen)
}

impl Subset {
    /// This client's members of a group. The subset is cut from all that is configured, so that it stays when a backend fails;
    /// where none of it is left, all of the group is used.
    fn of(self, group: &[Seen], configured: &[Arc<Backend>]) -> Vec<Seen> {
        let Some(priority) =
            group.first().and_then(|seen| configured.get(seen.position)).map(|first| first.priority())
        else {
            return Vec::new();
        };
        let all = configured.iter().enumerate().filter(|(_, backend)| backend.priority() == priority);
        let mut all: Vec<usize> = all.map(|(position, _)| position).collect();
        let subsets = (all.len() / self.size).max(1) as u64;
        shuffle(&mut all, self.client / subsets);
        let number = usize::try_from(self.client % subsets).unwrap_or(0);
        let chosen = all.chunks(self.size.get()).nth(number).unwrap_or_default();
        let members: Vec<Seen> =
            group.iter().filter(|seen| chosen.contains(&seen.position)).copied().collect();
        if members.is_empty() { group.to_vec() } else { members }
    }
}

/// Fisher and Yates, the same for the same round in every process.
fn shuffle(all: &mut [usize], round: u64) {
    for last in (1..all.len()).rev() {
        let bits = mix(mix(round.wrapping_add(GOLDEN)).wrapping_add((last as u64).wrapping_mul(GOLDEN)));
        all.swap(last, below(bits, last + 1));
    }
}

#[cfg(test)]
mod tests;
