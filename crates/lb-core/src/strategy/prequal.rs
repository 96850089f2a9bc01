//! Prequal: of the backends last heard of, the fastest of those that are not busier than most.
//!
//! Wieder et al., NSDI 2024. A pool holds what probes found: requests in flight and latency. A backend is hot when its requests in
//! flight are above the `quantile` of the pool, else cold. The cold one of least latency is chosen; were all hot, the one of
//! fewest requests in flight. Latency thus steers while there is room, and the counts take over before a queue forms, which is
//! why the tail stays low when load passes what was planned for.
//!
//! Parameters are the paper's: Q 0.84, a pool of 16, forgotten after 1 s, three probes a request, and one entry removed a request,
//! the oldest and the worst alternating. Where the paper sends probes, we read our own counts: of two backends drawn by
//! weight, at the pick, and of the one that answered, with its response. Up to sixteen backends all are read instead.
//! Requests in flight count by weight.
//!
//! Right for large sets near their limits, where the tail matters. The pick is the dearest of all, and weights steer the counts
//! only, not the latencies.
//!
//! Lock-free: an entry is two words, and a torn one is an older probe. O(pool) a pick.

mod pool;

use std::time::{Duration, Instant};

use crate::context::PickContext;
use crate::latency::Averaging;
use crate::lease::Outcome;
use crate::moment;
use crate::set::BackendSet;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::weighted_random::AliasTable;
use crate::strategy::{Build, Needs, Strategy, StrategyInfo};

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
            summary: "how long a probe is believed",
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

/// Probes made at a pick; the response makes the paper's third.
const PROBES: usize = 2;

/// Latencies are remembered as long as Finagle's.
const DECAY: Duration = Duration::from_secs(10);

/// What a backend without a sample is taken for while it has a request in flight, in log₂ ns: a second.
const UNKNOWN: f64 = 29.9;

#[derive(Debug)]
struct Prequal {
    table: AliasTable,
    /// What one request in flight adds to each backend's load: 1 ÷ weight, the greatest weight being 1.
    per_request: Box<[f64]>,
    quantile: f64,
    pool: Pool,
}

impl Prequal {
    fn new(build: &Build<'_>) -> Self {
        build.set.iter().for_each(|backend| backend.set_decay(DECAY));
        let weights = build.set.weights();
        let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
        Self {
            table: AliasTable::new(weights),
            per_request: weights.iter().map(|weight| greatest / weight.get()).collect(),
            quantile: build.options.float("quantile"),
            pool: Pool::new(build.options.duration("age")),
        }
    }

    /// What our own counts say of a backend.
    fn probe(&self, backends: &BackendSet, index: usize, now: u64) -> Option<Probe> {
        let (backend, each) = (backends.get(index)?, self.per_request.get(index)?);
        let active = backend.active();
        let untried = if active == 0 { 0.0 } else { UNKNOWN };
        Some(Probe::new(index, f64::from(active) * each, backend.latency_log2(now).unwrap_or(untried)))
    }
}

impl Strategy for Prequal {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let now = moment::nanos(request.now);
        let first = self.table.draw()?;
        let chosen = if backends.len() <= SIZE {
            let mut known = [Probe::NONE; SIZE];
            // The drawn one first: it stands against its equals, so an idle set is served by weight.
            let all =
                (first..backends.len()).chain(0..first).filter_map(|index| self.probe(backends, index, now));
            known.iter_mut().zip(all).for_each(|(place, probe)| *place = probe);
            choose(&known, self.quantile)?
        } else {
            let fresh = [self.probe(backends, first, now)?, self.probe(backends, self.table.draw()?, now)?];
            let mut known = [Probe::NONE; PROBES + SIZE];
            let (drawn, pooled) = known.split_first_chunk_mut()?;
            *drawn = fresh;
            let pooled: &mut [Probe; SIZE] = pooled.first_chunk_mut()?;
            self.pool.read(pooled, now);
            let pooled = *pooled;
            let chosen = choose(&known, self.quantile)?;
            let each = self.per_request.get(chosen.index())?;
            self.pool.turn_over(fresh, &pooled, chosen, *each, now);
            chosen
        };
        let index = chosen.index();
        if let Some(backend) = backends.get(index).filter(|backend| backend.active() == 0) {
            backend.begin_trial(request.now);
        }
        Some(index)
    }

    fn learn(&self, backends: &BackendSet, index: usize, outcome: &Outcome, now: Instant) {
        if let Some(backend) = backends.get(index) {
            backend.learn(outcome, Averaging::Mean, now);
            if backends.len() > SIZE {
                let now = moment::nanos(now);
                if let Some(probe) = self.probe(backends, index, now) {
                    self.pool.put(probe, now);
                }
            }
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: false, outcomes: true }
    }
}
