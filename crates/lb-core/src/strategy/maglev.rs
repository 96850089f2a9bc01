//! Maglev hashing: a table that all backends fill in turn, each in its own order of preference.
//!
//! Eisenbud et al., NSDI 2016. Shares are the most even of all hashing strategies: they differ from the weights by a slot or two.
//! The price is that a lost backend moves a few keys of others too, about 1 % with the paper's 100 slots a backend.
//! Turns come in proportion to the weights. A pick is one load.
//!
//! Right where even shares matter more than that every key stays, as in front of stateless backends with warm caches.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::number::{GOLDEN, mix, modulo};
use crate::set::BackendSet;
use crate::strategy::StrategyInfo;
use crate::strategy::options::KEY;
use crate::strategy::slots::{BOUND, Slots};

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "maglev",
    aliases: &[],
    summary: "consistent hashing with the most even shares; a lost backend moves few keys of others",
    options: &[KEY, BOUND],
    weighted: true,
    keyed: true,
    build: |build| Box::new(Slots::new(owners(build.set), build)),
};

/// Slots a backend, and the least and most for all; the table's size is the next prime.
const SLOTS_EACH: usize = 100;
const FEWEST: usize = 65_537;
const MOST: usize = 1_000_003;

const NOBODY: u32 = u32::MAX;

fn owners(set: &BackendSet) -> Box<[u32]> {
    if set.is_empty() {
        return Box::default();
    }
    // By what is configured, not by what is eligible: a table of another size would move everyone.
    let slots = prime_from(set.configured().saturating_mul(SLOTS_EACH).clamp(FEWEST, MOST));
    let mut preferences: Vec<Preference> =
        set.identities().iter().map(|identity| Preference::new(*identity, slots)).collect();
    let mut turns = turns(set);
    let mut owners = vec![NOBODY; slots];
    for _ in 0..slots {
        let Some(Reverse(mut turn)) = turns.pop() else { break };
        let Some(preference) = preferences.get_mut(turn.owner as usize) else { break };
        preference.claim(&mut owners, turn.owner);
        turn.time += turn.period;
        turns.push(Reverse(turn));
    }
    owners.into()
}

/// Everyone's first turn, the earliest on top.
fn turns(set: &BackendSet) -> BinaryHeap<Reverse<Turn>> {
    let periods = set.weights().iter().map(|weight| set.unit_weight() / weight.get());
    let turn = |((owner, identity), period): ((u32, &u64), f64)| {
        Reverse(Turn { time: period, identity: *identity, owner, period })
    };
    (0..).zip(set.identities()).zip(periods).map(turn).collect()
}

/// When a backend may claim its next slot; of equal times by identity, wherever a backend stands.
struct Turn {
    time: f64,
    identity: u64,
    owner: u32,
    period: f64,
}

impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time.total_cmp(&other.time).then(self.identity.cmp(&other.identity))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}

/// A backend's order of preference: from its offset in steps of its skip, modulo a prime, so that it visits every slot.
struct Preference {
    slot: usize,
    skip: usize,
    slots: usize,
}

impl Preference {
    fn new(identity: u64, slots: usize) -> Self {
        let skip = 1 + modulo(mix(identity ^ GOLDEN), slots - 1);
        Self { slot: modulo(identity, slots), skip, slots }
    }

    /// Takes the first slot in order of preference that is free.
    fn claim(&mut self, owners: &mut [u32], owner: u32) {
        for _ in 0..self.slots {
            let slot = owners.get_mut(self.slot);
            self.slot = (self.slot + self.skip) % self.slots;
            if let Some(slot) = slot.filter(|slot| **slot == NOBODY) {
                *slot = owner;
                return;
            }
        }
    }
}

fn prime_from(least: usize) -> usize {
    let is_prime = |n: &usize| {
        (2..).take_while(|divisor| divisor * divisor <= *n).all(|divisor| !n.is_multiple_of(divisor))
    };
    (least..).find(is_prime).unwrap_or(FEWEST)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Backend, BackendOptions};
    use crate::weight::Weight;

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
    fn shares_are_within_a_few_slots_of_the_weights() {
        let owners = owners(&BackendSet::new(&backends(&[3, 2, 1])));
        for (owner, share) in (0..).zip([3.0, 2.0, 1.0]) {
            let got = owners.iter().filter(|slot| **slot == owner).count() as f64;
            assert!(
                (got - share / 6.0 * owners.len() as f64).abs() < 3.0,
                "{owner}: {got} of {}",
                owners.len()
            );
        }
    }

    #[test]
    fn where_a_backend_stands_does_not_matter() {
        let all = backends(&[1, 2, 1, 5, 1]);
        let turned: Vec<_> = all.iter().rev().cloned().collect();
        let (forth, back) = (owners(&BackendSet::new(&all)), owners(&BackendSet::new(&turned)));
        assert!(forth.iter().zip(&back).all(|(forth, back)| *forth == 4 - back));
    }

    #[test]
    fn the_table_has_a_prime_number_of_slots() {
        assert_eq!(prime_from(65_537), 65_537);
        assert_eq!(prime_from(1_000_000), 1_000_003);
        assert_eq!(prime_from(90), 97);
    }
}
