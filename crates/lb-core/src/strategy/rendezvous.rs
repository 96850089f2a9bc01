//! Rendezvous hashing: of all backends, the one with the highest score for the key.
//!
//! Thaler and Ravishankar 1998; weights as Schindelhauer and Schomaker 2005: every backend draws, for every key, an exponential
//! time of its weight's rate, and the earliest has the key. When a backend goes, its keys alone find new owners, spread over
//! all others by weight; when it returns it gets precisely these back. Nobody else moves.
//!
//! Scoring all backends would cost O(n) a request, so keys are gathered into slots and the slots are drawn for ahead: a pick is
//! one multiplication and one load. Drawing for all slots would cost slots × backends; a backend's draws are the points of a
//! Poisson process over slots and time, so they are drawn in order of time, only until every slot has an owner: slots × log(slots),
//! whatever the number of backends. Shares differ from the weights by about 1 ÷ √(slots a backend): 2 to 6 %.
//!
//! Right for caches and for sessions by a header or cookie. A single hot key stays on one backend unless `bound` is set.

use crate::number::{GOLDEN, below, mix};
use crate::set::BackendSet;
use crate::strategy::StrategyInfo;
use crate::strategy::options::KEY;
use crate::strategy::slots::{BOUND, Slots};
use crate::weight::Weight;

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "rendezvous",
    aliases: &["hrw", "highestrandomweight"],
    summary: "the backend with the highest score for the key; weights held, and only a lost backend's keys move",
    options: &[KEY, BOUND],
    weighted: true,
    keyed: true,
    build: |build| Box::new(Slots::new(owners(build.set), build)),
};

/// Slots a backend, and the least and most for all.
const SLOTS_EACH: usize = 256;
const FEWEST: usize = 1 << 14;
const MOST: usize = 1 << 20;

const NOBODY: u32 = u32::MAX;

/// The owner of each slot; no slots where there is nobody.
pub(super) fn owners(set: &BackendSet) -> Box<[u32]> {
    if set.is_empty() {
        return Box::default();
    }
    // By what is configured, not by what is eligible: a table of another size would move everyone.
    let slots = set.configured().saturating_mul(SLOTS_EACH).clamp(FEWEST, MOST).next_power_of_two();
    let rates = rates(set.weights());
    let all: f64 = rates.iter().sum();
    let mut draws: Vec<Draws> = set
        .identities()
        .iter()
        .zip(&rates)
        .map(|(identity, rate)| Draws::new(*identity, rate * slots as f64))
        .collect();

    let mut earliest = vec![(f64::INFINITY, NOBODY); slots];
    let mut horizon = 0.0;
    while earliest.iter().any(|(_, owner)| *owner == NOBODY) {
        // By this time a slot is still free with a chance of 1 ÷ (slots × 16), and then it is looked on for as long again.
        horizon += ((slots * 16) as f64).ln() / all;
        for (owner, draws) in (0..).zip(&mut draws) {
            while draws.time < horizon {
                if let Some(slot) = earliest.get_mut(below(draws.bits, slots))
                    && draws.time < slot.0
                {
                    *slot = (draws.time, owner);
                }
                draws.advance();
            }
        }
    }
    earliest.into_iter().map(|(_, owner)| owner).collect()
}

/// Weights brought near 1 by a power of two, so that neither huge nor tiny ones leave the range, and no digit changes when the
/// greatest of them comes or goes.
fn rates(weights: &[Weight]) -> Vec<f64> {
    let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
    let unit = greatest.log2().floor().clamp(-1022.0, 1023.0).exp2();
    weights.iter().map(|weight| weight.get() / unit).collect()
}

/// A backend's draws in order of time: the same for the same identity, whoever else is there.
struct Draws {
    identity: u64,
    count: u64,
    rate: f64,
    /// When this draw is; its `bits` say which slot it is for.
    time: f64,
    bits: u64,
}

impl Draws {
    fn new(identity: u64, rate: f64) -> Self {
        let mut draws = Self { identity, count: 0, rate, time: 0.0, bits: 0 };
        draws.advance();
        draws
    }

    fn advance(&mut self) {
        self.count += 1;
        self.bits = mix(self.identity.wrapping_add(self.count.wrapping_mul(GOLDEN)));
        // A second word, independent of the first; uniform above 0 and up to 1.
        let uniform = ((mix(self.bits ^ GOLDEN) >> 11) + 1) as f64 * f64::exp2(-53.0);
        self.time -= uniform.ln() / self.rate;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Backend, BackendOptions};

    fn backends(weights: &[u32]) -> Vec<Arc<Backend>> {
        let backend = |(n, weight): (usize, &u32)| {
            let weight = Weight::from(*weight);
            Arc::new(Backend::new(BackendOptions {
                weight,
                ..BackendOptions::named(format!("http://10.0.0.{n}:80"))
            }))
        };
        weights.iter().enumerate().map(backend).collect()
    }

    #[test]
    fn slots_follow_the_weights() {
        let owners = owners(&BackendSet::new(&backends(&[3, 2, 1])));
        for (owner, share) in (0..).zip([3.0, 2.0, 1.0]) {
            let got = owners.iter().filter(|slot| **slot == owner).count() as f64 / owners.len() as f64;
            // Five standard deviations of a binomial share.
            assert!((got - share / 6.0).abs() < 5.0 * (0.25 / owners.len() as f64).sqrt(), "{owner}: {got}");
        }
    }

    #[test]
    fn a_backend_that_goes_frees_its_own_slots_only_and_all_others_share_them() {
        let all = backends(&[1, 2, 1, 5, 1]);
        let before = owners(&BackendSet::new(&all));
        let kept = [0, 1, 2, 4].map(|position| (position, all[position].weight()));
        let after = owners(&BackendSet::of(&all, &kept));
        let mut heirs = [0; 4];
        for (before, after) in before.iter().zip(&after) {
            // Without the fourth, the fifth has the index of the fourth.
            match before {
                3 => heirs[*after as usize] += 1,
                4 => assert_eq!(*after, 3),
                _ => assert_eq!(after, before),
            }
        }
        assert!(heirs.iter().all(|inherited| *inherited > 0), "{heirs:?}");
    }

    #[test]
    fn no_weight_is_too_strange_to_build_from() {
        for weights in
            [[1e308, 1e308], [1e300, 1e-300], [f64::MIN_POSITIVE, f64::MIN_POSITIVE], [5e-324, 1.0]]
        {
            let all: Vec<_> = weights
                .iter()
                .map(|weight| {
                    let weight = Weight::try_from(*weight).unwrap();
                    Arc::new(Backend::new(BackendOptions {
                        weight,
                        ..BackendOptions::named(format!("{weight}"))
                    }))
                })
                .collect();
            assert!(owners(&BackendSet::new(&all)).iter().all(|owner| *owner < 2));
        }
    }
}
