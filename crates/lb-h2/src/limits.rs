//! What one HTTP/2 connection may ask for.

use std::num::NonZeroU32;
use std::time::Duration;

/// Bounds on an HTTP/2 connection.
///
/// What waits here of a client's bodies for backends to take it is bounded by these: each stream's begins with 64 KiB (what a client takes
/// for granted before it has read of anything else), and while they are read they may grow to `stream_window` each, by `connection_window`
/// in all. So a connection holds `max_streams` times 64 KiB and `connection_window` at most, which by default is 9 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams at once that the peer may open.
    pub max_streams: u32,
    /// Bytes of one stream's body that may be under way to us, or wait here for its backend.
    pub stream_window: u32,
    /// Bytes of all streams' bodies together that may be under way to us; and by how much their windows may be more than what they begin
    /// with, all together.
    pub connection_window: u32,
    /// The largest frame that is taken (16 KiB to 16 MiB less one).
    pub max_frame_size: u32,
    /// Streams that a client may reset within a minute; beyond that it is told to calm down.
    pub max_resets: u32,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            max_streams: 128,
            stream_window: 256 << 10,
            connection_window: 1 << 20,
            max_frame_size: 16 << 10,
            max_resets: 500,
        }
    }
}

/// Bounds on an HTTP/2 connection to a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendLimits {
    /// Streams at once on one connection; `None` for as many as the backend takes.
    pub max_streams: Option<NonZeroU32>,
    /// Bytes of one stream's body that may be under way to us, or wait here for its client.
    pub stream_window: u32,
    /// Bytes of all streams' bodies together that may be under way to us; what has come counts no more.
    pub connection_window: u32,
    /// The largest frame that is taken (16 KiB to 16 MiB less one).
    pub max_frame_size: u32,
    /// Bytes of an answer's head, fields counted as RFC 9113 §6.5.2 has it.
    pub max_header_bytes: u32,
    /// Whether a backend that is silent is asked for a sign of life.
    pub pings: Option<Pings>,
}

/// When a silent peer is asked for a sign of life, and for how long it may owe one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pings {
    /// How long nothing may come while there are streams, before it is asked.
    pub interval: Duration,
    /// How long nothing may come then, before the connection is over.
    pub timeout: Duration,
}

impl Default for Pings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(10) }
    }
}

impl Default for BackendLimits {
    fn default() -> Self {
        let Http2Limits { stream_window, connection_window, max_frame_size, .. } = Http2Limits::default();
        Self {
            max_streams: None,
            stream_window,
            connection_window,
            max_frame_size,
            max_header_bytes: 64 << 10,
            pings: Some(Pings::default()),
        }
    }
}
