//! What clients asked of one rule, and how long the answers took.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::requests::{Class, RequestCounters, RequestTotals};
use crate::histogram::{Exposed, Summary};
use crate::rate::Rate;
use crate::{Histogram, Shards};

/// Figures of one rule, kept across reloads.
#[derive(Debug)]
pub struct RuleStats {
    name: Box<str>,
    shards: Shards<Shard>,
    rate: Rate,
}

#[derive(Debug, Default)]
struct Shard {
    requests: RequestCounters,
    duration: Histogram,
    stalled: AtomicU64,
}

impl RuleStats {
    pub(crate) fn new(name: &str, workers: usize) -> Self {
        Self { name: name.into(), shards: Shards::new(workers), rate: Rate::new(Instant::now()) }
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts one finished exchange: `duration` from the request's first byte to the answer's last.
    #[inline]
    pub fn record(&self, worker: usize, class: Class, bytes_in: u64, bytes_out: u64, duration: Duration) {
        let shard = self.shards.shard(worker);
        shard.requests.count(class, bytes_in, bytes_out);
        shard.duration.record(duration);
    }

    /// Counts one exchange that was given up because its client stood still or moved too little.
    #[inline]
    pub fn stalled(&self, worker: usize) {
        self.shards.shard(worker).stalled.fetch_add(1, Relaxed);
    }

    /// Exchanges that were given up for it.
    pub fn stalls(&self) -> u64 {
        self.shards.iter().map(|shard| shard.stalled.load(Relaxed)).sum()
    }

    /// Requests a second over the last minute, or since the figures began.
    ///
    /// Each call also takes a look for later ones; see [`Registry::tick`](crate::Registry::tick).
    pub fn requests_per_second(&self, now: Instant) -> f64 {
        let mut requests = RequestTotals::default();
        self.shards.iter().for_each(|shard| shard.requests.add_to(&mut requests));
        self.rate.look(now, requests.total())
    }

    /// Requests and bytes; cheaper than all figures.
    pub fn requests(&self) -> RequestTotals {
        let mut requests = RequestTotals::default();
        self.shards.iter().for_each(|shard| shard.requests.add_to(&mut requests));
        requests
    }

    /// Adds the durations of all workers to a summary, for one over many rules.
    pub fn add_duration(&self, summary: &mut Summary) {
        self.shards.iter().for_each(|shard| summary.add(&shard.duration));
    }

    /// The durations of all workers in the buckets that are exposed; cheaper than all figures.
    pub(crate) fn exposed(&self) -> Exposed {
        self.shards.iter().map(|shard| &shard.duration).collect()
    }

    /// The figures of all workers.
    pub fn totals(&self) -> RuleTotals {
        let mut totals = RuleTotals::default();
        for shard in self.shards.iter() {
            shard.requests.add_to(&mut totals.requests);
            totals.duration.add(&shard.duration);
        }
        totals
    }
}

/// What a rule's figures were at one moment.
#[derive(Debug, Clone, Default)]
pub struct RuleTotals {
    /// Requests and bytes.
    pub requests: RequestTotals,
    /// From the request's first byte to the answer's last.
    pub duration: Summary,
}
