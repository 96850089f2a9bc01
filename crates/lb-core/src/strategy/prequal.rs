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
//! Lock-free: an entry is one word, ordered as probes are, so the best of the pool is the least of sixteen words. O(pool) a pick.
//!
//! It is the one row above the goals for a pick (10, 15 and 50 ns at 3, 100 and 10 000 backends): about 23, 37 and 54 (benches/runs). There is no
//! hot spot left to mend: sampled at 100 backends, the time is spread over some three hundred instructions, of which none has more than
//! 4 %. They turn the instant into a number, draw, read counts and latencies of the two drawn and again of the chosen, find the least
//! and every other time the greatest of sixteen words, and write three probes. Beside 10 000 the drawn backends' two lines each miss
//! the first cache. Fewer instructions would mean fewer probes than the paper's sixteen.

mod few;
mod latencies;
mod pool;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::Backend;
use crate::context::PickContext;
use crate::lease::Outcome;
use crate::moment::Moment;
use crate::set::BackendSet;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::weighted_random::AliasTable;
use crate::strategy::{Build, Needs, Strategy, StrategyInfo};

use few::{Few, Top};
use latencies::{Clock, Latencies};
use pool::{Pool, Probe, SIZE, Share};

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
    members: Box<[Member]>,
    clock: Clock,
    /// Of a set that is read whole.
    top: Top,
    pool: Pool,
}

/// A backend with all that a probe of it reads beside its own counts, on one cache line.
#[derive(Debug)]
#[repr(align(64))]
struct Member {
    backend: Arc<Backend>,
    /// What one request in flight adds to its load.
    per_request: Share,
    latencies: Latencies,
}

impl Prequal {
    fn new(build: &Build<'_>) -> Self {
        let (age, quantile) = (build.options.duration("age"), build.options.float("quantile"));
        let weights = build.set.weights();
        let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
        let member = |(backend, weight): (&Arc<Backend>, f64)| Member {
            backend: Arc::clone(backend),
            per_request: Share::new(greatest / weight),
            latencies: Latencies::default(),
        };
        Self {
            table: AliasTable::new(weights),
            members: build.set.iter().zip(weights.iter().map(|weight| weight.get())).map(member).collect(),
            clock: Clock::new(age),
            top: Top::new(quantile, weights.len()),
            pool: Pool::new(quantile),
        }
    }

    /// What our own counts say of a backend, with so many requests more than it has: load and latency.
    #[inline(always)]
    fn look(&self, index: usize, more: u32, time: u64) -> Option<(u16, u16)> {
        let member = self.members.get(index)?;
        let active = member.backend.active().saturating_add(more);
        let untried = if active == 0 { 0 } else { UNKNOWN };
        let latency = member.latencies.at(active, time).unwrap_or(untried);
        Some((member.per_request.load(active), latency))
    }

    #[inline(always)]
    fn probe(&self, index: usize, more: u32, time: u64) -> Option<Probe> {
        self.look(index, more, time).map(|(load, latency)| Probe::new(index, load, latency))
    }

    /// Of few: all are read. The drawn one first: it stands against its equals, so an idle set is served by weight.
    fn of_all(&self, time: u64) -> Option<usize> {
        let (drawn, lot) = self.table.draw_with_lot()?;
        let (mut few, count) = (Few::new(), self.members.len());
        let mut index = drawn;
        for place in few.places(count) {
            let (load, latency) = self.look(index, 0, time)?;
            *place = Few::figure(load, latency);
            index = if index + 1 == count { 0 } else { index + 1 };
        }
        let chosen = drawn + few.best(count, self.top, lot)?;
        Some(if chosen < count { chosen } else { chosen - count })
    }

    /// Of many: the pool and two draws.
    fn of_pool(&self, time: u64) -> Option<usize> {
        let ((one, two), lot) = self.table.draw_two_with_lot()?;
        let drawn = [self.probe(one, 0, time)?, self.probe(two, 0, time)?];
        let found = self.pool.choose(drawn, lot, time);
        let index = found.chosen.index();
        self.pool.turn_over(&found, self.probe(index, 1, time)?, time);
        Some(index)
    }
}

impl Strategy for Prequal {
    fn pick(&self, _backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let time = self.clock.time(request.now.nanos());
        if self.members.len() <= SIZE { self.of_all(time) } else { self.of_pool(time) }
    }

    fn learn(&self, _backends: &BackendSet, index: usize, outcome: &Outcome, now: Moment) {
        if let Some(member) = self.members.get(index) {
            member.latencies.learn(member.backend.active(), outcome, self.clock.time(now.nanos()));
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: false, outcomes: true }
    }
}
