//! Prequal: of the backends last heard of, the fastest of those that are not busier than most.
//!
//! Wieder et al., NSDI 2024. A pool holds what probes found: requests in flight and latency. A backend is hot when its requests in
//! flight are above the `quantile` of what probes find, else cold. The cold one of least latency is chosen; were all hot, the one
//! of fewest requests in flight. Latency thus steers while there is room, and the counts take over before a queue forms, which is
//! why the tail stays low when load passes what was planned for.
//!
//! Parameters are the paper's: Q 0.84, a pool of 16, forgotten after 1 s, and one entry removed a request, the oldest and the worst
//! alternating. Where the paper sends probes, we read our own counts, of two backends drawn by weight at each pick, and latencies
//! come with the responses. The quantile is followed over these draws, not over the pool: the pool holds what is better than most
//! by design, and a quantile of it lets a few backends take everything. Up to sixteen backends all are read instead. Requests in
//! flight count by weight.
//!
//! Right for large sets near their limits, where the tail matters. The pick is the dearest of all, and weights steer the counts
//! only, not the latencies. It fails where a few requests tell nothing of a backend: latencies are remembered as short as probes.
//!
//! Lock-free: an entry is one word. O(pool) a pick.

mod latencies;
mod pool;

use std::time::{Duration, Instant};

use crate::context::PickContext;
use crate::lease::Outcome;
use crate::moment;
use crate::set::BackendSet;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::weighted_random::AliasTable;
use crate::strategy::{Build, Needs, Strategy, StrategyInfo};

use latencies::Latencies;
use pool::{Pool, Probe, SIZE, choose};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "prequal",
    aliases: &["hotcold"],
    summary: "of the backends last heard of, the fastest of those not busier than most",
    options: &[
        OptionInfo {
            name: "quantile",
            summary: "the quantile of requests in flight above which a backend is hot: 0 heeds counts only, 1 latency only",
            kind: OptionKind::Float { min: 0.0, max: 1.0, default: 0.84 },
        },
        OptionInfo {
            name: "age",
            summary: "how long a probe is believed, and a latency remembered",
            kind: OptionKind::Duration {
                min: Duration::from_millis(10),
                max: Duration::from_secs(60),
                default: Duration::from_secs(1),
            },
        },
    ],
    weighted: true,
    keyed: false,
    build: |build| Box::new(Prequal::new(build)),
};

/// What a backend without a sample is taken for while it has a request in flight, in log₂ ns: a second.
const UNKNOWN: f64 = 29.9;

#[derive(Debug)]
struct Prequal {
    table: AliasTable,
    /// What one request in flight adds to each backend's load: 1 ÷ weight, the greatest weight being 1.
    per_request: Box<[f64]>,
    quantile: f64,
    latencies: Latencies,
    pool: Pool,
}

impl Prequal {
    fn new(build: &Build<'_>) -> Self {
        let (age, quantile) = (build.options.duration("age"), build.options.float("quantile"));
        let weights = build.set.weights();
        let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
        Self {
            table: AliasTable::new(weights),
            per_request: weights.iter().map(|weight| greatest / weight.get()).collect(),
            quantile,
            latencies: Latencies::new(weights.len(), age),
            pool: Pool::new(age, quantile),
        }
    }

    /// What our own counts say of a backend, with so many requests more than it has.
    fn probe(&self, backends: &BackendSet, index: usize, more: u32, now: u64) -> Option<Probe> {
        let (backend, each) = (backends.get(index)?, self.per_request.get(index)?);
        let active = backend.active().saturating_add(more);
        let untried = if active == 0 { 0.0 } else { UNKNOWN };
        let latency = self.latencies.at(index, active, now).unwrap_or(untried);
        Some(Probe::new(index, f64::from(active) * each, latency))
    }

    /// Of few: all are read. The drawn one first: it stands against its equals, so an idle set is served by weight.
    fn of_all(&self, backends: &BackendSet, first: usize, now: u64) -> Option<usize> {
        let mut known = [Probe::NONE; SIZE];
        let all = (first..backends.len()).chain(0..first);
        let all = all.filter_map(|index| self.probe(backends, index, 0, now));
        known.iter_mut().zip(all).for_each(|(place, probe)| *place = probe);
        choose(known.get(..backends.len())?, self.quantile).map(Probe::index)
    }

    /// Of many: the pool and two draws.
    fn of_pool(&self, backends: &BackendSet, first: usize, now: u64) -> Option<usize> {
        let fresh = [first, self.table.draw()?];
        let [one, two] = fresh.map(|index| self.probe(backends, index, 0, now).unwrap_or(Probe::NONE));
        let found = self.pool.choose(one, two, now);
        let index = found.chosen.index();
        self.pool.turn_over(&found, self.probe(backends, index, 1, now)?, now);
        Some(index)
    }
}

impl Strategy for Prequal {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let now = moment::nanos(request.now);
        let first = self.table.draw()?;
        if backends.len() <= SIZE {
            self.of_all(backends, first, now)
        } else {
            self.of_pool(backends, first, now)
        }
    }

    fn learn(&self, backends: &BackendSet, index: usize, outcome: &Outcome, now: Instant) {
        if let Some(backend) = backends.get(index) {
            self.latencies.learn(index, backend.active(), outcome, moment::nanos(now));
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: false, outcomes: true }
    }
}
