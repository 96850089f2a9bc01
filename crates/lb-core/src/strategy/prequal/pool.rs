//! The pool of probes, the quantile that parts hot from cold, and the choice among many.

use std::hint::select_unpredictable;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use crate::strategy::weighted_random::Lot;

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
pub(super) const BITS: u32 = 12;
pub(super) const MOST: u16 = (1 << BITS) - 1;

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

/// Orders probes, the best first: cold before hot, the cold by latency, the hot by load.
#[inline]
pub(super) fn key(load: u32, latency: u32, hot: u32) -> u32 {
    select_unpredictable(load > hot, 1 << (2 * BITS) | load << BITS | latency, latency << BITS | load)
}

/// From the top of an entry: the key, of hot or cold, load and latency; then where in the pool it is, so that of equals the least
/// place is found with it; then index and time.
pub(super) const KEY: u32 = 64 - (2 * BITS + 1);
const PLACE: u32 = KEY - 4;
const INDEX: u32 = PLACE - 20;

/// Of an entry's time, units of 1/16 of the age at which a probe is forgotten. It goes round in 2048 ages; an entry that has been
/// left alone for as long may then look young once more.
const AGE: u64 = 16;
/// Bits of the clock that an entry leaves out.
const FINER: u32 = 4;

/// The index of entries that hold nothing.
const EMPTY: u64 = (1 << 20) - 1;

impl Probe {
    /// `load` and `latency` are as [`Share`] and `Latencies` tell them.
    #[inline]
    pub(super) fn new(index: usize, load: u16, latency: u16) -> Self {
        let index = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self { index, load: load.min(MOST), latency: latency.min(MOST) }
    }

    pub(super) fn index(self) -> usize {
        self.index as usize
    }

    #[inline]
    fn key(self, hot: u16) -> u64 {
        u64::from(key(u32::from(self.load), u32::from(self.latency), u32::from(hot)))
    }

    /// As an entry of the pool: hot or cold is decided as it enters, and again only if it would be chosen. One whose index is too great for it is none.
    #[inline]
    fn pack(self, hot: u16, place: u64, time: u64) -> u64 {
        if u64::from(self.index) >= EMPTY {
            return empty(place);
        }
        self.key(hot) << KEY | place << PLACE | u64::from(self.index) << INDEX | stamp(time)
    }

    #[expect(clippy::cast_possible_truncation, reason = "fields are cut out by their width")]
    fn unpack(word: u64) -> Self {
        let (first, second) = ((word >> (KEY + BITS)) as u16 & MOST, (word >> KEY) as u16 & MOST);
        let (load, latency) = if word >> 63 == 1 { (first, second) } else { (second, first) };
        Self { index: (word >> INDEX & EMPTY) as u32, load, latency }
    }
}

/// An entry that holds nothing: worse than any, and so the first to be written over.
const fn empty(place: u64) -> u64 {
    ((1 << (2 * BITS + 1)) - 1) << KEY | place << PLACE | EMPTY << INDEX
}

/// What an entry keeps of the time.
const fn stamp(time: u64) -> u64 {
    time >> FINER & ((1 << INDEX) - 1)
}

/// Whether an entry holds nothing, or nothing that is young enough.
const fn is_none(word: u64, time: u64) -> bool {
    let age = stamp(time).wrapping_sub(word) & ((1 << INDEX) - 1);
    age > AGE || word >> INDEX & EMPTY == EMPTY
}

/// Whether an entry that came in as cold is hot, now that the bound has fallen.
const fn is_hot_by_now(word: u64, hot: u16) -> bool {
    word >> 63 == 0 && word >> KEY & MOST as u64 > hot as u64
}

/// The probes last made, shared by all threads. Everything is written without a look at what others write meanwhile: a probe may be
/// lost or a turn come twice, as if the pool were one pick older.
#[derive(Debug)]
pub(super) struct Pool {
    entries: CachePadded<[AtomicU64; SIZE]>,
    /// From the top: the load above which a backend is hot, and a count of picks, which says where the next entry goes.
    state: CachePadded<AtomicU64>,
    quantile: u32,
}

/// Bits of the count of picks.
const TURNS: u32 = 32;

