//! Power of two choices: of two backends drawn by weight, the one with fewer requests in flight for its weight.
//!
//! O(1) whatever the number of backends, and within log log n of the exact scan; of up to eight
//! backends all are looked at, as two draws of few too often leave the one good backend out.
//!
//! Right for many backends and several balancers. With a slow backend it does as least connections does, and so its tail is that
//! backend's queue; `peak_ewma` avoids it.

use crate::context::PickContext;
use crate::set::BackendSet;
use crate::strategy::choices::{CHOICES, Choices};
use crate::strategy::{Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "p2c",
    aliases: &["poweroftwo", "poweroftwochoices", "twochoices"],
    summary: "of two backends drawn by weight, the one with fewer requests in flight",
    options: &[CHOICES],
    weighted: true,
    keyed: false,
    build: |build| {
        Box::new(PowerOfTwo {
            choices: Choices::new(build),
            per_request: build.set.weights().iter().map(|weight| weight.get().recip()).collect(),
        })
    },
};

#[derive(Debug)]
struct PowerOfTwo {
    choices: Choices,
    /// What one request in flight adds to each backend's load: 1 ÷ weight.
    per_request: Box<[f64]>,
}

impl Strategy for PowerOfTwo {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        self.choices.best(backends, request.now, |index| {
            match (backends.get(index), self.per_request.get(index)) {
                (Some(backend), Some(each)) => f64::from(backend.active()) * each,
                _ => f64::INFINITY,
            }
        })
    }
}
