//! The pool of probes, and the choice among them.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_utils::CachePadded;

/// Entries of the pool.
pub(super) const SIZE: usize = 16;

/// What a probe found of a backend, in one word, so that it is read and written whole: its index, what it has in flight, and its
/// latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe(u64);

/// Bits of each of load and latency.
const BITS: u32 = 16;
const MOST: f64 = ((1 << BITS) - 1) as f64;
/// Of load: 1/16 of a request, up to 4096.
const LOAD_UNIT: f64 = 16.0;
/// Of latency: 1/1024 of a doubling.
const LATENCY_UNIT: f64 = 1024.0;

impl Probe {
    /// Stands for no probe.
    pub(super) const NONE: Self = Self(u64::MAX);

    /// `load` is requests in flight by weight, `latency` the log₂ of nanoseconds.
    pub(super) fn new(index: usize, load: f64, latency: f64) -> Self {
        let index = u32::try_from(index).unwrap_or(u32::MAX - 1);
        Self(u64::from(index) << (2 * BITS) | fixed(load * LOAD_UNIT) << BITS | fixed(latency * LATENCY_UNIT))
    }

    pub(super) fn index(self) -> usize {
        usize::try_from(self.0 >> (2 * BITS)).unwrap_or(usize::MAX)
    }

    /// What one request more makes of it.
    fn with_one_more(self, each: f64) -> Self {
        let load = (self.load() + fixed(each * LOAD_UNIT)).min((1 << BITS) - 1);
        Self(self.0 & !(((1 << BITS) - 1) << BITS) | load << BITS)
    }

    fn load(self) -> u64 {
        self.0 >> BITS & ((1 << BITS) - 1)
    }

