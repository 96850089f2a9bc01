//! Connections of one listener.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::Shards;

/// Figures of one listener, kept across reloads.
#[derive(Debug)]
pub struct ListenerStats {
    name: Box<str>,
    shards: Shards<Shard>,
    /// In seconds of Unix time; 0 where there is no certificate.
    certificate_end: AtomicU64,
    expects_preambles: AtomicBool,
    carries_connections: AtomicBool,
    forwards: AtomicBool,
    /// Connections to other servers that are open now.
    forwarding: AtomicU32,
}

#[derive(Debug, Default)]
struct Shard {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    full: AtomicU64,
    resumed: AtomicU64,
    failures: [AtomicU64; HandshakeFailure::ALL.len()],
    preambles: [AtomicU64; PreambleFailure::ALL.len()],
    failed: [AtomicU64; ConnectionFailure::ALL.len()],
}

/// Why a connection that has to begin with a PROXY header was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreambleFailure {
    /// Its peer is none of those that are believed.
    Untrusted,
    /// What came is no such header.
    Malformed,
    /// No whole one came in time.
    Timeout,
    /// It ended ahead of a whole one.
    Closed,
}

impl PreambleFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Untrusted, Self::Malformed, Self::Timeout, Self::Closed];

    /// The `reason` label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Malformed => "malformed",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
        }
    }
}

/// Why a connection that was to be passed on to a backend came to no good end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// Its TLS asked for no name that leads anywhere.
    NoRule,
    /// No backend was eligible, or had an address.
    NoBackend,
    /// Every backend was at its limit.
    Overloaded,
    /// No backend accepted.
    ConnectFailed,
    /// None did so in time.
    Timeout,
    /// The backend's connection broke.
    UpstreamReset,
    /// Nothing moved for too long.
    IdleTimeout,
}

impl ConnectionFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::NoRule,
        Self::NoBackend,
        Self::Overloaded,
        Self::ConnectFailed,
        Self::Timeout,
        Self::UpstreamReset,
        Self::IdleTimeout,
    ];

    /// The `reason` label, which is the `code` that an exchange has then.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoRule => "no_rule",
            Self::NoBackend => "no_backend",
            Self::Overloaded => "overloaded",
            Self::ConnectFailed => "connect_failed",
            Self::Timeout => "upstream_timeout",
            Self::UpstreamReset => "upstream_reset",
            Self::IdleTimeout => "idle_timeout",
        }
    }

    /// The one that a code stands for.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.code() == code)
    }
}

/// Why a TLS handshake with a client came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// Not done within its time.
    Timeout,
    /// The client left.
    Closed,
    /// The client spoke plain HTTP.
    PlainHttp,
    /// What came was no TLS, or broken TLS.
    Malformed,
    /// No version, cipher suite or protocol in common.
    Incompatible,
    /// The client's certificate was missing or not believed.
    ClientCertificate,
    /// The client did not like what it was shown.
    Refused,
}

impl HandshakeFailure {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Timeout,
        Self::Closed,
        Self::PlainHttp,
        Self::Malformed,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Refused,
    ];

    /// The `reason` label.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::PlainHttp => "plain_http",
            Self::Malformed => "malformed",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "refused",
        }
    }
}

impl ListenerStats {
    pub(crate) fn new(name: &str, workers: usize) -> Self {
        Self {
            name: name.into(),
            shards: Shards::new(workers),
            certificate_end: AtomicU64::new(0),
            expects_preambles: AtomicBool::new(false),
            carries_connections: AtomicBool::new(false),
            forwards: AtomicBool::new(false),
            forwarding: AtomicU32::new(0),
        }
    }

    /// Counts a TLS handshake that was completed, in full or from an earlier session.
    pub fn handshake(&self, worker: usize, is_resumed: bool) {
        let shard = self.shards.shard(worker);
        let count = if is_resumed { &shard.resumed } else { &shard.full };
        count.fetch_add(1, Relaxed);
    }

