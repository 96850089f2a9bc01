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
//! Right for large sets on machines they share with others, whose capacity comes and goes. It fails where backends are alike and
//! close to their limits: differences of latency are chance there, and following them makes queues that counting would not
//! (simulated: benches/runs). The pick is the dearest of all, and weights steer the counts only, not the latencies. It fails where a few requests tell nothing of a backend: latencies are remembered as short as probes.
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
use pool::{Pool, Probe, SIZE, Share, choose};

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

/// What a backend without a sample is taken for while it has a request in flight, as latencies are told: a second.
const UNKNOWN: u16 = 239;

#[derive(Debug)]
struct Prequal {
    table: AliasTable,
    /// What one request in flight adds to each backend's load.
    per_request: Box<[Share]>,
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
            per_request: weights.iter().map(|weight| Share::new(greatest / weight.get())).collect(),
            quantile,
            latencies: Latencies::new(weights.len(), age),
            pool: Pool::new(age, quantile),
        }
    }

    /// What our own counts say of a backend, with so many requests more than it has.
    #[inline]
    fn probe(&self, backends: &BackendSet, index: usize, more: u32, time: u16) -> Option<Probe> {
        let (backend, share) = (backends.get(index)?, self.per_request.get(index)?);
        let active = backend.active().saturating_add(more);
        let untried = if active == 0 { 0 } else { UNKNOWN };
        let latency = self.latencies.at(index, active, time).unwrap_or(untried);
        Some(Probe::new(index, share.load(active), latency))
    }

    /// Of few: all are read. The drawn one first: it stands against its equals, so an idle set is served by weight.
    fn of_all(&self, backends: &BackendSet, time: u16) -> Option<usize> {
        let mut known = [Probe::NONE; SIZE];
        let known = known.get_mut(..backends.len())?;
        let mut index = self.table.draw()?;
        for place in known.iter_mut() {
            *place = self.probe(backends, index, 0, time)?;
            index += 1;
            index = if index == backends.len() { 0 } else { index };
        }
        choose(known, self.quantile).map(Probe::index)
    }

    /// Of many: the pool and two draws.
    fn of_pool(&self, backends: &BackendSet, now: u64, time: u16) -> Option<usize> {
        let (one, two) = self.table.draw_two()?;
        let (one, two) = (self.probe(backends, one, 0, time)?, self.probe(backends, two, 0, time)?);
        let now = self.pool.time(now);
        let found = self.pool.choose(one, two, now);
        let index = found.chosen.index();
        self.pool.turn_over(&found, self.probe(backends, index, 1, time)?, now);
        Some(index)
    }
}

impl Strategy for Prequal {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let now = moment::nanos(request.now);
        let time = self.latencies.time(now);
        if backends.len() <= SIZE { self.of_all(backends, time) } else { self.of_pool(backends, now, time) }
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
