//! What one HTTP/2 connection may ask for.

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

/// Streams reset by us for a peer's errors that are borne, and how many whose end has not been noticed are remembered.
const LOCAL_RESETS: usize = 200;
const REMEMBERED_RESETS: usize = 50;
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// Streams that were reset before they could be looked at.
const EARLY_RESETS: usize = 20;
/// Bytes of a stream's answer that may wait for the peer's window.
const SEND_BUFFER: usize = 64 << 10;

impl Http2Limits {
    /// A server's side of connections with these bounds; `max_header_bytes` is that of a head, fields counted as RFC 9113
    /// §6.5.2 has it.
    #[must_use]
    pub fn server(&self, max_header_bytes: usize) -> h2::server::Builder {
        let mut builder = h2::server::Builder::new();
        builder
            .max_concurrent_streams(self.max_streams)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(u32::try_from(max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            .enable_connect_protocol()
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(Some(LOCAL_RESETS))
            .max_pending_accept_reset_streams(EARLY_RESETS);
        builder
    }

    /// A client's side of connections to backends.
    #[must_use]
    pub fn client(&self) -> h2::client::Builder {
        let mut builder = h2::client::Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(self.stream_window)
            .initial_connection_window_size(self.connection_window)
            .max_frame_size(self.max_frame_size)
            .max_header_list_size(MAX_ANSWER_HEAD)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(Some(LOCAL_RESETS));
        builder
    }
}

/// The fields of a backend's answer, counted as RFC 9113 §6.5.2 has it.
const MAX_ANSWER_HEAD: u32 = 64 << 10;
