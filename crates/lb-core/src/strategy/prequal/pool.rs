//! The pool of probes, the quantile that parts hot from cold, and the choice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// Entries of the pool.
pub(super) const SIZE: usize = 16;

/// What a probe found of a backend: its index, what it has in flight by weight, and its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    index: u32,
    load: u16,
    latency: u16,
}

/// Bits of each of load and latency: an entry of the pool is one word, so that it is read and written whole.
const BITS: u32 = 12;
const MOST: u16 = (1 << BITS) - 1;

/// Greatest weight ÷ weight, in units of 1/256: what a request in flight counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share(u64);

impl Share {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
    pub(super) fn new(ratio: f64) -> Self {
        Self((ratio * 256.0).round() as u64)
    }

    /// The load of so many requests, in quarters of one, up to 1024 requests.
    #[inline]
    pub(super) fn load(self, active: u32) -> u16 {
        let quarters = self.0.saturating_mul(u64::from(active)) / 64;
        u16::try_from(quarters.min(u64::from(MOST))).unwrap_or(MOST)
    }
}

/// Bits of each of index and time.
const WIDE: u32 = 20;
/// Of time: so many to the age at which a probe is forgotten. The clock of 20 bits goes round in as many ages; an entry that has
/// been left alone for as long may then look young once more.
const AGE: u64 = 1024;

impl Probe {
    /// Stands for no probe: worse than any.
    pub(super) const NONE: Self = Self { index: u32::MAX, load: u16::MAX, latency: u16::MAX };

    /// `load` and `latency` are as [`Share`] and `Latencies` tell them.
    #[inline]
    pub(super) fn new(index: usize, load: u16, latency: u16) -> Self {
        let index = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self { index, load: load.min(MOST), latency: latency.min(MOST) }
    }

    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    /// Orders probes, the best first: cold before hot, the cold by latency, the hot by load.
    fn key(self, hot: u16) -> u32 {
        key(u32::from(self.load), u32::from(self.latency), hot)
    }

    /// As an entry of the pool: index, time, load and latency from the top. One whose index is too great for it is none.
    fn pack(self, time: u64) -> u64 {
        let index = u64::from(self.index).min((1 << WIDE) - 1);
        (index << WIDE | time) << (2 * BITS) | u64::from(self.load) << BITS | u64::from(self.latency)
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields are cut out by their width")]
    fn unpack(word: u64, time: u64) -> Self {
        if is_none(word, time) {
            return Self::NONE;
        }
        Self {
            index: (word >> (2 * BITS + WIDE)) as u32,
            load: (word >> BITS) as u16 & MOST,
            latency: word as u16 & MOST,
        }
    }
}

#[inline]
fn key(load: u32, latency: u32, hot: u16) -> u32 {
    if load > u32::from(hot) { 1 << 31 | load << BITS | latency } else { latency << BITS | load }
}

/// The key of a pool's entry, without taking the rest of it apart.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "fields are cut out by their width")]
fn key_of(word: u64, time: u64, hot: u16) -> u32 {
    let (load, latency) = ((word >> BITS) as u32 & u32::from(MOST), word as u32 & u32::from(MOST));
    if is_none(word, time) { u32::MAX } else { key(load, latency, hot) }
}

/// Whether an entry holds nothing, or nothing that is young enough.
#[inline]
const fn is_none(word: u64, time: u64) -> bool {
    let age = time.wrapping_sub(word >> (2 * BITS)) & ((1 << WIDE) - 1);
    age > AGE || word >= EMPTY << (2 * BITS + WIDE)
}

/// The index of entries that hold nothing.
const EMPTY: u64 = (1 << WIDE) - 1;

/// The probes last made, shared by all threads.
#[derive(Debug)]
pub(super) struct Pool {
    entries: CachePadded<[AtomicU64; SIZE]>,
    shared: CachePadded<Shared>,
    /// Clock units a nanosecond.
    pace: f64,
    quantile: f64,
}

#[derive(Debug)]
struct Shared {
    /// Counts picks: where the next entry goes, over the oldest.
    turn: AtomicU64,
    /// The load above which a backend is hot.
    hot: AtomicU64,
}

/// What a pick found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) chosen: Probe,
    /// The entry it came from, if from the pool.
    slot: Option<usize>,
    /// The entry of the worst, or an empty one.
    worst: usize,
    fresh: [Probe; 2],
}

impl Pool {
    pub(super) fn new(age: Duration, quantile: f64) -> Self {
        Self {
            entries: CachePadded::new(std::array::from_fn(|_| AtomicU64::new(u64::MAX))),
            shared: CachePadded::new(Shared { turn: AtomicU64::new(0), hot: AtomicU64::new(0) }),
            pace: AGE as f64 / age.as_nanos().max(1) as f64,
            quantile,
        }
    }

