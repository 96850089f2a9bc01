//! The choice among so few backends that all are read at each pick.

use super::pool::{BITS, KEY, MOST, SIZE, key};
use crate::number::GOLDEN;
use crate::strategy::weighted_random::Lot;

/// What is known of a backend: load and, below it, latency.
#[inline(always)]
pub(super) fn figure(load: u16, latency: u16) -> u32 {
    u32::from(load.min(MOST)) << BITS | u32::from(latency.min(MOST))
}

/// Where the fastest of those is that are not hot. Of equals the drawn one stands, or else any, so that nobody inherits the turns
/// of a busy neighbour. `None` where there is none.
#[inline(always)]
pub(super) fn best(known: &[u32], drawn: usize, top: Top, lot: Lot) -> Option<usize> {
    let hot = top.hot(known);
    // A lot for each: multiples of the one drawn by how far it is from the drawn one, which has nothing.
    let step = (u64::from(lot.0) << 1 | 1).wrapping_mul(GOLDEN);
    let start = step.wrapping_mul(drawn as u64);
    let rank = |(place, figure): (u64, &u32)| {
        let key = key(load(*figure), *figure & u32::from(MOST), hot);
        u64::from(key) << KEY | (step.wrapping_mul(place).wrapping_sub(start) >> 40) << 8 | place
    };
    let best = (0..).zip(known).map(rank).min()?;
    usize::try_from(best & 0xff).ok()
}

const fn load(figure: u32) -> u32 {
    figure >> BITS
}

/// Which of a number of loads parts hot from cold: so many of the greatest, the last of which is the quantile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Top(usize);

impl Top {
    /// Of few, the greatest is hot all the same unless the quantile is 1, or three backends would be chosen by latency alone,
    /// whatever they hold.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `count`")]
    pub(super) fn new(quantile: f64, count: usize) -> Self {
        let rank = (quantile * count as f64) as usize;
        let rank = if quantile >= 1.0 { count.saturating_sub(1) } else { rank.min(count.saturating_sub(2)) };
        Self(count - rank)
    }

    /// The load above which one of these is hot.
    #[inline(always)]
    fn hot(self, known: &[u32]) -> u32 {
        if self.0 > 3 {
            return self.hot_of_many(known);
        }
        // The greatest three, in registers: the quantile is near the top. Whole figures keep the order of their loads.
        let (mut first, mut second, mut third) = (0, 0, 0);
        for figure in known {
            third = (*figure).min(second).max(third);
            second = (*figure).min(first).max(second);
            first = (*figure).max(first);
        }
        match self.0 {
            1 => load(first),
            2 => load(second),
            _ => load(third),
        }
    }

    #[cold]
    fn hot_of_many(self, known: &[u32]) -> u32 {
        let mut figures = [0; SIZE];
        for (place, figure) in figures.iter_mut().zip(known) {
            *place = *figure;
        }
        figures.sort_unstable_by_key(|figure| std::cmp::Reverse(*figure));
        figures.get(self.0 - 1).copied().map_or(u32::from(MOST), load)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of requests in flight and log₂ of nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of tests")]
    fn chosen(quantile: f64, probes: &[(f64, f64)]) -> Option<usize> {
        let known = probes.iter().map(|(load, latency)| figure((load * 4.0) as u16, (latency * 8.0) as u16));
        best(&known.collect::<Vec<_>>(), 0, Top::new(quantile, probes.len()), Lot(7))
    }

    #[test]
    fn the_fastest_cold_one_is_chosen_and_a_hot_one_never() {
        let probes =
            [(3.0, 20.0), (9.0, 10.0), (2.0, 22.0), (1.0, 25.0), (3.0, 21.0), (2.0, 30.0), (3.0, 24.0)];
        for (quantile, place) in [(0.84, 0), (0.0, 3), (0.3, 2), (1.0, 1)] {
            assert_eq!(chosen(quantile, &probes), Some(place), "{quantile}");
        }
    }

    #[test]
    fn of_few_the_busiest_is_hot() {
        assert_eq!(chosen(0.84, &[(5.0, 10.0), (1.0, 20.0), (1.0, 21.0)]), Some(1));
        assert_eq!(chosen(0.84, &[(5.0, 10.0), (1.0, 20.0)]), Some(1));
        assert_eq!(chosen(0.84, &[(5.0, 10.0)]), Some(0));
        assert_eq!(chosen(0.84, &[]), None);
    }
}
