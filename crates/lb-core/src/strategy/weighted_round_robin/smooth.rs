//! The order of a smooth cycle, written out ahead.
//!
//! nginx's rule (every turn each gains its weight, the greatest is chosen and pays the sum) costs O(n) a turn, so it runs over
//! the classes of equal weight instead, and those of a class take turns: O(classes) a turn, the same order where all weights
//! differ, and smoother where they do not (5:1:1 gives ABAAACA for nginx's AABACAA, and 1:1:1 stays ABC).

use std::collections::BTreeMap;

/// The owner of each turn of a period.
pub(super) fn cycle(turns: &[u64]) -> Box<[u32]> {
    let mut classes: Vec<Class> = by_turns(turns);
    let period: u64 = turns.iter().sum();
    let sum = i64::try_from(period).unwrap_or(i64::MAX);
    (0..period).filter_map(|_| step(&mut classes, sum)).collect()
}

/// Backends with the same number of turns, in order.
struct Class {
    members: Vec<u32>,
    next: usize,
    weight: i64,
    balance: i64,
}

fn by_turns(turns: &[u64]) -> Vec<Class> {
    let mut members: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for (owner, share) in (0..).zip(turns) {
        members.entry(*share).or_default().push(owner);
    }
    let mut classes: Vec<Class> = members
        .into_iter()
        .map(|(share, members)| Class {
            weight: i64::try_from(share * members.len() as u64).unwrap_or(i64::MAX),
            members,
            next: 0,
            balance: 0,
        })
        .collect();
    // Ties go to whoever stands first in the configuration.
    classes.sort_by_key(|class| class.members.first().copied());
    classes
}

fn step(classes: &mut [Class], sum: i64) -> Option<u32> {
    for class in &mut *classes {
        class.balance += class.weight;
    }
    // `max_by_key` would take the last of equals.
    let chosen = classes.iter_mut().rev().max_by_key(|class| class.balance)?;
    chosen.balance -= sum;
    let owner = chosen.members.get(chosen.next).copied();
    chosen.next = (chosen.next + 1) % chosen.members.len().max(1);
    owner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cycles_come_out_as_known() {
        for (turns, expected) in [
            (&[3, 2, 1][..], &[0, 1, 0, 2, 1, 0][..]),
            (&[1, 2, 1], &[0, 1, 2, 1]),
            (&[5, 1, 1], &[0, 1, 0, 0, 0, 2, 0]),
            (&[1, 1, 1], &[0, 1, 2]),
            (&[1], &[0]),
            (&[], &[]),
        ] {
            assert_eq!(&*cycle(turns), expected, "{turns:?}");
        }
    }

    #[test]
    fn every_backend_has_exactly_its_turns() {
        let turns: Vec<u64> = (1..=200).map(|n| n * n % 23 + 1).collect();
        let cycle = cycle(&turns);
        for (owner, share) in (0..).zip(&turns) {
            assert_eq!(cycle.iter().filter(|turn| **turn == owner).count() as u64, *share);
        }
    }
}
