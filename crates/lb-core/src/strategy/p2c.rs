//! Power of two choices: of two backends drawn by weight, the one with fewer requests in flight for its weight.
//!
//! O(1) whatever the number of backends, and within log log n of the exact scan; of up to eight
//! backends all are looked at, as two draws of few too often leave the one good backend out.
//!
//! Right for many backends and several balancers. With a slow backend it does as least connections does, and so its tail is that
//! backend's queue; `peak_ewma` avoids it.

use crate::context::PickContext;
use crate::set::BackendSet;
use crate::strategy::choices::{CHOICES, Choices, Member};
use crate::strategy::{Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "p2c",
    aliases: &["poweroftwo", "poweroftwochoices", "twochoices"],
    summary: "of two backends drawn by weight, the one with fewer requests in flight",
    options: &[CHOICES],
    weighted: true,
    keyed: false,
    build: |build| Box::new(PowerOfTwo(Choices::new(build, f64::recip))),
};

#[derive(Debug)]
struct PowerOfTwo(Choices);

impl Strategy for PowerOfTwo {
    fn pick(&self, _backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        let load = |member: &Member| f64::from(member.backend.active()) * member.handicap;
        self.0.best(request.now, load).map(|(index, _)| index)
    }
}
