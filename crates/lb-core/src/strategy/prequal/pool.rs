//! The pool of probes, the quantile that parts hot from cold, and the choice among many.

use std::hint::select_unpredictable;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_utils::CachePadded;

use super::latencies::{UNKNOWN, UNTRIED};
use crate::strategy::weighted_random::Lot;

/// Entries of the pool.
pub(super) const SIZE: usize = 16;

/// What a probe found of a backend: its index, what it has in flight by weight, and its latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    index: u64,
    load: u16,
    /// What a request more would add to the load.
    share: u16,
    latency: u16,
}

/// Bits of each of load and latency: an entry of the pool is one word, so that it is read and written whole.
pub(super) const BITS: u32 = 12;
pub(super) const MOST: u16 = (1 << BITS) - 1;

/// Greatest weight ÷ weight, in units of 1/256: what a request in flight counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    share: u32,
    /// The load of one request.
    one: u16,
}

impl Share {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "such a cast saturates")]
    pub(super) fn new(ratio: f64) -> Self {
        let share = Self { share: (ratio * 256.0).round() as u32, one: 0 };
        Self { one: share.load(1), ..share }
    }

    /// The load of so many requests, in quarters of one, up to 1024 requests.
    #[inline(always)]
    pub(super) fn load(self, active: u32) -> u16 {
        let quarters = u64::from(self.share) * u64::from(active) / 64;
        u16::try_from(quarters.min(u64::from(MOST))).unwrap_or(MOST)
    }

    pub(super) const fn one(self) -> u16 {
        self.one
    }
}

/// Orders probes, the best first: cold before hot, the cold by latency, the hot by load.
#[inline]
pub(super) fn key(load: u32, latency: u32, hot: u32) -> u32 {
    select_unpredictable(load > hot, 1 << (2 * BITS) | load << BITS | latency, latency << BITS | load)
}

/// From the top of an entry: the key, of hot or cold, load and latency; then where in the pool it is, so that of equals the least
/// place is found with it; then the index.
pub(super) const KEY: u32 = 64 - (2 * BITS + 1);
const PLACE: u32 = KEY - 4;

/// The index of entries that hold nothing.
const EMPTY: u64 = (1 << PLACE) - 1;

impl Probe {
    /// `load`, what a request more adds to it, and `latency` are as [`Share`] and `Latencies` tell them.
    #[inline(always)]
    pub(super) fn new(index: usize, load: u16, share: u16, latency: u16) -> Self {
        Self { index: (index as u64).min(EMPTY), load: load.min(MOST), share, latency: latency.min(MOST) }
    }

    /// With the request that is given to it.
    #[inline(always)]
    fn chosen(self) -> Self {
        let latency = select_unpredictable(self.latency == UNTRIED, UNKNOWN, self.latency);
        Self { load: (self.load + self.share).min(MOST), latency, ..self }
    }

    /// As an entry of the pool: hot or cold is decided as it enters.
    #[inline(always)]
    fn pack(self, hot: u16, place: u64) -> u64 {
        let key = key(u32::from(self.load), u32::from(self.latency), u32::from(hot));
        u64::from(key) << KEY | place << PLACE | self.index
    }
}

/// An entry that holds nothing: worse than any, and so the first to be written over.
const fn empty(place: u64) -> u64 {
    ((1 << (2 * BITS + 1)) - 1) << KEY | place << PLACE | EMPTY
}

/// The probes last made, shared by all threads. Everything is written without a look at what others write meanwhile: a probe may be
/// lost or a turn come twice, as if the pool were one pick older.
#[derive(Debug)]
pub(super) struct Pool {
    entries: CachePadded<[AtomicU64; SIZE]>,
    /// A [`State`].
    state: CachePadded<AtomicU64>,
    quantile: u32,
}

/// What a pick begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    best: u64,
    state: State,
}

impl Turn {
    /// Who is the best of the pool; an index that no set has where the pool holds nothing.
    #[inline(always)]
    pub(super) const fn best(self) -> usize {
        (self.best & EMPTY) as usize
    }

    /// Whether the best of the pool came in as cold and was found to be hot.
    #[inline(always)]
    pub(super) const fn has_turned_hot(self, found: Probe) -> bool {
        self.best >> 63 == 0 && found.load > self.state.hot
    }
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

