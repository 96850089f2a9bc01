//! Weighted round robin: turns in proportion to the weights, exactly, in one order for the whole process.
//!
//! Weights become whole turns of a period. While the period is short its order is written out ahead and a pick is
//! one atomic add and one load. A longer period is not written out: turn number `t` stands for point `t × step mod period` of
//! the weights laid end to end, `step` near period ÷ φ and without a common divisor, so that a full period visits every point
//! once (exact shares) and neighbouring turns fall far apart (smooth). Finding the point's owner is a look into a guide table
//! (Chen and Asau 1974) and a short search: O(1) on average, O(log n) at worst.
//!
//! `order = "smooth"` spreads a backend's turns as nginx's weighted round robin does, so 3:2:1 gives ABACBA;
//! `order = "block"` gives AAABBC.
//!
//! Right where weights are known and requests alike. Blind to load: what is in flight at a backend that turned slow keeps growing.

mod shares;
mod smooth;

use std::sync::Arc;

use crate::context::PickContext;
use crate::number::{modulo, spread_step};
use crate::set::BackendSet;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::{Strategy, StrategyInfo};
use crate::turn::Turn;
use crate::weight::Weight;

/// The longest period that is written out: 256 KiB of table.
const WRITTEN_OUT: u64 = 1 << 16;

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "weighted_round_robin",
    aliases: &["weighted", "wrr"],
    summary: "turns in proportion to the weights, spread evenly or in blocks",
    options: &[OptionInfo {
        name: "order",
        summary: "how a backend's turns lie in the cycle: spread out, or one after the other",
        kind: OptionKind::Word(&["smooth", "block"]),
    }],
    weighted: true,
    keyed: false,
    build: |build| {
        let order = if build.options.word("order") == "block" { Order::Block } else { Order::Smooth };
        Box::new(WeightedRoundRobin(Rotation::new(build.set.weights(), order, build.turn)))
    },
};

#[derive(Debug)]
struct WeightedRoundRobin(Rotation);

impl Strategy for WeightedRoundRobin {
    fn pick(&self, _backends: &BackendSet, request: &PickContext<'_>) -> Option<usize> {
        self.0.next(request)
    }
}

/// How a backend's turns lie in the cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Smooth,
    Block,
}

/// Turns in proportion to weights.
#[derive(Debug)]
pub(super) struct Rotation {
    turn: Arc<Turn>,
    cycle: Cycle,
}

#[derive(Debug)]
enum Cycle {
    /// All weights are equal: one turn each.
    Equal(usize),
    /// The owner of each turn, written out.
    Written(Box<[u32]>),
    /// The owner of each turn, computed.
    Computed(Line),
}

impl Rotation {
    pub(super) fn new(weights: &[Weight], order: Order, turn: &Arc<Turn>) -> Self {
        let turns = shares::turns(weights);
        let period: u64 = turns.iter().sum();
        let cycle = match order {
            _ if turns.iter().all(|share| *share == 1) => Cycle::Equal(turns.len()),
            Order::Smooth if period <= WRITTEN_OUT => Cycle::Written(smooth::cycle(&turns)),
            Order::Smooth => Cycle::Computed(Line::new(&turns, spread_step(period))),
            Order::Block => Cycle::Computed(Line::new(&turns, 1)),
        };
        Self { turn: Arc::clone(turn), cycle }
    }

    /// Whose turn it is; `None` where there is nobody.
    pub(super) fn next(&self, request: &PickContext<'_>) -> Option<usize> {
        self.owner(self.turn.of(request))
    }

    /// Whose turn it is, where turns only break ties.
    pub(super) fn next_loosely(&self, request: &PickContext<'_>) -> Option<usize> {
        self.owner(self.turn.of_loosely(request))
    }

    fn owner(&self, turn: u64) -> Option<usize> {
        match &self.cycle {
            Cycle::Equal(0) => None,
            Cycle::Equal(count) => Some(modulo(turn, *count)),
            Cycle::Written(owners) => owners.get(modulo(turn, owners.len())).map(|owner| *owner as usize),
            Cycle::Computed(line) => line.owner(turn),
        }
    }
}

/// The shares laid end to end, and a step to walk over them.
#[derive(Debug)]
struct Line {
    /// Where each owner's share ends.
    ends: Box<[u64]>,
    /// For each of equal sections of the line, the first owner with a point in it; one entry more than sections.
    guide: Box<[u32]>,
    /// Points a section.
    section: u64,
    step: u64,
}

impl Line {
    fn new(turns: &[u64], step: u64) -> Self {
        let ends: Box<[u64]> = turns
            .iter()
            .scan(0, |sum, share| {
                *sum += share;
                Some(*sum)
            })
            .collect();
        let period = ends.last().copied().unwrap_or(0);
        let section = period.div_ceil(turns.len().max(1) as u64).max(1);
        let guide = (0..=period.div_ceil(section))
            .map(|number| ends.partition_point(|end| *end <= number * section))
            .map(|owner| u32::try_from(owner).unwrap_or(u32::MAX))
            .collect();
        Self { ends, guide, section, step }
    }

    fn owner(&self, turn: u64) -> Option<usize> {
        let period = *self.ends.last()?;
        // A period is below 2^33 and a step below that, so the product stays below 2^66: hence the wider type.
        let point =
            u64::try_from(u128::from(turn % period) * u128::from(self.step) % u128::from(period)).ok()?;
        let number = usize::try_from(point / self.section).ok()?;
        let (first, last) = (*self.guide.get(number)? as usize, *self.guide.get(number + 1)? as usize);
        let within = self.ends.get(first..(last + 1).min(self.ends.len()))?;
        Some(first + within.partition_point(|end| *end <= point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order_of(weights: &[f64], order: Order, turns: usize) -> Vec<usize> {
        let weights: Vec<Weight> = weights.iter().map(|w| Weight::try_from(*w).unwrap()).collect();
        let rotation = Rotation::new(&weights, order, &Arc::default());
        let request = PickContext::new(std::time::Instant::now());
        (0..turns).map(|_| rotation.next(&request).unwrap()).collect()
    }

    #[test]
    fn three_two_one_is_spread_or_in_blocks_as_asked() {
        assert_eq!(order_of(&[3.0, 2.0, 1.0], Order::Smooth, 7), [0, 1, 0, 2, 1, 0, 0]);
        assert_eq!(order_of(&[3.0, 2.0, 1.0], Order::Block, 7), [0, 0, 0, 1, 1, 2, 0]);
    }

    #[test]
    fn equal_weights_take_turns_in_order_whatever_they_are() {
        for weight in [1.0, 5.0, 0.1, 1e300, 1e-300, f64::MIN_POSITIVE] {
            assert_eq!(order_of(&[weight; 3], Order::Smooth, 4), [0, 1, 2, 0], "{weight}");
        }
    }

    #[test]
    fn a_period_too_long_to_write_out_still_has_exact_shares() {
        let weights = [100_000.0, 30_001.0, 1.0];
        let mut counts = [0_u32; 3];
        for owner in order_of(&weights, Order::Smooth, 130_002) {
            counts[owner] += 1;
        }
        assert_eq!(counts, [100_000, 30_001, 1]);
    }

    #[test]
    fn a_long_period_is_smooth() {
        // Every window of 13 turns has about 10 of the first.
        let picks = order_of(&[100_000.0, 30_001.0], Order::Smooth, 130_001);
        for window in picks.windows(13) {
            let first = window.iter().filter(|owner| **owner == 0).count();
            assert!((8..=12).contains(&first), "{window:?}");
        }
    }
}
