//! Prequal: of the backends last heard of, the fastest of those that are not busier than most.
//!
//! Wieder et al., NSDI 2024. A pool holds what probes found: requests in flight and latency. A backend is hot when its requests in
//! flight are above the `quantile` of what probes find, else cold. The cold one of least latency is chosen; were all hot, the one
//! of fewest requests in flight. Latency thus steers while there is room, and the counts take over before a queue forms, which is
//! why the tail stays low when load passes what was planned for.
//!
//! Parameters are the paper's: Q 0.84, a pool of 16, latencies forgotten after 1 s. Where the paper sends probes, we read our own
//! counts, of a backend drawn by weight at each pick and of another as a request ends, and latencies come with the responses. The
//! first goes over the oldest entry of the pool, the other over the worst and over one of middling age by turns, so an entry lives
//! for sixteen picks at most. What the pool says of its best is not believed, however young: it is read again and held against the one
//! just drawn, and where it has turned hot the next best is looked at, three times at most. The quantile is followed over the draws,
//! not over the pool: the pool holds what is better than most by design, and a quantile of it lets a few backends take everything.
//! Up to sixteen backends all are read instead. Requests in flight count by weight.
//!
//! Right for large sets on machines they share with others, whose capacity comes and goes. Where backends are alike and close to
//! their limits differences of latency are chance, and following them makes queues that counting would not (simulated:
//! benches/runs). Weights steer the counts only, not the latencies. It fails where a few requests tell nothing of a backend:
//! latencies are remembered as short as probes.
//!
//! Lock-free: an entry is one word, ordered as probes are, so the best of the pool is the least of sixteen words. O(pool) a pick.
//! The probe as a request ends costs about 10 ns there, which a pick does not show.

mod few;
mod latencies;
mod pool;

use std::hint::select_unpredictable;
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

use few::Top;
use latencies::{Clock, Latencies};
use pool::{Pool, Probe, SIZE, Share, Turn};

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
            summary: "how long latencies are remembered; what the pool says of its best is read again before it is believed",
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

/// How often a pick looks for another where the best of the pool has turned hot.
const RETRIES: usize = 3;

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

impl Member {
    /// What our own counts say of it.
    #[inline(always)]
    fn look(&self, time: u64) -> (u16, u16) {
        let active = self.backend.active();
        (self.per_request.load(active), self.latencies.at(active, time))
    }

    #[inline(always)]
    fn figure(&self, time: u64) -> u32 {
        let (load, latency) = self.look(time);
        few::figure(load, latency)
    }

    #[inline(always)]
    fn probe(&self, index: usize, time: u64) -> Probe {
        let (load, latency) = self.look(time);
        Probe::new(index, load, self.per_request.one(), latency)
    }
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

    #[inline(always)]
    fn probe(&self, index: usize, time: u64) -> Option<Probe> {
        self.members.get(index).map(|member| member.probe(index, time))
    }

    /// Of few: all are read. The drawn one stands against its equals, so an idle set is served by weight.
    fn of_all(&self, time: u64) -> Option<usize> {
        let (drawn, lot) = self.table.draw_with_lot()?;
        // So few that the compiler writes every one of them out.
        match &*self.members {
            [_] => Some(0),
            [a, b] => few::best(&[a, b].map(|it| it.figure(time)), drawn, self.top, lot),
            [a, b, c] => few::best(&[a, b, c].map(|it| it.figure(time)), drawn, self.top, lot),
            [a, b, c, d] => few::best(&[a, b, c, d].map(|it| it.figure(time)), drawn, self.top, lot),
            members => {
                let mut figures = [0; SIZE];
                for (figure, member) in figures.iter_mut().zip(members) {
                    *figure = member.figure(time);
                }
                few::best(figures.get(..members.len())?, drawn, self.top, lot)
            }
        }
    }

    /// Of many: the best of the pool as it is now, or one drawn. The pool says who it might be; how it is has changed since.
    fn of_pool(&self, time: u64) -> Option<usize> {
        let (drawn, lot) = self.table.draw_with_lot()?;
        let fresh = self.probe(drawn, time)?;
        let mut turn = self.pool.begin(fresh, lot);
        let mut kept = self.probe(turn.best(), time).unwrap_or(fresh);
        if turn.has_turned_hot(kept) {
            (turn, kept) = self.another(turn, kept, fresh, time);
        }
        let is_kept = self.pool.end(turn, fresh, kept);
        Some(select_unpredictable(is_kept, turn.best(), drawn))
    }

    /// The next best of the pool, and the next: one that has turned hot since it was found cold says nothing of the others.
    #[cold]
    fn another(&self, mut turn: Turn, mut kept: Probe, fresh: Probe, time: u64) -> (Turn, Probe) {
        for _ in 0..RETRIES {
            turn = self.pool.correct(turn, kept);
            kept = self.probe(turn.best(), time).unwrap_or(fresh);
            if !turn.has_turned_hot(kept) {
                break;
            }
        }
        (turn, kept)
    }

    /// The other probe of a request, as it ends.
    fn probe_another(&self, time: u64) -> Option<()> {
        let (drawn, lot) = self.table.draw_with_lot()?;
        self.pool.hear(self.probe(drawn, time)?, lot);
        Some(())
    }
}

impl Strategy for Prequal {
    fn pick(&self, _backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let time = self.clock.time(request.now.nanos());
        if self.members.len() <= SIZE { self.of_all(time) } else { self.of_pool(time) }
    }

    fn learn(&self, _backends: &BackendSet, index: usize, outcome: &Outcome, now: Moment) {
        if let Some(member) = self.members.get(index) {
            let time = self.clock.time(now.nanos());
            member.latencies.learn(member.backend.active(), outcome, time);
            if self.members.len() > SIZE {
                self.probe_another(time);
            }
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: false, outcomes: true }
    }
}
