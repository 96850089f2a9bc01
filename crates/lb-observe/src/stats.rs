//! Figures of one rule, backend, listener, upstream or policy: written per worker, read merged.

mod backend;
mod listener;
mod requests;
mod rule;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Shards;

pub use backend::{Attempt, BackendStats, BackendTotals, FailureKind};
pub use listener::{
    ConnectionFailure, HandshakeFailure, ListenerStats, ListenerTotals, PreambleFailure, TlsTotals,
};
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
}

impl SplitStats {
    pub(crate) fn new(rule: &str, upstream: &str, workers: usize) -> Self {
        Self { rule: rule.into(), upstream: upstream.into(), requests: Shards::new(workers) }
    }

    /// The rule's name.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
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
