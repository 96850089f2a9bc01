//! Power of two choices: of two backends drawn by weight, the one with fewer requests in flight for its weight.
//!
//! O(1) whatever the number of backends, and within log log n of the exact scan; of up to eight
//! backends all are looked at, as two draws of few too often leave the one good backend out.
//!
//! Right for many backends and several balancers. A backend that is slow but not busy looks idle to it: as soon as its last request
//! is answered it ties with the others and gets the next. That is what counting can know, not a fault to be mended: of four backends
//! at 4000 requests a second, one 5 ms slower, that one always has its request, which is 1 ÷ (5.85 ms + 1 ms) of 4000 a second, 3.6 %,
//! and all of p99 (simulated: 4.1 %, 6.2 ms; with all well 0.31 ms). `peak_ewma` knows latencies and keeps p99 at 0.31 ms.
//!
//! About 6 ns a pick at 100 backends: a draw, two loads, a comparison without a branch.

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