/// What a pick found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) chosen: Probe,
    /// The entry it came from, or else where the first drawn goes.
    slot: u64,
    /// The entry that goes beside the oldest: every other time the worst.
    other: u64,
    fresh: [Probe; 2],
    turn: u64,
    hot: u16,
}

impl Pool {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and Lot::ALL")]
    pub(super) fn new(quantile: f64) -> Self {
        let mut places = 0..;
        Self {
            entries: CachePadded::new(std::array::from_fn(|_| {
                AtomicU64::new(empty(places.next().unwrap_or(0)))
            })),
            state: CachePadded::new(AtomicU64::new(0)),
            quantile: (quantile * f64::from(Lot::ALL)).round() as u32,
        }
    }

    /// The best of the pool and of two that were drawn just now. Of equals the first drawn stands.
    #[inline]
    pub(super) fn choose(&self, fresh: [Probe; 2], lot: Lot, time: u64) -> Found {
        let [one, two] = fresh;
        let (turn, before) = split(self.state.load(Relaxed));
        let hot = self.follow(before, one.load, two.load, lot);
        let (one_key, two_key) = (one.key(hot), two.key(hot));
        let drawn = select_unpredictable(two_key < one_key, two.index, one.index);
        let mut best = self.best();
        if best >> KEY < one_key.min(two_key) && (is_none(best, time) || is_hot_by_now(best, hot)) {
            self.refresh(hot, time);
            best = self.best();
        }
        let oldest = turn % SIZE as u64;
        let other = if turn % 2 == 1 { self.worst() } else { (turn + SIZE as u64 / 2) % SIZE as u64 };
        if best >> KEY < one_key.min(two_key) {
            return Found { chosen: Probe::unpack(best), slot: place_of(best), other, fresh, turn, hot };
        }
        let chosen = if drawn == one.index { one } else { two };
        Found { chosen, slot: oldest, other, fresh, turn, hot }
    }

    /// Ends a pick: the chosen backend is known as it is with this request, and the fresh probes go over the oldest and, every
    /// other time, over the worst.
    #[inline]
    pub(super) fn turn_over(&self, found: &Found, chosen: Probe, time: u64) {
        let told = |probe: Probe| if probe.index == chosen.index { chosen } else { probe };
        let [one, two] = found.fresh.map(told);
        let oldest = found.turn % SIZE as u64;
        self.store(found.slot, chosen, found.hot, time);
        self.store(found.other, two, found.hot, time);
        self.store(oldest, one, found.hot, time);
        self.state.store(u64::from(found.hot) << TURNS | (found.turn + 1) & ((1 << TURNS) - 1), Relaxed);
    }

    fn best(&self) -> u64 {
        self.entries.iter().fold(u64::MAX, |best, entry| best.min(entry.load(Relaxed)))
    }

    fn worst(&self) -> u64 {
        place_of(self.entries.iter().fold(0, |worst, entry| worst.max(entry.load(Relaxed))))
    }

    fn store(&self, place: u64, probe: Probe, hot: u16, time: u64) {
        if let Some(entry) = usize::try_from(place).ok().and_then(|place| self.entries.get(place)) {
            entry.store(probe.pack(hot, place, time), Relaxed);
        }
    }

    /// Clears what is too old, and orders the others by what is hot at present.
    #[cold]
    #[inline(never)]
    fn refresh(&self, hot: u16, time: u64) {
        for (entry, place) in self.entries.iter().zip(0..) {
            let word = entry.load(Relaxed);
            let fresh = if is_none(word, time) {
                empty(place)
            } else {
                Probe::unpack(word).pack(hot, place, 0) | word & ((1 << INDEX) - 1)
            };
            entry.store(fresh, Relaxed);
        }
    }

    /// The quantile of loads, after two more of them: a step up or down with the chances that leave it where the quantile is
    /// (Ma, Muthukrishnan, Sandler 2013), steps growing with it so that it follows a surge.
    #[inline]
    fn follow(&self, before: u16, one: u16, two: u16, lot: Lot) -> u16 {
        if self.quantile >= Lot::ALL {
            return MOST;
        }
        // One lot for both: what matters is each one's chance.
        let up = lot.0 < self.quantile;
        let step = (before / 16).max(2);
        let steps = u16::from((one > before) == up) + u16::from((two > before) == up);
        let (higher, lower) =
            (before.saturating_add(steps * step).min(MOST), before.saturating_sub(steps * step));
        select_unpredictable(up, higher, lower)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "fields are cut out by their width")]