    /// Counts a TLS handshake that came to nothing.
    pub fn handshake_failed(&self, worker: usize, failure: HandshakeFailure) {
        if let Some(count) = self.shards.shard(worker).failures.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Its connections begin with a PROXY header.
    pub fn expects_preambles(&self) {
        self.expects_preambles.store(true, Relaxed);
    }

    /// Counts a connection that was not served for want of a good PROXY header.
    pub fn preamble_failed(&self, worker: usize, failure: PreambleFailure) {
        if let Some(count) = self.shards.shard(worker).preambles.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many were not, by reason; `None` where none has to begin with one.
    pub fn preambles(&self) -> Option<[(PreambleFailure, u64); PreambleFailure::ALL.len()]> {
        self.expects_preambles.load(Relaxed).then(|| {
            PreambleFailure::ALL.map(|failure| {
                let of = |shard: &Shard| {
                    shard.preambles.get(failure as usize).map_or(0, |count| count.load(Relaxed))
                };
                (failure, self.shards.iter().map(of).sum())
            })
        })
    }

    /// It connects clients to other servers.
    pub fn forwards(&self) {
        self.forwards.store(true, Relaxed);
    }

    /// Counts one more connection to another server, unless there are as many as may be. Over all workers.
    pub fn begin_forwarding(&self, most: u32) -> bool {
        let one_more = |open: u32| (open < most).then(|| open + 1);
        self.forwarding.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Counts its end.
    pub fn end_forwarding(&self) {
        self.forwarding.fetch_sub(1, Relaxed);
    }

    /// How many there are; `None` where there are none to be.
    pub fn forwarding(&self) -> Option<u32> {
        self.forwards.load(Relaxed).then(|| self.forwarding.load(Relaxed))
    }

    /// Its connections are passed on to backends.
    pub fn carries_connections(&self) {
        self.carries_connections.store(true, Relaxed);
    }

    /// Counts a connection that came to no good end.
    pub fn failed(&self, worker: usize, failure: ConnectionFailure) {
        if let Some(count) = self.shards.shard(worker).failed.get(failure as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How many did, by reason; `None` where connections are not passed on.
    pub fn failures(&self) -> Option<[(ConnectionFailure, u64); ConnectionFailure::ALL.len()]> {
        self.carries_connections.load(Relaxed).then(|| {
            ConnectionFailure::ALL.map(|failure| {
                let of =
                    |shard: &Shard| shard.failed.get(failure as usize).map_or(0, |count| count.load(Relaxed));
                (failure, self.shards.iter().map(of).sum())
            })
        })
    }

    /// The first of the listener's certificates ends then, in seconds of Unix time.
    pub fn certificate_ends(&self, unix_seconds: u64) {
        self.certificate_end.store(unix_seconds, Relaxed);
    }

    /// What TLS came to; `None` where the listener has had none of it.
    pub fn tls(&self) -> Option<TlsTotals> {
        let certificate_end = self.certificate_end.load(Relaxed);
        let sum = |count: fn(&Shard) -> &AtomicU64| -> u64 {
            self.shards.iter().map(|shard| count(shard).load(Relaxed)).sum()
        };
        (certificate_end > 0).then(|| TlsTotals {
            full: sum(|shard| &shard.full),
            resumed: sum(|shard| &shard.resumed),
            failures: HandshakeFailure::ALL.map(|failure| {
                let of = |shard: &Shard| {
                    shard.failures.get(failure as usize).map_or(0, |count| count.load(Relaxed))
                };
                (failure, self.shards.iter().map(of).sum())
            }),
            certificate_end,
        })
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

/// What a listener's TLS came to up to one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsTotals {
    /// Handshakes from nothing.
    pub full: u64,
    /// Handshakes from an earlier session.
    pub resumed: u64,
    /// Handshakes that came to nothing, by reason.
    pub failures: [(HandshakeFailure, u64); HandshakeFailure::ALL.len()],
    /// When the first of the certificates ends, in seconds of Unix time.
    pub certificate_end: u64,
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

    #[test]
    fn handshakes_are_told_once_there_is_a_certificate() {
        let listener = ListenerStats::new("web", 2);
        assert_eq!(listener.tls(), None);
        listener.certificate_ends(9);
        listener.handshake(0, false);
        listener.handshake(1, true);
        listener.handshake_failed(1, HandshakeFailure::Refused);
        let totals = listener.tls().unwrap();
        assert_eq!((totals.full, totals.resumed, totals.certificate_end), (1, 1, 9));
        let failed: Vec<_> = totals.failures.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(failed, [&(HandshakeFailure::Refused, 1)]);
    }
}