    /// The best of the pool and of two that were drawn just now. Of equals the first drawn stands.
    pub(super) fn choose(&self, one: Probe, two: Probe, time: u64) -> Found {
        let hot = self.follow(one.load, two.load);
        // A key with its place below it: the least and the greatest are found without a branch.
        let (mut best, mut worst) = (u64::MAX, 0);
        for (entry, place) in self.entries.iter().zip(0_u64..) {
            let key = u64::from(key_of(entry.load(Relaxed), time, hot)) << 8 | place;
            (best, worst) = (best.min(key), worst.max(key));
        }
        let place = |key: u64| usize::try_from(key & 0xff).unwrap_or(0);
        let fresh = if two.key(hot) < one.key(hot) { two } else { one };
        let slot = Some(place(best)).filter(|_| best >> 8 < u64::from(fresh.key(hot)));
        // Read again: another thread may have put another probe there meanwhile, or an old one may have gone.
        let pooled = slot.and_then(|slot| self.entries.get(slot));
        let pooled = pooled.map(|entry| Probe::unpack(entry.load(Relaxed), time));
        let chosen = pooled.filter(|probe| *probe != Probe::NONE).unwrap_or(fresh);
        Found { chosen, slot, worst: place(worst), fresh: [one, two] }
    }

    /// Ends a pick: the chosen backend is known as it is with this request, and the fresh probes go over the oldest and, every
    /// other time, over the worst.
    pub(super) fn turn_over(&self, found: &Found, chosen: Probe, time: u64) {
        let told = |probe: Probe| if probe.index == chosen.index { chosen } else { probe };
        let turn = self.shared.turn.fetch_add(1, Relaxed);
        let oldest = |turn: u64| usize::try_from(turn % SIZE as u64).unwrap_or(0);
        let [one, two] = found.fresh.map(told);
        let other = if turn % 2 == 1 { found.worst } else { oldest(turn + SIZE as u64 / 2) };
        let slot = found.slot.map(|slot| (slot, chosen));
        for (place, probe) in slot.into_iter().chain([(other, two), (oldest(turn), one)]) {
            if let Some(entry) = self.entries.get(place) {
                entry.store(probe.pack(time), Relaxed);
            }
        }
    }

