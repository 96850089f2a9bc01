//! What one HTTP/2 connection may ask for.

use std::num::NonZeroU32;
use std::time::Duration;

/// Bounds on an HTTP/2 connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Limits {
    /// Streams at once that the peer may open.
    pub max_streams: u32,
    /// Bytes of one stream's body that may be under way to us.
    pub stream_window: u32,
    /// Bytes of all streams' bodies together that may be under way to us.
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
    /// Bytes of one stream's body that may be under way to us.
    pub stream_window: u32,
    /// Bytes of all streams' bodies together that may be under way to us.
    pub connection_window: u32,
    /// The largest frame that is taken (16 KiB to 16 MiB less one).
    pub max_frame_size: u32,
    /// Bytes of an answer's head, fields counted as RFC 9113 §6.5.2 has it.
    pub max_header_bytes: u32,
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
        }
    }
}

/// Streams reset by us for a peer's errors that are borne, and how many whose end has not been noticed are remembered.
const LOCAL_RESETS: usize = 200;
const REMEMBERED_RESETS: usize = 50;
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// Streams that were reset before they could be looked at.
const EARLY_RESETS: usize = 20;
/// So many times the largest head that is served, a head is read: what `h2` refuses itself has a bare 431 for an answer, and is not told.
const HEADS_READ: usize = 2;
/// What a field counts beyond its bytes, where a head of HTTP/1.1 has four (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32 - 4;
/// Bytes of a stream's answer that may wait for the peer's window.
const SEND_BUFFER: usize = 64 << 10;

impl Http2Limits {
    /// A server's side of connections with these bounds; `max_header_bytes` is that of a head, fields counted as RFC 9113
    /// §6.5.2 has it. Somewhat longer ones come through, too: [`head_size`] tells, and whoever serves the stream can say so.
    #[must_use]
    pub fn server(&self, max_header_bytes: usize) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder
            .max_concurrent_streams(self.max_streams)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(
                u32::try_from(max_header_bytes.saturating_mul(HEADS_READ)).unwrap_or(u32::MAX),
            )
            .max_send_buffer_size(SEND_BUFFER)
            .enable_connect_protocol()
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(Some(LOCAL_RESETS))
            .max_pending_accept_reset_streams(EARLY_RESETS);
        builder
    }
}

/// What a head of so many bytes and fields counts: as RFC 9113 §6.5.2 has it, but for crumbs of cookies, eight bytes less each.
#[must_use]
pub fn head_size(bytes: usize, fields: usize) -> usize {
    bytes + fields * FIELD_OVERHEAD
}

impl BackendLimits {
    /// A client's side of connections with these bounds, but for `max_streams`, which whoever opens them has to keep.
    #[must_use]
    pub fn client(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(self.max_header_bytes)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(Some(LOCAL_RESETS));
        builder
    }
}