    /// The best of the pool, after a backend was drawn.
    #[inline(always)]
    pub(super) fn begin(&self, drawn: Probe, lot: Lot) -> Turn {
        Turn { state: self.follow(drawn.load, lot), best: self.best() }
    }

    /// The best of the pool when it is known that the best was not what it was taken for.
    pub(super) fn correct(&self, turn: Turn, found: Probe) -> Turn {
        self.store(found.pack(turn.state.hot, place_of(turn.best)));
        Turn { best: self.best(), ..turn }
    }

    /// Ends a pick: whether the best of the pool, as it was found to be, comes before the drawn one. That one goes over the oldest,
    /// and the chosen one is known to have a request more. All that could be is written out before it is known what is, as the next
    /// pick waits for it.
    #[inline(always)]
    pub(super) fn end(&self, turn: Turn, drawn: Probe, kept: Probe) -> bool {
        let Turn { best, state } = turn;
        let words =
            |probe: Probe, place| (probe.pack(state.hot, place), probe.chosen().pack(state.hot, place));
        let (drawn_as_is, drawn_chosen) = words(drawn, state.oldest());
        let (kept_as_is, kept_chosen) = words(kept, place_of(best));
        let is_kept = kept_as_is >> KEY < drawn_as_is >> KEY;
        let has_more = is_kept | (kept.index == drawn.index);
        self.store(select_unpredictable(is_kept, drawn_as_is, drawn_chosen));
        self.store(select_unpredictable(has_more, kept_chosen, kept_as_is));
        self.state.store(State { picks: state.picks.wrapping_add(1), ..state }.pack(), Relaxed);
        is_kept
    }

    /// Takes in a probe that no pick waits for. It goes over the worst or over one of middling age, by turns.
    pub(super) fn hear(&self, probe: Probe, lot: Lot) {
        let state = self.follow(probe.load, lot);
        let place = if state.heard % 2 == 1 { self.worst() } else { state.middling() };
        self.store(probe.pack(state.hot, place));
        self.state.store(State { heard: state.heard.wrapping_add(1), ..state }.pack(), Relaxed);
    }

    /// Round by round, each halving what is left: one running minimum would wait for itself at every step.
    #[inline(always)]
    fn best(&self) -> u64 {
        let word = |place: usize| self.entries.get(place).map_or(u64::MAX, |entry| entry.load(Relaxed));
        let [a, b, c, d, e, f, g, h] = std::array::from_fn(|n| word(n).min(word(n + 8)));
        (a.min(e).min(c.min(g))).min(b.min(f).min(d.min(h)))
    }

    fn worst(&self) -> u64 {
        place_of(self.entries.iter().fold(0, |worst, entry| worst.max(entry.load(Relaxed))))
    }

    #[inline(always)]
    fn store(&self, word: u64) {
        if let Some(entry) = usize::try_from(place_of(word)).ok().and_then(|place| self.entries.get(place)) {
            entry.store(word, Relaxed);
        }
    }

    /// The quantile of loads, after one more of them: a step up or down with the chances that leave it where the quantile is
    /// (Ma, Muthukrishnan, Sandler 2013), steps growing with it so that it follows a surge.
    #[inline(always)]
    fn follow(&self, load: u16, lot: Lot) -> State {
        let state = State::unpack(self.state.load(Relaxed));
        if self.quantile >= Lot::ALL {
            return State { hot: MOST, ..state };
        }
        let before = state.hot;
        let up = lot.0 < self.quantile;
        let step = (before / 16).max(2);
        let moved =
            select_unpredictable(up, before.saturating_add(step).min(MOST), before.saturating_sub(step));
        State { hot: select_unpredictable((load > before) == up, moved, before), ..state }
    }
}

/// One word.
#[derive(Debug, Clone, Copy)]
struct State {
    /// The load above which a backend is hot.
    hot: u16,
    /// Probes that came with the end of a request.
    heard: u16,
    /// Picks, which say where the next entry goes.
    picks: u32,
}

impl State {
    #[expect(clippy::cast_possible_truncation, reason = "fields are cut out by their width")]
    const fn unpack(word: u64) -> Self {
        Self { hot: (word >> 48) as u16, heard: (word >> 32) as u16, picks: word as u32 }
    }

    const fn pack(self) -> u64 {
        (self.hot as u64) << 48 | (self.heard as u64) << 32 | self.picks as u64
    }

    const fn oldest(self) -> u64 {
        self.picks as u64 % SIZE as u64
    }

