//! Random: every backend with the same chance, whatever its weight. No shared state at all, so it never contends; O(1).
//!
//! Right for very many cores and short requests. Counts spread by their square root: of a hundred requests to ten backends one
//! may well get four and another seventeen; `p2c` costs little more and has none of it.

use crate::context::PickContext;
use crate::set::BackendSet;
use crate::strategy::{Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "random",
    aliases: &["rand"],
    summary: "any backend, each with the same chance",
    options: &[],
    weighted: false,
    keyed: false,
    build: |_| Box::new(Random),
};

#[derive(Debug)]
struct Random;

impl Strategy for Random {
    fn pick(&self, backends: &BackendSet, _request: &PickContext<'_>) -> Option<usize> {
        if backends.is_empty() {
            return None;
        }
        Some(fastrand::usize(..backends.len()))
    }
}
