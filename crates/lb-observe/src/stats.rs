//! Figures of one rule, backend, listener, upstream or policy: written per worker, read merged.

mod backend;
mod listener;
mod mirror;
mod requests;
mod rule;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::histogram::Summary;
use crate::{Histogram, Shards};

pub use backend::{Attempt, BackendStats, BackendTotals, FailureKind};
pub use listener::{
    ConnectionFailure, HandshakeFailure, ListenerStats, ListenerTotals, PreambleFailure, TlsTotals,
};
pub use mirror::{MirrorStats, MirrorTotals};
pub use requests::{Class, RequestTotals};
pub use rule::{RuleStats, RuleTotals};

/// Figures of one upstream that belong to none of its backends.
#[derive(Debug)]
pub struct UpstreamStats {
    name: Box<str>,
    retries: Shards<AtomicU64>,
}

impl UpstreamStats {
    pub(crate) fn new(name: &str, workers: usize) -> Self {
        Self { name: name.into(), retries: Shards::new(workers) }
    }

    /// The upstream's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts one attempt beyond an exchange's first.
    #[inline]
    pub fn retried(&self, worker: usize) {
        self.retries.shard(worker).fetch_add(1, Relaxed);
    }

    /// Attempts beyond the first.
    pub fn retries(&self) -> u64 {
        self.retries.iter().map(|shard| shard.load(Relaxed)).sum()
    }
}

/// How often one policy turned requests of one rule away.
#[derive(Debug)]
pub struct PolicyStats {
    rule: Box<str>,
    policy: Box<str>,
    rejections: Shards<AtomicU64>,
}

impl PolicyStats {
    pub(crate) fn new(rule: &str, policy: &str, workers: usize) -> Self {
        Self { rule: rule.into(), policy: policy.into(), rejections: Shards::new(workers) }
    }

    /// The rule's name.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The policy's name.
    pub fn policy(&self) -> &str {
        &self.policy
    }

    /// Counts one request turned away.
    #[inline]
    pub fn rejected(&self, worker: usize) {
        self.rejections.shard(worker).fetch_add(1, Relaxed);
    }

    /// Requests turned away.
    pub fn rejections(&self) -> u64 {
        self.rejections.iter().map(|shard| shard.load(Relaxed)).sum()
    }
}

/// How many of a rule's requests went to one upstream of several.
#[derive(Debug)]
pub struct SplitStats {
    rule: Box<str>,
    upstream: Box<str>,
    requests: Shards<AtomicU64>,
    ended: Shards<SplitShard>,
    taken_back: AtomicU64,
}

/// How requests of a part have ended.
#[derive(Debug, Default)]
struct SplitShard {
    requests: AtomicU64,
    failed: AtomicU64,
    durations: Histogram,
}

impl SplitStats {
    pub(crate) fn new(rule: &str, upstream: &str, workers: usize) -> Self {
        Self {
            rule: rule.into(),
            upstream: upstream.into(),
            requests: Shards::new(workers),
            ended: Shards::new(workers),
            taken_back: AtomicU64::new(0),
        }
    }

    /// The rule's name.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// Counts one request that has ended, and how long its answer's head took.
    #[inline]
    pub fn record(&self, worker: usize, is_failed: bool, took: Duration) {
        let shard = self.ended.shard(worker);
        shard.requests.fetch_add(1, Relaxed);
        if is_failed {
            shard.failed.fetch_add(1, Relaxed);
        }
        shard.durations.record(took);
    }

    /// Requests that have ended, and of them those that failed.
    pub fn ended(&self) -> (u64, u64) {
        let add = |(all, failed), shard: &SplitShard| {
            (all + shard.requests.load(Relaxed), failed + shard.failed.load(Relaxed))
        };
        self.ended.iter().fold((0, 0), add)
    }

    /// How long they took.
    pub fn durations(&self) -> Summary {
        let mut summary = Summary::default();
        self.ended.iter().for_each(|shard| summary.add(&shard.durations));
        summary
    }

    /// Counts that this part was taken back by itself.
    pub fn taken_back(&self) {
        self.taken_back.fetch_add(1, Relaxed);
    }

    /// How often it was.
    pub fn times_taken_back(&self) -> u64 {
        self.taken_back.load(Relaxed)
    }

    /// Counts one request.
    #[inline]
    pub fn taken(&self, worker: usize) {
        self.requests.shard(worker).fetch_add(1, Relaxed);
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.iter().map(|shard| shard.load(Relaxed)).sum()
    }
}
