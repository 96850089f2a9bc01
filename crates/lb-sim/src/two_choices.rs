//! Two choices and no more: what `lb-core` does beyond eight backends, done for fewer too. It is there to show why `lb-core`
//! looks at all of few, and how a strategy is added from outside.

use std::time::Duration;

use lb_core::strategy::{Needs, Strategy, StrategyInfo};
use lb_core::{Averaging, BackendSet, Moment, Outcome, PickContext};

/// Of two backends drawn, the one with the lower peak latency × (in flight + 1).
pub static TWO_CHOICES: StrategyInfo = StrategyInfo {
    name: "two_choices",
    aliases: &[],
    summary: "of exactly two backends drawn, the one with the lower peak latency times requests in flight",
    options: &[],
    weighted: false,
    keyed: false,
    build: |_| Box::new(TwoChoices),
};

#[derive(Debug)]
struct TwoChoices;

impl Strategy for TwoChoices {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let count = backends.len();
        if count < 2 {
            return count.checked_sub(1);
        }
        let one = fastrand::usize(..count);
        let other = (one + fastrand::usize(1..count)) % count;
        let load = |index| {
            let backend = backends.get(index)?;
            let latency = backend.latency(request.now).unwrap_or(Duration::ZERO);
            Some(latency.as_secs_f64() * (f64::from(backend.active()) + 1.0))
        };
        Some(if load(other) < load(one) { other } else { one })
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