const fn split(state: u64) -> (u64, u16) {
    (state & ((1 << TURNS) - 1), (state >> TURNS) as u16)
}

const fn place_of(word: u64) -> u64 {
    word >> PLACE & (SIZE as u64 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of requests in flight and log₂ of nanoseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers of tests")]
    fn probe(index: usize, load: f64, latency: f64) -> Probe {
        Probe::new(index, (load * 4.0) as u16, (latency * 8.0) as u16)
    }

    #[test]
    fn an_entry_keeps_what_was_found_until_it_is_old_and_numbers_saturate() {
        let found = probe(70_000, 3.5, 22.25);
        for (time, hot) in [(0, 0), (5 << FINER, 0), (u64::MAX, 100)] {
            let entry = found.pack(hot, 9, time);
            assert_eq!((Probe::unpack(entry), place_of(entry)), (found, 9));
            let old = |units: u64| is_none(entry, time.wrapping_add(units << FINER));
            assert_eq!((old(0), old(AGE), old(AGE + 1)), (false, false, true));
        }
        let most = Probe::new(5, u16::MAX, u16::MAX);
        assert_eq!((most.load, most.latency), (MOST, MOST));
        assert!(is_none(probe(5_000_000, 1.0, 1.0).pack(0, 0, 7), 7) && is_none(empty(3), 0));
        assert!(empty(0) > most.pack(0, 0, 7) && most.pack(0, 0, 7) > found.pack(100, 15, 7));
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
        let pool = Pool::new(0.84);
        let mut hot = 0;
        for scale in [4, 40] {
            let mut sum = 0.0;
            for n in 0..40_000 {
                let load = || fastrand::u16(..100) * scale / 10;
                hot = pool.follow(hot, load(), load(), Lot(fastrand::u32(..Lot::ALL)));
                sum += if n < 20_000 { 0.0 } else { f64::from(hot) };
            }
            let (mean, expected) = (sum / 20_000.0, 8.4 * f64::from(scale));
            assert!((mean / expected - 1.0).abs() < 0.15, "{mean} for {expected}");
        }
    }

    #[test]
    fn a_pick_counts_its_request_and_drops_the_worst_every_other_time() {
        let pool = Pool::new(1.0);
        for (n, place) in (0..SIZE).zip(0..) {
            let latency = if n == 6 { 29.0 } else { 20.0 };
            pool.store(place, probe(n, 1.0, if n == 3 { 19.0 } else { latency }), MOST, 0);
        }
        for load in [2.0, 3.0] {
            let found = pool.choose([probe(100, 1.0, 21.0), probe(101, 1.0, 21.0)], Lot(7), 0);
            assert_eq!((found.chosen.index(), found.turn.is_multiple_of(2) || found.other == 6), (3, true));
            pool.turn_over(&found, probe(3, load, 19.0), 0);
        }
        let known = pool.entries.each_ref().map(|entry| Probe::unpack(entry.load(Relaxed)));
        assert!(known.iter().all(|probe| probe.index() != 6));
        assert_eq!(known[3].load, 12);
    }

    #[test]
    fn a_probe_too_old_is_not_chosen_however_good() {
        let pool = Pool::new(1.0);
        pool.store(4, probe(7, 1.0, 10.0), MOST, 0);
        let drawn = [probe(100, 1.0, 21.0), probe(101, 1.0, 22.0)];
        let chosen = |units: u64| pool.choose(drawn, Lot(7), units << FINER).chosen.index();
        assert_eq!((chosen(AGE), chosen(AGE + 1)), (7, 100));
    }

    #[test]
    fn a_probe_that_is_hot_by_now_is_not_chosen_before_a_cold_one() {
        let pool = Pool::new(0.84);
        pool.store(4, probe(7, 9.0, 10.0), MOST, 0);
        pool.store(5, probe(8, 1.0, 11.0), MOST, 0);
        let chosen = pool.choose([probe(100, 2.0, 21.0), probe(101, 2.0, 22.0)], Lot(7), 0).chosen;
        assert_eq!((chosen.index(), chosen.load), (8, 4));
    }
}
