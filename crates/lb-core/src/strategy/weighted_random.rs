//! Weighted random: a backend's chance is its share of the weights.
//!
//! An alias table (Walker 1977, built as Vose 1991): one random word, one row, one comparison, whatever the number of backends.
//! The chances are held to 2⁻³² of a row. No shared state, so it never contends.
//!
//! As `random` it spreads counts by their square root, and as that it is blind to load.

use std::hint::select_unpredictable;

use crate::context::PickContext;
use crate::number::below;
use crate::set::BackendSet;
use crate::strategy::{Strategy, StrategyInfo};
use crate::weight::Weight;

pub(super) const INFO: StrategyInfo = StrategyInfo {
    name: "weighted_random",
    aliases: &[],
    summary: "any backend, with a chance in proportion to its weight",
    options: &[],
    weighted: true,
    keyed: false,
    build: |build| Box::new(WeightedRandom(AliasTable::new(build.set.weights()))),
};

#[derive(Debug)]
struct WeightedRandom(AliasTable);

impl Strategy for WeightedRandom {
    fn pick(&self, _backends: &BackendSet, _request: &PickContext<'_>) -> Option<usize> {
        self.0.draw()
    }
}

/// Draws indices, each with a chance in proportion to its weight.
#[derive(Debug)]
pub(super) struct AliasTable {
    rows: Box<[Row]>,
}

/// A row keeps its own backend with a chance of `own` ÷ 2³² and else names `other`, which is itself where it always keeps its own.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    own: u32,
    other: u32,
}

/// Twelve bits of chance that a draw leaves over: between those that chose the row, of up to 2^20, and those that chose between its
/// two backends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lot(pub(super) u32);

impl Lot {
    /// One more than the greatest.
    pub(super) const ALL: u32 = 1 << 12;

    const fn of(bits: u64) -> Self {
        Self((bits >> 32) as u32 & (Self::ALL - 1))
    }
}

impl AliasTable {
    pub(super) fn new(weights: &[Weight]) -> Self {
        Self { rows: alias_table(weights) }
    }

    /// One of them; `None` where there is none.
    pub(super) fn draw(&self) -> Option<usize> {
        self.look_up(fastrand::u64(..))
    }

    /// Two of them, each drawn for itself, for the price of little more than one.
    pub(super) fn draw_two(&self) -> Option<(usize, usize)> {
        self.draw_two_with_lot().map(|(two, _)| two)
    }

    /// One of them, and a lot.
    pub(super) fn draw_with_lot(&self) -> Option<(usize, Lot)> {
        let bits = fastrand::u64(..);
        Some((self.look_up(bits)?, Lot::of(bits)))
    }

    /// Two of them, and a lot.
    pub(super) fn draw_two_with_lot(&self) -> Option<((usize, usize), Lot)> {
        let bits = fastrand::u128(..);
        #[expect(clippy::cast_possible_truncation, reason = "each half is a draw")]
        let (upper, lower) = ((bits >> 64) as u64, bits as u64);
        Some(((self.look_up(upper)?, self.look_up(lower)?), Lot::of(upper)))
    }

    fn look_up(&self, bits: u64) -> Option<usize> {
        // The upper half of the word chooses the row, the lower half between its two backends: independent of each other
        // while there are fewer than 2^32 rows.
        let index = below(bits, self.rows.len());
        let row = self.rows.get(index)?;
        // A coin that no branch predictor can guess.
        Some(select_unpredictable(bits & u64::from(u32::MAX) < u64::from(row.own), index, row.other as usize))
    }
}

fn alias_table(weights: &[Weight]) -> Box<[Row]> {
    // Scaled by the greatest first, so that a sum of huge weights stays finite.
    let greatest = weights.iter().max().map_or(1.0, |weight| weight.get());
    let scaled: Vec<f64> = weights.iter().map(|weight| weight.get() / greatest).collect();
    let mean = scaled.iter().sum::<f64>() / scaled.len().max(1) as f64;
    let mut chances: Vec<f64> = scaled.iter().map(|weight| weight / mean).collect();
    let name = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let mut rows: Vec<Row> =
        (0..chances.len()).map(|index| Row { own: u32::MAX, other: name(index) }).collect();
    let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
        (0..chances.len()).partition(|index| chances.get(*index).is_some_and(|chance| *chance < 1.0));
    while let (Some(small), Some(large)) = (poor.pop(), rich.last().copied()) {
        let Some(own) = chances.get(small).copied() else { break };
        if let Some(row) = rows.get_mut(small) {
            *row = Row { own: fixed_point(own), other: name(large) };
        }
        let Some(left) = chances.get_mut(large) else { break };
        *left -= 1.0 - own;
        if *left < 1.0 {
            rich.pop();
            poor.push(large);
        }
    }
    // Whoever is left differs from 1 by rounding only, and keeps the certainty it started with.
    rows.into()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a chance lies between 0 and 1, and a cast saturates"
)]
fn fixed_point(chance: f64) -> u32 {
    (chance * f64::exp2(32.0)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exact share of each backend, from the table.
    fn shares(weights: &[f64]) -> Vec<f64> {
        let weights: Vec<Weight> = weights.iter().map(|w| Weight::try_from(*w).unwrap()).collect();
        let rows = alias_table(&weights);
        let mut shares = vec![0.0; rows.len()];
        for (index, row) in rows.iter().enumerate() {
            let own = f64::from(row.own) / f64::exp2(32.0);
            shares[index] += own / rows.len() as f64;
            shares[row.other as usize] += (1.0 - own) / rows.len() as f64;
        }
        shares
    }

    #[test]
    fn the_table_holds_the_weights() {
        for weights in [
            &[1.0][..],
            &[7.0, 3.0],
            &[3.0, 2.0, 1.0],
            &[1e308, 1e308, 1e308],
            &[1e-300, 1e-300],
            &[0.1, 0.2, 0.7, 5.5],
        ] {
            let greatest = weights.iter().copied().fold(0.0, f64::max);
            let sum: f64 = weights.iter().map(|w| w / greatest).sum();
            for (share, weight) in shares(weights).iter().zip(weights) {
                assert!((share - weight / greatest / sum).abs() < 1e-8, "{weights:?}");
            }
        }
    }
}
