//! Least response time: the backend that would answer first, by its mean latency and what it has in flight.
//!
//! The load is latency × (in flight + 1) ÷ weight, latency being an exponentially weighted mean over `decay` (nginx's `least_time`
//! and the sum of its terms' product are the model). A backend without samples is tried at once, one request at a time; a
//! backend that is not chosen is forgotten over `decay` and tried again; a failure counts as a slow answer. So a slow backend
//! keeps a trickle of trial requests and nobody starves.
//!
//! Right where backends differ in speed and speeds change. It fails where latency says little of the backend, as when one backend
//! happens to get the cheap requests: they make it look fast.
//!
//! An exact scan over figures that lie side by side: O(n), about half a nanosecond each: two loads, a logarithm from a table, two sums
//! and a comparison.

use std::time::Duration;

use crate::context::PickContext;
use crate::latency::{Averaging, Scale, rate};
use crate::lease::Outcome;
use crate::moment::Moment;
use crate::set::BackendSet;
use crate::strategy::equals::one_of_least;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::weighted_round_robin::{Order, Rotation};
use crate::strategy::{Build, Needs, Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "least_response_time",
    aliases: &["leasttime", "lrt"],
    summary: "the backend that would answer first, by mean latency and requests in flight",
    options: &[decay(Duration::from_secs(5))],
    weighted: true,
    keyed: false,
    build: |build| Box::new(LeastResponseTime::new(build)),
};

/// The option of the strategies that learn latencies.
pub(super) const fn decay(default: Duration) -> OptionInfo {
    OptionInfo {
        name: "decay",
        summary: "how long latencies are remembered",
        kind: OptionKind::Duration {
            min: Duration::from_millis(10),
            max: Duration::from_secs(3600),
            default,
        },
    }
}

#[derive(Debug)]
struct LeastResponseTime {
    /// -log₂ of each weight: what it adds to the logarithm of the load.
    handicaps: Box<[f64]>,
    rate: f64,
    ties: Rotation,
}

impl LeastResponseTime {
    fn new(build: &Build<'_>) -> Self {
        let decay = build.options.duration("decay");
        build.set.iter().for_each(|backend| backend.set_decay(decay));
        let handicaps = build.set.weights().iter().map(|weight| -weight.get().log2()).collect();
        Self {
            handicaps,
            rate: rate(decay),
            ties: Rotation::new(build.set.weights(), Order::Smooth, build.turn),
        }
    }

    #[cold]
    fn one_to_try(
        &self,
        backends: &BackendSet,
        request: &PickContext<'_>,
        scale: Scale,
        least: f64,
    ) -> Option<usize> {
        let load = |index: usize| match (backends.get(index), self.handicaps.get(index)) {
            (Some(backend), Some(handicap)) => scale.score(backend.kept(), backend.mirrored()) + handicap,
            _ => f64::INFINITY,
        };
        Some(one_of_least(backends.len(), self.ties.next_loosely(request)?, least, load))
    }
}

impl Strategy for LeastResponseTime {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let scale = Scale::new(self.rate, request.now);
        let (least, whose) = backends.least(&self.handicaps, |count, kept, handicap| {
            scale.score(f64::from_bits(kept), count) + handicap
        });
        // Loads that are known are hardly ever equal; those of backends to be tried are.
        let chosen =
            if least.is_finite() { whose } else { self.one_to_try(backends, request, scale, least)? };
        if let Some(backend) = backends.get(chosen).filter(|backend| backend.active() == 0) {
            backend.begin_trial(request.now);
        }
        Some(chosen)
    }

    fn learn(&self, backends: &BackendSet, index: usize, outcome: &Outcome, now: Moment) {
        if let Some(backend) = backends.get(index) {
            backend.learn(outcome, Averaging::Mean, now);
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: true, outcomes: true }
    }
}
