//! Least connections: the backend with the fewest requests in flight for its weight.
//!
//! An exact scan: O(n) relaxed loads. Among equals the one whose turn it is by weighted round robin is served, so an idle
//! upstream sees that strategy's order and shares, never its first backend alone; where that one is busier, any of the equals,
//! each with the same chance, so that no backend inherits the turns of a busy neighbour.

use crate::context::PickContext;
use crate::set::BackendSet;
use crate::strategy::weighted_round_robin::{Order, Rotation};
use crate::strategy::{Strategy, StrategyInfo};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "least_connections",
    aliases: &["leastconn", "lc"],
    summary: "the backend with the fewest requests in flight for its weight; equals take turns",
    options: &[],
    weighted: true,
    keyed: false,
    build: |build| {
        Box::new(LeastConnections {
            per_request: build.set.weights().iter().map(|weight| weight.get().recip()).collect(),
            ties: Rotation::new(build.set.weights(), Order::Smooth, build.turn),
        })
    },
};

#[derive(Debug)]
struct LeastConnections {
    /// What one request in flight adds to each backend's load: 1 ÷ weight.
    per_request: Box<[f64]>,
    ties: Rotation,
}

impl Strategy for LeastConnections {
    fn pick(&self, backends: &BackendSet, _request: &PickContext<'_>) -> Option<usize> {
        let turn = self.ties.next()?;
        let loads = || {
            backends.iter().zip(&self.per_request).map(|(backend, each)| f64::from(backend.active()) * each)
        };
        let (mut chosen, mut least, mut equals) = (turn, f64::INFINITY, 0);
        for (index, load) in loads().enumerate() {
            if load < least {
                (chosen, least, equals) = (index, load, 1);
            } else if load <= least {
                equals += 1;
                if index == turn {
                    chosen = turn;
                }
            }
        }
        if chosen == turn || equals == 1 {
            return Some(chosen);
        }
        let drawn = fastrand::usize(..equals);
        let mut equals = loads().enumerate().filter(|(_, load)| *load <= least);
        // The loads may have changed since, and fewer be equal now.
        Some(equals.nth(drawn).map_or(chosen, |(index, _)| index))
    }
}
