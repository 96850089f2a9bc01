//! What stands around the data of a chunked body.

use bytes::BytesMut;
use http::HeaderMap;

use super::write_fields;
use crate::names::{Kind, KnownName};

/// Behind the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Behind the last chunk of a body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The line ahead of a chunk, on the stack.
#[derive(Debug, Clone, Copy)]
pub struct ChunkHead {
    bytes: [u8; 18],
    start: usize,
}

impl AsRef<[u8]> for ChunkHead {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// The line ahead of a chunk of `size` bytes, which must not be 0: that would end the body.
///
/// ```
/// assert_eq!(lb_h1::chunk_head(0x2f00).as_ref(), b"2f00\r\n");
/// ```
pub fn chunk_head(size: usize) -> ChunkHead {
    debug_assert!(size > 0, "an empty chunk ends the body");
    let mut bytes = *b"0000000000000000\r\n";
    let mut start = "0000000000000000".len();
    let mut rest = size;
    for digit in bytes.iter_mut().rev().skip(CHUNK_END.len()) {
        *digit = b"0123456789abcdef".get(rest & 0xf).copied().unwrap_or_default();
        start -= 1;
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    ChunkHead { bytes, start }
}

/// Ends a chunked body with trailers. Fields that belong to one hop or to framing are left out.
///
/// ```
/// let mut out = bytes::BytesMut::new();
/// let mut trailers = http::HeaderMap::new();
/// trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
/// lb_h1::encode_trailers(&mut out, &trailers);
/// assert_eq!(out, "0\r\ngrpc-status: 0\r\n\r\n");
/// ```
pub fn encode_trailers(out: &mut BytesMut, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    write_fields(out, trailers);
    out.extend_from_slice(CHUNK_END);
}

/// Writes one line of a trailer section, unless it belongs to one hop or to framing. The name is one in lower case.
pub fn write_trailer(out: &mut BytesMut, known: Option<KnownName>, name: &[u8], value: &[u8]) {
    if known.is_some_and(|known| known.is_hop_by_hop() || known.0.kind == Kind::ContentLength) {
        return;
    }
    for part in [name, b": ", value, CHUNK_END] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_written_in_hexadecimal_without_leading_zeros() {
        for size in [1, 9, 10, 15, 16, 255, 256, 4096, 65_535, 1 << 40, usize::MAX] {
            assert_eq!(chunk_head(size).as_ref(), format!("{size:x}\r\n").as_bytes());
        }
    }
}
