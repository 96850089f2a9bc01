//! The power of a few choices: draw two backends, take the better one (Mitzenmacher 1996). The maximum load falls from
//! log n ÷ log log n to log log n beside one random choice, and two threads seldom draw the same pair, so there is no herd.
//!
//! Draws follow the weights and are distinct. Up to eight backends are all looked at: two draws of few too often leave the one
//! good backend out, or hold two bad ones. Among equals the one that has waited longest for its weight is taken.

use std::hint::select_unpredictable;
use std::sync::Arc;

use crate::backend::Backend;
use crate::board::Cell;
use crate::moment::Moment;
use crate::number::lesser;
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
    members: Box<[Member]>,
}

/// A backend with all that a look at it takes, side by side: of ten thousand each look would else miss the cache twice.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) backend: Arc<Backend>,
    /// Where its latency is, without the way there through the backend.
    pub(super) cell: Cell,
    /// What its weight makes of its load, in the strategy's own terms.
    pub(super) handicap: f64,
    /// 1 ÷ weight.
    per_request: f64,
}

impl Choices {
    /// With a handicap for each weight.
    pub(super) fn new(build: &Build<'_>, handicap: impl Fn(f64) -> f64) -> Self {
        let draws = usize::try_from(build.options.integer(CHOICES.name)).unwrap_or(2).clamp(1, MOST);
        let member = |(backend, weight): (&Arc<Backend>, f64)| Member {
            backend: Arc::clone(backend),
            cell: backend.cell().clone(),
            handicap: handicap(weight),
            per_request: weight.recip(),
        };
        let weights = build.set.weights();
        let members = build.set.iter().zip(weights.iter().map(|weight| weight.get())).map(member);
        Self { table: AliasTable::new(weights), draws, members: members.collect() }
    }

    /// The drawn backend of least load; `None` where the set is empty.
    #[inline]
    pub(super) fn best(&self, now: Moment, load: impl Fn(&Member) -> f64) -> Option<(usize, &Backend)> {
        let best = if self.members.len() <= SCAN_ALL {
            self.of_all(self.candidate(self.table.draw()?, &load)?, now, &load)
        } else if self.draws == 2 {
            let (one, mut other) = self.table.draw_two()?;
            if one == other {
                other = self.other_than(&[one])?;
            }
            self.candidate(one, &load)?.or_drawn(self.candidate(other, &load)?)
        } else {
            self.of_drawn(self.candidate(self.table.draw()?, &load)?, &load)?
        };
        Some((best.index, &best.member.backend))
    }

    /// From the first to the last whoever was drawn: a walk that began at the draw would turn a corner that no branch predictor can
    /// guess.
    #[inline(always)]
    fn of_all<'a>(
        &'a self,
        drawn: Candidate<'a>,
        now: Moment,
        load: &impl Fn(&Member) -> f64,
    ) -> Candidate<'a> {
        let mut best = drawn;
        for (index, member) in (0..).zip(&self.members) {
            let other = Candidate { index, member, load: load(member) };
            // The draw stands against its equals: an idle set is thus served by weight.
            let tied = (other.load == best.load) & (best.index != drawn.index);
            let is_better = (other.load < best.load) | (tied && other.has_waited_longer(best, now));
            best = best.or_if(is_better, other);
        }
        best
    }

    #[cold]
    fn of_drawn<'a>(&'a self, first: Candidate<'a>, load: &impl Fn(&Member) -> f64) -> Option<Candidate<'a>> {
        let mut best = first;
        let mut drawn = [first.index; MOST];
        for count in 1..self.draws {
            let (before, rest) = drawn.split_at_mut_checked(count)?;
            let index = self.other_than(before)?;
            *rest.first_mut()? = index;
            best = best.or_drawn(self.candidate(index, load)?);
        }
        Some(best)
    }

    #[inline(always)]
    fn candidate(&self, index: usize, load: &impl Fn(&Member) -> f64) -> Option<Candidate<'_>> {
        let member = self.members.get(index)?;
        Some(Candidate { index, member, load: load(member) })
    }

    #[cold]
    fn other_than(&self, drawn: &[usize]) -> Option<usize> {
        for _ in 0..REDRAWS {
            let index = self.table.draw()?;
            if !drawn.contains(&index) {
                return Some(index);
            }
        }
        let count = self.members.len();
        let start = fastrand::usize(..count);
        (start..count).chain(0..start).find(|index| !drawn.contains(index))
    }
}

#[derive(Clone, Copy)]
struct Candidate<'a> {
    index: usize,
    member: &'a Member,
    load: f64,
}

impl Candidate<'_> {
    /// Without a branch, which no predictor could guess. Whoever is better has no more load.
    #[inline(always)]
    fn or_if(self, is_better: bool, other: Self) -> Self {
        Self {
            index: select_unpredictable(is_better, other.index, self.index),
            member: select_unpredictable(is_better, other.member, self.member),
            load: lesser(self.load, other.load),
        }
    }

    /// The better of two draws. Of equals that have the same weight the one that has waited longer; of others the first drawn, as
    /// draws follow the weights.
    #[inline(always)]
    fn or_drawn(self, other: Self) -> Self {
        let (ours, theirs) = (self.member, other.member);
        let has_waited_longer = theirs.backend.last_request_nanos() < ours.backend.last_request_nanos();
        let is_better = (other.load < self.load)
            | (other.load == self.load) & (theirs.per_request == ours.per_request) & has_waited_longer;
        self.or_if(is_better, other)
    }

    /// By the time since its last request, times its weight.
    fn has_waited_longer(self, other: Self, now: Moment) -> bool {
        let last = |it: Self| it.member.backend.last_request_nanos();
        let each = |it: Self| it.member.per_request;
        if each(self) == each(other) {
            return last(self) < last(other);
        }
        let since = |it: Self| now.nanos().saturating_sub(last(it)) as f64;
        since(self) * each(other) > since(other) * each(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendOptions;
    use crate::config::StrategyConfig;
    use crate::set::BackendSet;
    use crate::strategy::{Options, find};
    use crate::weight::Weight;

    fn choices(weights: &[f64], draws: i64) -> Choices {
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
        Choices::new(&Build { set: &set, options: &options, turn: &Arc::default() }, |_| 0.0)
    }

    #[test]
    fn draws_are_distinct_even_beside_a_huge_weight() {
        let mut weights = [1.0; 20];
        weights[3] = 1e12;
        for draws in [2, 16] {
            let choices = choices(&weights, draws);
            for _ in 0..500 {
                let looked_at = std::cell::RefCell::new(Vec::new());
                choices.best(Moment::from(std::time::Instant::now()), |member| {
                    looked_at.borrow_mut().push(Arc::as_ptr(&member.backend));
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
        let choices = choices(&[1.0; 8], 2);
        for best in 0..8 {
            for _ in 0..20 {
                let good = Arc::as_ptr(&choices.members[best].backend);
                let load = |member: &Member| if Arc::as_ptr(&member.backend) == good { 0.0 } else { 1.0 };
                assert_eq!(
                    choices.best(Moment::from(std::time::Instant::now()), load).map(|(index, _)| index),
                    Some(best)
                );
            }
        }
    }
}
