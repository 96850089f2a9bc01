//! The power of a few choices: draw two backends, take the better one (Mitzenmacher 1996). The maximum load falls from
//! log n ÷ log log n to log log n beside one random choice, and two threads seldom draw the same pair, so there is no herd.
//!
//! Draws follow the weights and are distinct. Up to eight backends are all looked at: two draws of few too often leave the one
//! good backend out, or hold two bad ones. Among equal draws the one that has waited longest for its weight is taken.

use std::time::Instant;

use crate::moment;
use crate::set::BackendSet;
use crate::strategy::Build;
use crate::strategy::options::{OptionInfo, OptionKind};
use crate::strategy::weighted_random::AliasTable;

/// Up to this many are all looked at.
const SCAN_ALL: usize = 8;

/// The most draws.
const MOST: usize = 16;

/// Draws made anew when one was drawn already; then its nearest neighbour is taken, so that one huge weight cannot hold us up.
const REDRAWS: usize = 4;

/// The option of the strategies that draw.
pub(super) const CHOICES: OptionInfo = OptionInfo {
    name: "choices",
    summary: "how many backends are drawn to take the best of; up to eight backends are all looked at",
    kind: OptionKind::Integer { min: 1, max: 16, default: 2 },
};

#[derive(Debug)]
pub(super) struct Choices {
    table: AliasTable,
    draws: usize,
}

impl Choices {
    pub(super) fn new(build: &Build<'_>) -> Self {
        let draws = usize::try_from(build.options.integer(CHOICES.name)).unwrap_or(2).clamp(1, MOST);
        Self { table: AliasTable::new(build.set.weights()), draws }
    }

    /// The drawn backend of least load; `None` where the set is empty.
    pub(super) fn best(&self, set: &BackendSet, now: Instant, load: impl Fn(usize) -> f64) -> Option<usize> {
        let first = self.table.draw()?;
        let mut best = Candidate { index: first, load: load(first) };
        if set.len() <= SCAN_ALL {
            for index in (first + 1..set.len()).chain(0..first) {
                let other = Candidate { index, load: load(index) };
                // The draw stands against its equals: an idle set is thus served by weight.
                let stands = best.index == first && other.load >= best.load;
                best = if stands { best } else { best.or(other, set, now) };
            }
            return Some(best.index);
        }
        let mut drawn = [first; MOST];
        for count in 1..self.draws {
            let (before, rest) = drawn.split_at_mut_checked(count)?;
            let index = self.other_than(before, set.len())?;
            *rest.first_mut()? = index;
            best = best.or(Candidate { index, load: load(index) }, set, now);
        }
        Some(best.index)
    }

    fn other_than(&self, drawn: &[usize], count: usize) -> Option<usize> {
        for _ in 0..REDRAWS {
            let index = self.table.draw()?;
            if !drawn.contains(&index) {
                return Some(index);
            }
        }
        let start = fastrand::usize(..count);
        (start..count).chain(0..start).find(|index| !drawn.contains(index))
    }
}

#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    load: f64,
}

impl Candidate {
    fn or(self, other: Self, set: &BackendSet, now: Instant) -> Self {
        if other.load > self.load {
            return self;
        }
        let now = if other.load < self.load { return other } else { moment::nanos(now) };
        if other.waited(set, now) > self.waited(set, now) { other } else { self }
    }

    /// Nanoseconds since its last request, times its weight.
    fn waited(self, set: &BackendSet, now: u64) -> f64 {
        let (Some(backend), Some(weight)) = (set.get(self.index), set.weights().get(self.index)) else {
            return 0.0;
        };
        now.saturating_sub(backend.last_request_nanos()) as f64 * weight.get()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Backend, BackendOptions};
    use crate::config::StrategyConfig;
    use crate::strategy::{Options, find};
    use crate::weight::Weight;

    fn choices(weights: &[f64], draws: i64) -> (Choices, BackendSet) {
        let all: Vec<_> = weights
            .iter()
            .map(|weight| {
                let weight = Weight::try_from(*weight).unwrap();
                Arc::new(Backend::new(BackendOptions { weight, ..BackendOptions::named("a") }))
            })
            .collect();
        let set = BackendSet::new(&all);
        let config = StrategyConfig::named("p2c").with("choices", draws);
        let options = Options::parse(find("p2c").unwrap(), &config).unwrap();
        (Choices::new(&Build { set: &set, options: &options, turn: &Arc::default() }), set)
    }

    #[test]
    fn draws_are_distinct_even_beside_a_huge_weight() {
        let mut weights = [1.0; 20];
        weights[3] = 1e12;
        for draws in [2, 16] {
            let (choices, set) = choices(&weights, draws);
            for _ in 0..500 {
                let looked_at = std::cell::RefCell::new(Vec::new());
                choices.best(&set, Instant::now(), |index| {
                    looked_at.borrow_mut().push(index);
                    1.0
                });
                let mut looked_at = looked_at.into_inner();
                assert_eq!(looked_at.len() as i64, draws);
                looked_at.sort_unstable();
                looked_at.dedup();
                assert_eq!(looked_at.len() as i64, draws);
            }
        }
    }

    #[test]
    fn up_to_eight_backends_are_all_looked_at() {
        let (choices, set) = choices(&[1.0; 8], 2);
        for best in 0..8 {
            for _ in 0..20 {
                let load = |index| if index == best { 0.0 } else { 1.0 };
                assert_eq!(choices.best(&set, Instant::now(), load), Some(best));
            }
        }
    }
}
