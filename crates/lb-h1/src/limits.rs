//! Bounds on what a peer may make us hold or read before we refuse it.

/// Bounds on a message head, or on the fields of a trailer section.
///
/// Time is bounded elsewhere: the codec has no clock.
///
/// ```
/// let limits = lb_h1::HeadLimits { max_fields: 64, ..Default::default() };
/// assert!(limits.max_line_bytes >= 8000, "RFC 9112 section 3 asks for at least 8000 octets");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLimits {
    /// The whole head, from the first byte of its first line through the empty line.
    pub max_head_bytes: usize,
    /// The request line or status line without its line end.
    pub max_line_bytes: usize,
    /// Field lines. At most 24 576 whatever is written here, which is what a header map can hold.
    pub max_fields: usize,
    /// Empty lines that are ignored ahead of a request (RFC 9112 section 2.2 asks for one).
    pub max_empty_lines: u8,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { max_head_bytes: 64 * 1024, max_line_bytes: 16 * 1024, max_fields: 128, max_empty_lines: 1 }
    }
}

/// Bounds on what surrounds the data of a body. The data itself is bounded by whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// All chunk extensions of one message together. They are dropped, so that they only cost reading.
    pub max_extension_bytes: u32,
    /// The trailer section with its empty line.
    pub max_trailer_bytes: u32,
    /// Field lines of the trailer section, those that are dropped included.
    pub max_trailer_fields: u32,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { max_extension_bytes: 16 * 1024, max_trailer_bytes: 64 * 1024, max_trailer_fields: 128 }
    }
}
