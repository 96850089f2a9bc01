//! One copy of a figure per worker, so that workers never write to the same cache line.

use crossbeam_utils::CachePadded;

/// One `T` per worker, each on cache lines of its own.
///
/// Any number of threads may use any shard: the figures inside are atomics, sharding only keeps them from
/// contending.
///
/// ```
/// use lb_observe::Shards;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// let hits: Shards<AtomicU64> = Shards::new(2);
/// hits.shard(0).fetch_add(1, Relaxed);
/// hits.shard(1).fetch_add(2, Relaxed);
/// assert_eq!(hits.iter().map(|shard| shard.load(Relaxed)).sum::<u64>(), 3);
/// ```
#[derive(Debug)]
pub struct Shards<T> {
    first: CachePadded<T>,
    rest: Box<[CachePadded<T>]>,
}

impl<T: Default> Shards<T> {
    /// Shards for `workers` workers; at least one.
    pub fn new(workers: usize) -> Self {
        let rest = (1..workers).map(|_| CachePadded::default()).collect();
        Self { first: CachePadded::default(), rest }
    }
}

impl<T> Shards<T> {
    /// The shard of a worker, counted from 0. Numbers past the last worker share the first shard.
    #[inline]
    pub fn shard(&self, worker: usize) -> &T {
        worker.checked_sub(1).and_then(|index| self.rest.get(index)).unwrap_or(&self.first)
    }

    /// Every shard.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(self.rest.iter()).map(|shard| &**shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_its_own_shard_and_strangers_share_the_first() {
        let shards: Shards<u64> = Shards::new(3);
        let address = |worker| std::ptr::from_ref(shards.shard(worker));
        assert_ne!(address(0), address(1));
        assert_ne!(address(1), address(2));
        assert_eq!(address(0), address(3));
        assert_eq!(address(0), address(usize::MAX));
        assert_eq!(shards.iter().count(), 3);
    }

    #[test]
    fn zero_workers_still_have_somewhere_to_count() {
        assert_eq!(Shards::<u64>::new(0).iter().count(), 1);
    }

    #[test]
    fn shards_never_share_a_cache_line() {
        let shards: Shards<u8> = Shards::new(4);
        let mut addresses: Vec<usize> = shards.iter().map(|shard| std::ptr::from_ref(shard).addr()).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= 64));
    }
}
