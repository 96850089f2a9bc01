//! The requests that failed last, each with its reason in a sentence: what an operator looks at first.
//!
//! A request that went well costs two comparisons. One that failed takes its worker's own lock, which nobody else
//! holds but a reader while it copies; were it held, the request would be left out rather than wait. A storm of equal
//! failures costs no memory and pushes nothing else out: those of one second and kind are one entry, with their number.

mod reason;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{Exchange, Recorder, Shards};

/// Entries kept of each worker and kind.
const KEPT: usize = 64;
/// Failures of one kind within this time are one entry.
const TOGETHER: Duration = Duration::from_secs(1);
/// Entries looked at for one of the same kind.
const LOOK_BACK: usize = 8;
/// The most that is kept of a path or a reason, in bytes.
const MAX_TEXT: usize = 512;

/// Keeps the requests that failed last: bounded, by worker.
///
/// ```
/// use http::StatusCode;
/// use lb_observe::{Exchange, Recorder, RecentErrors};
///
/// let recent = RecentErrors::new(1);
/// recent.record(&Exchange::new(0));
/// recent.record(&Exchange { status: StatusCode::SERVICE_UNAVAILABLE, path: "/a", ..Exchange::new(0) });
/// let errors = recent.latest(10);
/// assert_eq!(errors.len(), 1);
/// assert_eq!(errors[0].path, "/a");
/// ```
#[derive(Debug)]
pub struct RecentErrors {
    workers: Shards<Mutex<Kept>>,
    missed: AtomicU64,
}

/// What went wrong here and what clients did wrong, apart, so that neither hides the other.
#[derive(Debug, Default)]
struct Kept {
    failed: VecDeque<RecentError>,
    refused: VecDeque<RecentError>,
}

/// A failure, or some of one kind that came within a second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentError {
    /// When the first of them ended.
    pub time: SystemTime,
    /// How many there were.
    pub times: u64,
    /// The rule that took them.
    pub rule: Option<String>,
    /// The upstream they were for.
    pub upstream: Option<String>,
    /// The backend of the last attempt.
    pub backend: Option<String>,
    /// What the client was answered.
    pub status: u16,
    /// The `code` of the problem document, where the answer was ours.
    pub code: Option<&'static str>,
    /// The first one's request id.
    pub request_id: String,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Why, in a sentence; may name addresses.
    pub reason: String,
}

impl RecentErrors {
    /// For so many workers.
    pub fn new(workers: usize) -> Self {
        Self { workers: Shards::new(workers), missed: AtomicU64::new(0) }
    }

    /// The latest failures, newest first, at most so many.
    pub fn latest(&self, limit: usize) -> Vec<RecentError> {
        let mut all: Vec<RecentError> = Vec::new();
        for worker in self.workers.iter() {
            let kept = worker.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(kept.failed.iter().chain(&kept.refused).cloned());
        }
        all.sort_by_key(|error| std::cmp::Reverse(error.time));
        all.truncate(limit);
        all
    }

    /// Failures left out since a reader was looking at that moment.
    pub fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

impl Recorder for RecentErrors {
    #[inline]
    fn record(&self, exchange: &Exchange<'_>) {
        if exchange.code.is_some() || exchange.status.is_server_error() {
            self.keep(exchange);
        }
    }
}

impl RecentErrors {
    #[cold]
    fn keep(&self, exchange: &Exchange<'_>) {
        // A client that left is nobody's failure.
        if exchange.status.as_u16() == 499 {
            return;
        }
        let Ok(mut kept) = self.workers.shard(exchange.worker).try_lock() else {
            self.missed.fetch_add(1, Relaxed);
            return;
        };
        let Kept { failed, refused } = &mut *kept;
        let list = if exchange.status.is_client_error() { refused } else { failed };
        match list.iter_mut().rev().take(LOOK_BACK).find(|earlier| earlier.is_like(exchange)) {
            Some(earlier) => earlier.times += 1,
            None => {
                if list.len() >= KEPT {
                    list.pop_front();
                }
                list.push_back(RecentError::of(exchange));
            }
        }
    }
}

impl RecentError {
    fn of(exchange: &Exchange<'_>) -> Self {
        Self {
            time: exchange.ended_at,
            times: 1,
            rule: exchange.rule.map(|rule| rule.name().to_owned()),
            upstream: exchange.upstream.map(str::to_owned),
            backend: exchange.backend.map(|backend| backend.backend().to_owned()),
            status: exchange.status.as_u16(),
            code: exchange.code,
            request_id: cut(exchange.request_id),
            method: cut(exchange.method),
            path: cut(exchange.path),
            reason: cut(&reason::of(exchange)),
        }
    }

    /// Whether an exchange failed in the same way, at about the same time.
    fn is_like(&self, exchange: &Exchange<'_>) -> bool {
        self.status == exchange.status.as_u16()
            && self.code == exchange.code
            && self.backend.as_deref() == exchange.backend.map(crate::BackendStats::backend)
            && self.rule.as_deref() == exchange.rule.map(crate::RuleStats::name)
            && exchange.ended_at.duration_since(self.time).is_ok_and(|since| since < TOGETHER)
    }
}

/// As much of a text as is kept.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    format!("{}…", text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default())
}

#[cfg(test)]
mod tests;