    /// The quantile of loads, after two more of them: a step up or down with the chances that leave it where the quantile is
    /// (Ma, Muthukrishnan, Sandler 2013), steps growing with it so that it follows a surge.
    fn follow(&self, one: u16, two: u16) -> u16 {
        if self.quantile >= 1.0 {
            return MOST;
        }
        let before = u16::try_from(self.shared.hot.load(Relaxed)).unwrap_or(MOST);
        let step = (before / 16).max(2);
        let lot = fastrand::f64();
        let mut hot = before;
        // One lot for both: what matters is each one's chance.
        for load in [one, two] {
            if load > before && lot < self.quantile {
                hot = hot.saturating_add(step).min(MOST);
            } else if load <= before && lot >= self.quantile {
                hot = hot.saturating_sub(step);
            }
        }
        if hot != before {
            self.shared.hot.store(u64::from(hot), Relaxed);
        }
        hot
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the clock goes round")]
    pub(super) fn time(&self, now: u64) -> u64 {
        (now as f64 * self.pace) as u64 & ((1 << WIDE) - 1)
    }
}

/// The fastest of those whose load is at most the quantile's. Of equals the first of all stands, or else any, so that nobody
/// inherits the turns of a busy neighbour. `None` where there is none.
pub(super) fn choose(known: &[Probe], quantile: f64) -> Option<Probe> {
    // The quantile is near the top, so the greatest few are kept in order rather than all.
    let mut top = [0; SIZE];
    let top = top.get_mut(..known.len().checked_sub(rank(quantile, known.len()))?)?;
    for probe in known {
        let mut load = probe.load;
        for place in top.iter_mut() {
            if load > *place {
                std::mem::swap(place, &mut load);
            }
        }
    }
    let hot = *top.last()?;
    let lot = fastrand::u64(..) | 1;
    let best = (0..).zip(known).min_by_key(|(place, probe)| (probe.key(hot), lot.wrapping_mul(*place) >> 32));
    best.map(|(_, probe)| *probe)
}

/// Which of `count` loads in order is the quantile. Of few, the greatest is hot all the same unless the quantile is 1, or three
/// backends would be chosen by latency alone, whatever they hold.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `count`")]
fn rank(quantile: f64, count: usize) -> usize {
    let rank = (quantile * count as f64) as usize;
    if quantile >= 1.0 { count.saturating_sub(1) } else { rank.min(count.saturating_sub(2)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of requests in flight and log₂ of nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of tests")]
    fn probe(index: usize, load: f64, latency: f64) -> Probe {
        Probe::new(index, (load * 4.0) as u16, (latency * 8.0) as u16)
    }

    fn chosen(quantile: f64, probes: &[(f64, f64)]) -> usize {
        let known: Vec<Probe> =
            (0..).zip(probes).map(|(index, (load, latency))| probe(index, *load, *latency)).collect();
        choose(&known, quantile).unwrap().index()
    }

    #[test]
    fn the_fastest_cold_one_is_chosen_and_a_hot_one_never() {
        let probes =
            [(3.0, 20.0), (9.0, 10.0), (2.0, 22.0), (1.0, 25.0), (3.0, 21.0), (2.0, 30.0), (3.0, 24.0)];
        assert_eq!(chosen(0.84, &probes), 0);
        assert_eq!(chosen(0.0, &probes), 3);
        assert_eq!(chosen(1.0, &probes), 1);
    }

    #[test]
    fn of_few_the_busiest_is_hot() {
        assert_eq!(chosen(0.84, &[(5.0, 10.0), (1.0, 20.0), (1.0, 21.0)]), 1);
        assert_eq!(chosen(0.84, &[(5.0, 10.0), (1.0, 20.0)]), 1);
        assert_eq!(chosen(0.84, &[(5.0, 10.0)]), 0);
        assert_eq!(choose(&[], 0.84), None);
    }

    #[test]
    fn an_entry_keeps_what_was_found_until_it_is_old_and_numbers_saturate() {
        let found = probe(70_000, 3.5, 22.25);
        for time in [0, 5, (1 << WIDE) - 1] {
            let entry = found.pack(time);
            let after = |units| Probe::unpack(entry, (time + units) & ((1 << WIDE) - 1));
            assert_eq!((after(0), after(AGE), after(AGE + 1)), (found, found, Probe::NONE));
        }
        let most = Probe::new(5, u16::MAX, u16::MAX);
        assert_eq!((most.load, most.latency), (MOST, MOST));
        assert_eq!(Probe::unpack(probe(5_000_000, 1.0, 1.0).pack(7), 7), Probe::NONE);
        assert_eq!(Probe::unpack(u64::MAX, 7), Probe::NONE);
    }

    #[test]
    fn load_is_counted_by_weight_and_saturates() {
        assert_eq!([1.0, 1.5, 3.0].map(|ratio| Share::new(ratio).load(2)), [8, 12, 24]);
        for (ratio, active) in [(1e300, 1), (f64::INFINITY, 1), (1.0, u32::MAX)] {
            assert_eq!(Share::new(ratio).load(active), MOST);
        }
        assert_eq!(Share::new(f64::INFINITY).load(0), 0);
    }

    #[test]
    fn the_bound_between_hot_and_cold_is_the_quantile_of_what_is_drawn() {
        let pool = Pool::new(Duration::from_secs(1), 0.84);
        for scale in [4, 40] {
            let mut sum = 0.0;
            for n in 0..40_000 {
                let load = || fastrand::u16(..100) * scale / 10;
                let hot = pool.follow(load(), load());
                sum += if n < 20_000 { 0.0 } else { f64::from(hot) };
            }
            let (mean, expected) = (sum / 20_000.0, 8.4 * f64::from(scale));
            assert!((mean / expected - 1.0).abs() < 0.15, "{mean} for {expected}");
        }
    }

    #[test]
    fn a_pick_counts_its_request_and_drops_the_worst_every_other_time() {
        let pool = Pool::new(Duration::from_secs(1), 1.0);
        for (n, entry) in pool.entries.iter().enumerate() {
            let latency = if n == 6 { 29.0 } else { 20.0 };
            entry.store(probe(n, 1.0, if n == 3 { 19.0 } else { latency }).pack(0), Relaxed);
        }
        for load in [2.0, 3.0] {
            let found = pool.choose(probe(100, 1.0, 21.0), probe(101, 1.0, 21.0), 0);
            assert_eq!((found.chosen.index(), found.worst), (3, 6));
            pool.turn_over(&found, probe(3, load, 19.0), 0);
        }
        let known = pool.entries.each_ref().map(|entry| Probe::unpack(entry.load(Relaxed), 0));
        assert!(known.iter().all(|probe| probe.index() != 6));
        assert_eq!(known[3].load, 12);
    }
}
