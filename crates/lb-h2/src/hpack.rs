//! Heads as HTTP/2 compresses them: HPACK (RFC 7541).
//!
//! Fields come and go as bytes, with what is known of their names found once, when a table learns them. Nothing is allocated for a field
//! that a table holds already.

mod decoder;
mod encoder;
mod fixed;
mod huffman;

pub(crate) use decoder::{Decoder, Line};
pub(crate) use encoder::Encoder;

/// How large a dynamic table may be, on either side: what RFC 7541 §6.5.2 begins with.
pub(crate) const TABLE_SIZE: usize = 4096;
/// What an entry costs beside its bytes (RFC 7541 §4.1).
pub(crate) const ENTRY_OVERHEAD: usize = 32;

/// A block that cannot be read. Both tables are out of step then, and the connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

#[cfg(test)]
mod tests;
