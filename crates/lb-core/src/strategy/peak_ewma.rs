//! Peak EWMA: of two backends drawn by weight, the one with the lower latency × (in flight + 1), latency rising with every slow
//! answer at once and falling over `decay`.
//!
//! Finagle's and Linkerd's balancer. A backend that turns slow loses its traffic with its first slow answer, and wins it back
//! as it is forgotten: by trials, one at a time. O(1); up to eight backends are scanned.
//!
//! Right where the tail matters and backends stumble: pauses, cold caches, noisy neighbours. It fails where latencies differ by
//! request far more than by backend, as any one slow request then costs its backend seconds of traffic.

use std::time::Duration;

use crate::context::PickContext;
use crate::latency::{Averaging, Scale, rate};
use crate::lease::Outcome;
use crate::moment::Moment;
use crate::set::BackendSet;
use crate::strategy::choices::{CHOICES, Choices, Member};
use crate::strategy::least_response_time::decay;
use crate::strategy::{Build, Needs, Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "peak_ewma",
    aliases: &["ewma"],
    summary: "of two backends drawn by weight, the one with the lower peak latency times requests in flight",
    options: &[CHOICES, decay(Duration::from_secs(10))],
    weighted: true,
    keyed: false,
    build: |build| Box::new(PeakEwma::new(build)),
};

#[derive(Debug)]
struct PeakEwma {
    /// Handicaps are -log₂ of each weight: what it adds to the logarithm of the load.
    choices: Choices,
    rate: f64,
}

impl PeakEwma {
    fn new(build: &Build<'_>) -> Self {
        let decay = build.options.duration("decay");
        build.set.iter().for_each(|backend| backend.set_decay(decay));
        Self { choices: Choices::new(build, |weight| -weight.log2()), rate: rate(decay) }
    }
}

impl Strategy for PeakEwma {
    fn pick(&self, _backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let scale = Scale::new(self.rate, request.now);
        let load =
            |member: &Member| scale.score(member.cell.kept(), member.backend.active()) + member.handicap;
        let (chosen, backend) = self.choices.best(request.now, load)?;
        if backend.active() == 0 {
            backend.begin_trial(request.now);
        }
        Some(chosen)
    }

    fn learn(&self, backends: &BackendSet, index: usize, outcome: &Outcome, now: Moment) {
        if let Some(backend) = backends.get(index) {
            backend.learn(outcome, Averaging::Peak, now);
        }
    }

    fn needs(&self) -> Needs {
        Needs { counts: false, outcomes: true }
    }
}
