//! Round robin: each backend in its turn, whatever its weight.
//!
//! The order is exact for the whole process: one counter, one atomic add, whichever thread asks. O(1), no table.
//!
//! Right where backends are alike and so are requests. It heeds neither weight nor load: a slow backend gets as much as a fast
//! one and queues it.

use std::sync::Arc;

use crate::context::PickContext;
use crate::number::modulo;
use crate::set::BackendSet;
use crate::strategy::{Strategy, StrategyInfo};
use crate::turn::Turn;

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "round_robin",
    aliases: &["rr"],
    summary: "each backend in its turn, in the configured order",
    options: &[],
    weighted: false,
    keyed: false,
    build: |build| Box::new(RoundRobin { turn: Arc::clone(build.turn) }),
};

#[derive(Debug)]
struct RoundRobin {
    turn: Arc<Turn>,
}

impl Strategy for RoundRobin {
    fn pick(&self, backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        if backends.is_empty() {
            return None;
        }
        Some(modulo(self.turn.of(request), backends.len()))
    }
}
