//! What one backend was sent, how it answered and how long it took to.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::StatusCode;

use super::requests::{Class, RequestCounters, RequestTotals};
use crate::histogram::{Exposed, Summary};
use crate::rate::Rate;
use crate::{Histogram, Shards};

/// How an attempt at a backend failed other than by the status it answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection.
    Connect,
    /// The connection broke, or what came was not HTTP.
    Reset,
    /// No answer in time.
    Timeout,
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Reset, Self::Timeout];

    /// The kind that a problem document's `code` stands for, if it blames the backend.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The problem document's `code`, and the `reason` label of the metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Connect => "connect_failed",
            Self::Reset => "upstream_reset",
            Self::Timeout => "upstream_timeout",
        }
    }
}

/// One request sent, or meant to be sent, to a backend.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// What the backend answered, or what the client was answered in its stead.
    pub status: StatusCode,
    /// How it failed, other than by its status.
    pub failure: Option<FailureKind>,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// From sending the request to the response head, where one came.
    pub latency: Option<Duration>,
    /// When it ended. A coarse clock will do.
    pub ended_at: SystemTime,
}

/// Figures of one backend, kept across reloads by upstream and URL.
#[derive(Debug)]
pub struct BackendStats {
    upstream: Box<str>,
    backend: Box<str>,
    shards: Shards<Shard>,
    rate: Rate,
    is_kept: bool,
}

#[derive(Debug, Default)]
struct Shard {
    requests: RequestCounters,
    failed: AtomicU64,
    failures: [AtomicU64; FailureKind::ALL.len()],
    latency: Histogram,
    last_status: AtomicU16,
    last_request_ms: AtomicU64,
}

impl BackendStats {
    pub(crate) fn new(upstream: &str, backend: &str, workers: usize, is_kept: bool) -> Self {
        let (upstream, backend) = (upstream.into(), backend.into());
        Self { upstream, backend, shards: Shards::new(workers), rate: Rate::new(Instant::now()), is_kept }
    }

    /// Whether anything is counted; see [`Registry::without_backends`](crate::Registry::without_backends).
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &str {
        &self.upstream
    }

    /// The backend's URL as configured.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// Counts an attempt, where figures are kept.
    #[inline]
    pub fn record(&self, worker: usize, attempt: &Attempt) {
        if !self.is_kept {
            return;
        }
        let shard = self.shards.shard(worker);
        shard.requests.count(Class::of(attempt.status), attempt.bytes_in, attempt.bytes_out);
        if let Some(latency) = attempt.latency {
            shard.latency.record(latency);
        }
        if attempt.status.is_server_error() || attempt.failure.is_some() {
            shard.failed.fetch_add(1, Relaxed);
        }
        if let Some(counter) = attempt.failure.and_then(|kind| shard.failures.get(kind as usize)) {
            counter.fetch_add(1, Relaxed);
        }
        shard.last_status.store(attempt.status.as_u16(), Relaxed);
        shard.last_request_ms.store(unix_ms(attempt.ended_at), Relaxed);
    }

    /// Counts an attempt that failed and was made anew elsewhere: a 5xx of this backend that no client saw.
    pub fn record_retried(&self, worker: usize, failure: FailureKind, ended_at: SystemTime) {
        let status = match failure {
            FailureKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            FailureKind::Connect | FailureKind::Reset => StatusCode::BAD_GATEWAY,
        };
        let failure = Some(failure);
        self.record(worker, &Attempt { status, failure, bytes_in: 0, bytes_out: 0, latency: None, ended_at });
    }

    /// Counts an answer that was given up for another backend's: no client saw it.
    pub fn record_discarded(
        &self,
        worker: usize,
        status: StatusCode,
        latency: Option<Duration>,
        ended_at: SystemTime,
    ) {
        self.record(worker, &Attempt { status, failure: None, bytes_in: 0, bytes_out: 0, latency, ended_at });
    }

    /// Requests a second over the last minute, or since the figures began.
    ///
    /// Each call also takes a look for later ones; see [`Registry::tick`](crate::Registry::tick).
    pub fn requests_per_second(&self, now: Instant) -> f64 {
        let mut requests = RequestTotals::default();
        self.shards.iter().for_each(|shard| shard.requests.add_to(&mut requests));
        self.rate.look(now, requests.total())
    }

    /// Attempts, and how many of them failed; cheaper than all figures.
    pub fn counts(&self) -> (RequestTotals, u64) {
        let (mut requests, mut failed) = (RequestTotals::default(), 0);
        for shard in self.shards.iter() {
            shard.requests.add_to(&mut requests);
            failed += shard.failed.load(Relaxed);
        }
        (requests, failed)
    }

    /// Attempts that failed in one way.
    pub(crate) fn failures(&self, kind: FailureKind) -> u64 {
        let shards = self.shards.iter().filter_map(|shard| shard.failures.get(kind as usize));
        shards.map(|counter| counter.load(Relaxed)).sum()
    }

    /// The latencies of all workers in the buckets that are exposed; cheaper than all figures.
    pub(crate) fn exposed(&self) -> Exposed {
        self.shards.iter().map(|shard| &shard.latency).collect()
    }

    /// Adds the latencies of all workers to a summary, for one over many backends.
    pub fn add_latency(&self, summary: &mut Summary) {
        self.shards.iter().for_each(|shard| summary.add(&shard.latency));
    }

    /// The figures of all workers.
    pub fn totals(&self) -> BackendTotals {
        let mut totals = BackendTotals::default();
        let mut last_ms = 0;
        for shard in self.shards.iter() {
            shard.requests.add_to(&mut totals.requests);
            totals.latency.add(&shard.latency);
            totals.failed += shard.failed.load(Relaxed);
            for (total, counter) in totals.failures.iter_mut().zip(&shard.failures) {
                *total += counter.load(Relaxed);
            }
            let shard_last_ms = shard.last_request_ms.load(Relaxed);
            if shard_last_ms > last_ms {
                last_ms = shard_last_ms;
                totals.last_status = StatusCode::from_u16(shard.last_status.load(Relaxed)).ok();
            }
        }
        totals.last_request = (last_ms > 0).then(|| UNIX_EPOCH + Duration::from_millis(last_ms));
        totals
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

/// What a backend's figures were at one moment.
#[derive(Debug, Clone, Default)]
pub struct BackendTotals {
    /// Attempts and bytes.
    pub requests: RequestTotals,
    /// Attempts that ended in a 5xx or without a complete answer.
    pub failed: u64,
    failures: [u64; FailureKind::ALL.len()],
    /// From sending a request to the response head.
    pub latency: Summary,
    /// The status of the latest attempt.
    pub last_status: Option<StatusCode>,
    /// When the latest attempt ended.
    pub last_request: Option<SystemTime>,
}

impl BackendTotals {
    /// Attempts that failed in one way.
    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.failures.get(kind as usize).copied().unwrap_or(0)
    }

    /// Adds another backend's figures, for a sum over an upstream.
    pub fn merge(&mut self, other: &Self) {
        self.requests.merge(&other.requests);
        self.latency.merge(&other.latency);
        self.failed += other.failed;
        for (mine, theirs) in self.failures.iter_mut().zip(other.failures) {
            *mine += theirs;
        }
        if other.last_request > self.last_request {
            self.last_request = other.last_request;
            self.last_status = other.last_status;
        }
    }
}
