//! Connections of one listener.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::Shards;

/// Figures of one listener, kept across reloads.
#[derive(Debug)]
pub struct ListenerStats {
    name: Box<str>,
    shards: Shards<Shard>,
}

#[derive(Debug, Default)]
struct Shard {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

impl ListenerStats {
    pub(crate) fn new(name: &str, workers: usize) -> Self {
        Self { name: name.into(), shards: Shards::new(workers) }
    }

    /// The listener's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts an accepted connection.
    #[inline]
    pub fn opened(&self, worker: usize) {
        self.shards.shard(worker).opened.fetch_add(1, Relaxed);
    }

    /// Counts its end; another worker than the one that accepted may say so.
    #[inline]
    pub fn closed(&self, worker: usize) {
        self.shards.shard(worker).closed.fetch_add(1, Relaxed);
    }

    /// Counts a connection that was closed unserved, since its address had too many.
    pub fn refused(&self, worker: usize) {
        self.shards.shard(worker).refused.fetch_add(1, Relaxed);
    }

    /// The figures of all workers.
    pub fn totals(&self) -> ListenerTotals {
        // Ends are read first, so that a connection that opens and closes meanwhile never counts as minus one.
        let closed: u64 = self.shards.iter().map(|shard| shard.closed.load(Relaxed)).sum();
        let accepted: u64 = self.shards.iter().map(|shard| shard.opened.load(Relaxed)).sum();
        let refused: u64 = self.shards.iter().map(|shard| shard.refused.load(Relaxed)).sum();
        ListenerTotals { accepted, active: accepted.saturating_sub(closed), refused }
    }
}

/// What a listener's figures were at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ListenerTotals {
    /// Connections since the start.
    pub accepted: u64,
    /// Connections open now.
    pub active: u64,
    /// Connections closed unserved, since their address had too many.
    pub refused: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_end_on_another_worker() {
        let listener = ListenerStats::new("web", 2);
        listener.opened(0);
        listener.opened(0);
        listener.closed(1);
        listener.refused(1);
        assert_eq!(listener.totals(), ListenerTotals { accepted: 2, active: 1, refused: 1 });
    }
}
