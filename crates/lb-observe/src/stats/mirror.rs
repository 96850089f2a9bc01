//! Copies of requests: how many went out, what became of them, and how they compare.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::Shards;

/// Figures of the mirror of one rule.
#[derive(Debug)]
pub struct MirrorStats {
    rule: Box<str>,
    upstream: Box<str>,
    dropped: Shards<AtomicU64>,
    too_large: Shards<AtomicU64>,
    sent: AtomicU64,
    failed: AtomicU64,
    alike: AtomicU64,
    other_status: AtomicU64,
    other_body: AtomicU64,
    pending: AtomicU32,
}

/// What they come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MirrorTotals {
    /// Copies that were answered.
    pub sent: u64,
    /// Copies without an answer.
    pub failed: u64,
    /// Requests without a copy, as many being under way as may be, or since they broke off.
    pub dropped: u64,
    /// Requests without a copy, their bodies being too large.
    pub too_large: u64,
    /// Answers that were the same as the primary ones.
    pub alike: u64,
    /// Those of another status.
    pub other_status: u64,
    /// Those of the same status, and another body.
    pub other_body: u64,
}

impl MirrorStats {
    pub(crate) fn new(rule: &str, upstream: &str, workers: usize) -> Self {
        Self {
            rule: rule.into(),
            upstream: upstream.into(),
            dropped: Shards::new(workers),
            too_large: Shards::new(workers),
            sent: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            alike: AtomicU64::new(0),
            other_status: AtomicU64::new(0),
            other_body: AtomicU64::new(0),
            pending: AtomicU32::new(0),
        }
    }

    /// The rule's name.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The upstream that gets the copies.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// A copy begins, unless as many as may be are under way; whether it does.
    pub fn begin(&self, most: u32) -> bool {
        let free = |count| (count < most).then_some(count + 1);
        self.pending.fetch_update(Relaxed, Relaxed, free).is_ok()
    }

    /// A copy that has begun is over.
    pub fn end(&self) {
        self.pending.fetch_sub(1, Relaxed);
    }

    /// A request has no copy: as many are under way as may be, or it broke off.
    pub fn dropped(&self, worker: usize) {
        self.dropped.shard(worker).fetch_add(1, Relaxed);
    }

    /// A request has no copy: its body is too large.
    pub fn too_large(&self, worker: usize) {
        self.too_large.shard(worker).fetch_add(1, Relaxed);
    }

    /// A copy was answered.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// A copy has no answer.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Its answer was compared with the primary one.
    pub fn compared(&self, same_status: bool, same_body: bool) {
        let count = match (same_status, same_body) {
            (true, true) => &self.alike,
            (false, _) => &self.other_status,
            (true, false) => &self.other_body,
        };
        count.fetch_add(1, Relaxed);
    }

    /// All of it.
    pub fn totals(&self) -> MirrorTotals {
        let sum = |shards: &Shards<AtomicU64>| shards.iter().map(|shard| shard.load(Relaxed)).sum();
        MirrorTotals {
            sent: self.sent.load(Relaxed),
            failed: self.failed.load(Relaxed),
            dropped: sum(&self.dropped),
            too_large: sum(&self.too_large),
            alike: self.alike.load(Relaxed),
            other_status: self.other_status.load(Relaxed),
            other_body: self.other_body.load(Relaxed),
        }
    }
}