    fn latency(self) -> u64 {
        self.0 & ((1 << BITS) - 1)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
fn fixed(number: f64) -> u64 {
    number.round().clamp(0.0, MOST) as u64
}

/// The probes last made, shared by all threads.
#[derive(Debug)]
pub(super) struct Pool {
    entries: CachePadded<[Entry; SIZE]>,
    /// Counts what was put in: where the next goes, over the oldest.
    turn: CachePadded<AtomicU64>,
    age: u64,
}

/// Two threads may write one entry at once and leave a probe with the other's time: by at most the time between them wrong.
#[derive(Debug)]
struct Entry {
    probe: AtomicU64,
    /// When it was made, in nanoseconds as `moment` counts them; 0 at first, which is long ago.
    at: AtomicU64,
}

impl Pool {
    pub(super) fn new(age: Duration) -> Self {
        let empty = || Entry { probe: AtomicU64::new(Probe::NONE.0), at: AtomicU64::new(0) };
        Self {
            entries: CachePadded::new(std::array::from_fn(|_| empty())),
            turn: CachePadded::default(),
            age: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// The probes that are young enough, each in its place.
    pub(super) fn read(&self, known: &mut [Probe; SIZE], now: u64) {
        for (place, entry) in known.iter_mut().zip(&*self.entries) {
            let young = now.saturating_sub(entry.at.load(Relaxed)) <= self.age;
            *place = if young { Probe(entry.probe.load(Relaxed)) } else { Probe::NONE };
        }
    }

    /// Adds a probe, over the oldest.
    pub(super) fn put(&self, probe: Probe, now: u64) {
        self.write(self.turn.fetch_add(1, Relaxed), probe, now);
    }

    /// Ends a pick that had read `pooled`: the chosen backend's probe counts the request it is about to get, and the fresh probes
    /// go over the oldest and, every other time, over the worst.
    pub(super) fn turn_over(
        &self,
        fresh: [Probe; 2],
        pooled: &[Probe; SIZE],
        chosen: Probe,
        each: f64,
        now: u64,
    ) {
        let told = |probe: Probe| if probe == chosen { probe.with_one_more(each) } else { probe };
        if let Some(slot) = (0..).zip(pooled).find_map(|(slot, probe)| (*probe == chosen).then_some(slot)) {
            self.write(slot, told(chosen), now);
        }
        let turn = self.turn.fetch_add(1, Relaxed);
        let worst = (0..)
            .zip(pooled)
            .filter(|(_, probe)| **probe != Probe::NONE)
            .max_by_key(|(_, p)| (p.load(), p.latency()));
        let other = match worst {
            Some((slot, _)) if turn % 2 == 1 => slot,
            _ => turn + SIZE as u64 / 2,
        };
        let [one, two] = fresh;
        self.write(other, told(two), now);
        self.write(turn, told(one), now);
    }

    fn write(&self, turn: u64, probe: Probe, now: u64) {
        if let Some(entry) = usize::try_from(turn % SIZE as u64).ok().and_then(|slot| self.entries.get(slot))
        {
            entry.probe.store(probe.0, Relaxed);
            entry.at.store(now, Relaxed);
        }
    }
}

/// The fastest of those whose load is at most the quantile's. Of equals the first of all stands, or else any. `None` where
/// nothing is known.
pub(super) fn choose<const N: usize>(known: &[Probe; N], quantile: f64) -> Option<Probe> {
    let known_ones = || known.iter().filter(|probe| **probe != Probe::NONE);
    let count = known_ones().count();
    // The quantile is near the top, so the greatest few are kept in order rather than all.
    let mut top = [0; N];
    let top = top.get_mut(..count.checked_sub(rank(quantile, count))?)?;
    for probe in known_ones() {
        let mut load = probe.load();
        for place in top.iter_mut() {
            if load > *place {
                std::mem::swap(place, &mut load);
            }
        }
    }
    let most = top.last()?;
    let cold = (0..).zip(known).filter(|(_, probe)| **probe != Probe::NONE && probe.load() <= *most);
    let lot = fastrand::u64(..) | 1;
    cold.min_by_key(|(place, probe)| (probe.latency(), lot.wrapping_mul(*place) >> 32))
        .map(|(_, probe)| *probe)
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

    fn chosen(quantile: f64, probes: &[(f64, f64)]) -> usize {
        let mut known = [Probe::NONE; 18];
        for ((index, place), (load, latency)) in known.iter_mut().enumerate().zip(probes) {
            *place = Probe::new(index, *load, *latency);
        }
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
        for quantile in [0.0, 0.84, 1.0] {
            assert_eq!(choose(&[Probe::NONE; 4], quantile), None);
        }
    }

    #[test]
    fn a_probe_keeps_what_it_found_and_saturates() {
        let probe = Probe::new(70_000, 3.5, 22.25);
        assert_eq!((probe.index(), probe.load(), probe.latency()), (70_000, 56, 22_784));
        assert_eq!(probe.with_one_more(1.0).load(), 72);
        let most = Probe::new(5, f64::INFINITY, 1e9).with_one_more(f64::INFINITY);
        assert_eq!((most.index(), most.load(), most.latency()), (5, 65_535, 65_535));
        let strange = Probe::new(5, f64::NAN, -4.0);
        assert_eq!((strange.load(), strange.latency()), (0, 0));
    }

    #[test]
    fn probes_are_forgotten_with_age_and_replaced_in_turn() {
        let pool = Pool::new(Duration::from_nanos(100));
        for n in 0..40_usize {
            pool.put(Probe::new(n, 0.0, 0.0), 1_000 + n as u64);
        }
        let mut known = [Probe::NONE; SIZE];
        pool.read(&mut known, 1_040);
        let mut indices: Vec<usize> = known.iter().map(|probe| probe.index()).collect();
        indices.sort_unstable();
        assert!(indices.into_iter().eq(24..40));
        pool.read(&mut known, 1_200);
        assert_eq!(known, [Probe::NONE; SIZE]);
    }

    #[test]
    fn a_pick_counts_its_request_and_drops_the_worst_every_other_time() {
        let pool = Pool::new(Duration::from_secs(1));
        for n in 0..SIZE {
            pool.put(Probe::new(n, if n == 6 { 9.0 } else { 1.0 }, 20.0), 1);
        }
        let mut known = [Probe::NONE; SIZE];
        for _ in 0..2 {
            pool.read(&mut known, 2);
            let fresh = [Probe::new(100, 1.0, 20.0), Probe::new(101, 1.0, 20.0)];
            pool.turn_over(fresh, &known, known[3], 1.0, 2);
        }
        pool.read(&mut known, 3);
        assert!(known.iter().all(|probe| probe.index() != 6));
        assert_eq!(known[3].load(), 3 * 16);
    }
}