    const fn middling(self) -> u64 {
        (self.picks as u64 + SIZE as u64 / 2) % SIZE as u64
    }
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
        Probe::new(index, (load * 4.0) as u16, 4, (latency * 8.0) as u16)
    }

    #[test]
    fn an_entry_is_ordered_as_its_probe_and_numbers_saturate() {
        let found = probe(70_000, 3.5, 22.25);
        for hot in [0, 100, MOST] {
            let entry = found.pack(hot, 9);
            assert_eq!((entry & EMPTY, place_of(entry)), (70_000, 9));
        }
        let most = Probe::new(usize::MAX, u16::MAX, 4, u16::MAX);
        assert_eq!((most.load, most.latency, most.chosen().load), (MOST, MOST, MOST));
        assert!(empty(0) > probe(3, 9.0, 9.0).pack(0, 7));
        assert!(most.pack(0, 0) > found.pack(100, 15) && found.pack(0, 0) > found.pack(14, 15));
    }

    #[test]
    fn a_backend_that_is_being_tried_for_the_first_time_is_not_the_fastest_of_all() {
        assert_eq!(Probe::new(1, 0, 4, UNTRIED).chosen(), Probe::new(1, 4, 4, UNKNOWN));
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
        for scale in [4, 40] {
            let mut sum = 0.0;
            for n in 0..40_000 {
                let load = fastrand::u16(..100) * scale / 10;
                let state = pool.follow(load, Lot(fastrand::u32(..Lot::ALL)));
                pool.state.store(state.pack(), Relaxed);
                sum += if n < 20_000 { 0.0 } else { f64::from(state.hot) };
            }
            let (mean, expected) = (sum / 20_000.0, 8.4 * f64::from(scale));
            assert!((mean / expected - 1.0).abs() < 0.15, "{mean} for {expected}");
        }
    }

    /// A pick with this drawn and the pool's best found as `found` tells of its index.
    fn pick(pool: &Pool, drawn: Probe, found: impl Fn(usize) -> Probe) -> usize {
        let turn = pool.begin(drawn, Lot(7));
        let is_kept = pool.end(turn, drawn, found(turn.best()));
        if is_kept { turn.best() } else { usize::try_from(drawn.index).unwrap() }
    }

    fn filled(latency: impl Fn(usize) -> f64) -> Pool {
        let pool = Pool::new(1.0);
        for (n, place) in (0..SIZE).zip(0..) {
            pool.store(probe(n, 1.0, latency(n)).pack(MOST, place));
        }
        pool
    }

    fn known(pool: &Pool) -> Vec<u64> {
        pool.entries.iter().map(|entry| entry.load(Relaxed) & EMPTY).collect()
    }

    #[test]
    fn a_pick_counts_its_request() {
        let pool = filled(|n| if n == 3 { 19.0 } else { 20.0 });
        assert_eq!(pick(&pool, probe(100, 1.0, 21.0), |n| probe(n, 1.0, 19.0)), 3);
        assert_eq!(pool.best(), probe(3, 2.0, 19.0).pack(MOST, 3));
        assert!(known(&pool).contains(&100) && !known(&pool).contains(&0));
    }

    #[test]
    fn the_best_of_the_pool_is_not_chosen_for_what_it_was() {
        let pool = filled(|n| if n == 3 { 10.0 } else { 20.0 });
        let busy = |n| probe(n, 9.0, if n == 3 { 25.0 } else { 20.0 });
        assert_eq!(pick(&pool, probe(100, 1.0, 21.0), busy), 100);
        assert_eq!(pick(&pool, probe(101, 1.0, 21.0), busy), 1);
    }

    #[test]
    fn the_worst_goes_every_other_time() {
        let pool = filled(|n| if n == 6 { 29.0 } else { 20.0 });
        for n in [100, 101] {
            pool.hear(probe(n, 1.0, 21.0), Lot(7));
        }
        assert!(known(&pool).contains(&100) && known(&pool).contains(&101) && !known(&pool).contains(&6));
    }

    #[test]
    fn of_an_empty_pool_the_drawn_one_is_chosen() {
        let pool = Pool::new(0.84);
        assert_eq!(pool.begin(probe(7, 1.0, 20.0), Lot(7)).best() as u64, EMPTY);
        assert_eq!(pick(&pool, probe(7, 1.0, 20.0), |_| probe(7, 1.0, 20.0)), 7);
    }
}
