//! Finds where a head ends, however many pieces it arrives in.
//!
//! Every byte is looked at once: the place reached is kept between calls, so that a head fed byte by byte
//! costs as much in sum as one that comes whole. Line ends and limits are judged here, in the order of the
//! bytes, so that the verdict does not depend on how they were cut into packets.

use std::ops::ControlFlow;

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;

use crate::error::{HeadError, RequestError};
use crate::limits::HeadLimits;

/// How many line ends are kept without allocating: more than a browser's head has.
const INLINE_LINES: usize = 32;

/// How far a section has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    /// It ends at this offset, behind its empty line.
    Complete(usize),
    /// More bytes are needed.
    Incomplete,
    /// Its first line is past the limit for that.
    FirstLineTooLong,
    Broken(HeadError),
}

/// What is known about a head that has not arrived whole. Start with the default, hand the same one in
/// until the head is there; it is then ready for the next message. About 170 bytes, and nothing on the
/// heap unless a head has more than 32 lines.
#[derive(Debug, Default)]
pub struct ParseState {
    /// Offsets of the LF of each line seen so far.
    lines: SmallVec<[u32; INLINE_LINES]>,
    /// How much has been looked at.
    scanned: usize,
    /// Where the line begins that has no end yet.
    line_start: usize,
    empty_lines: u8,
    /// Whether the first line was read and found good.
    pub(crate) first_line_checked: bool,
}

impl ParseState {
    /// Whether no byte of a message has been seen: the connection is idle, not in the middle of a head.
    pub fn is_idle(&self) -> bool {
        self.scanned == 0 && self.empty_lines == 0
    }

    /// The line ends found: one LF offset a line, the empty line left out.
    pub(crate) fn lines(&self) -> &[u32] {
        &self.lines
    }

    pub(crate) fn reset(&mut self) {
        // In place, so that a spilled list is used again for the next head of the connection.
        self.lines.clear();
        self.scanned = 0;
        self.line_start = 0;
        self.empty_lines = 0;
        self.first_line_checked = false;
    }

    /// Drops empty lines ahead of a request (RFC 9112 section 2.2). False while more bytes are needed.
    #[inline]
    pub(crate) fn skip_empty_lines(&mut self, buf: &mut BytesMut, limit: u8) -> Result<bool, RequestError> {
        match buf.first() {
            None => Ok(false),
            Some(b'\r' | b'\n') => self.skip_empty_lines_slowly(buf, limit),
            Some(_) => Ok(true),
        }
    }

    #[cold]
    fn skip_empty_lines_slowly(&mut self, buf: &mut BytesMut, limit: u8) -> Result<bool, RequestError> {
        loop {
            match buf.as_ref() {
                [] | [b'\r'] => return Ok(false),
                [b'\r', b'\n', ..] => {
                    if self.empty_lines >= limit {
                        return Err(RequestError::EmptyLines { limit });
                    }
                    self.empty_lines += 1;
                    buf.advance(2);
                }
                [b'\r', ..] => return Err(RequestError::BareCarriageReturn),
                [b'\n', ..] => return Err(HeadError::BareLineFeed.into()),
                _ => return Ok(true),
            }
        }
    }

    /// Looks at what is new in `buf`. `lines_ahead` of the section's lines are no fields.
    #[inline]
    pub(crate) fn scan(&mut self, buf: &[u8], limits: &HeadLimits, lines_ahead: usize) -> Scanned {
        let window = buf.get(..limits.max_head_bytes).unwrap_or(buf);
        let unseen = window.get(self.scanned..).unwrap_or_default();
        let first_line_end =
            if lines_ahead == 0 { usize::MAX } else { limits.max_line_bytes.saturating_add(1) };
        let max_lines = limits.max_fields.saturating_add(lines_ahead);
        let base = self.scanned;
        let stopped = each_line_feed(unseen, |found| {
            let line_feed = base + found;
            if self.lines.is_empty() && line_feed > first_line_end {
                return ControlFlow::Break(Scanned::FirstLineTooLong);
            }
            if line_feed == self.line_start || buf.get(line_feed - 1) != Some(&b'\r') {
                return ControlFlow::Break(Scanned::Broken(HeadError::BareLineFeed));
            }
            if line_feed == self.line_start + 1 && self.lines.len() >= lines_ahead {
                return ControlFlow::Break(Scanned::Complete(line_feed + 1));
            }
            if self.lines.len() >= max_lines {
                let limit = limits.max_fields;
                return ControlFlow::Break(Scanned::Broken(HeadError::TooManyFields { limit }));
            }
            self.lines.push(keep(line_feed));
            self.line_start = line_feed + 1;
            ControlFlow::Continue(())
        });
        if let ControlFlow::Break(outcome) = stopped {
            return outcome;
        }
        self.scanned = window.len();
        if self.lines.is_empty() && window.len() > first_line_end {
            Scanned::FirstLineTooLong
        } else if window.len() >= limits.max_head_bytes {
            Scanned::Broken(HeadError::TooLarge { limit: limits.max_head_bytes })
        } else {
            Scanned::Incomplete
        }
    }
}

/// Calls `visit` with the offset of each LF until it breaks. Line ends are too close together in a head
/// for a search that is called anew for each of them to pay.
#[inline]
fn each_line_feed<B>(bytes: &[u8], mut visit: impl FnMut(usize) -> ControlFlow<B>) -> ControlFlow<B> {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut offset = 0;
    for block in blocks {
        // Without an early exit, so that this becomes vector instructions; half the blocks are done with it.
        if block.iter().fold(false, |any, &byte| any | (byte == b'\n')) {
            let mut word_offset = offset;
            for word in block.as_chunks::<8>().0 {
                let mut found = places_of(b'\n', *word);
                while found != 0 {
                    visit(word_offset + (found.trailing_zeros() / 8) as usize)?;
                    found &= found - 1;
                }
                word_offset += 8;
            }
        }
        offset += 32;
    }
    for (index, &byte) in rest.iter().enumerate() {
        if byte == b'\n' {
            visit(offset + index)?;
        }
    }
    ControlFlow::Continue(())
}

/// Where `byte` stands first. For short searches, where a call of `memchr` costs more than it saves.
#[inline]
pub(crate) fn find_near(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut offset = 0;
    for word in words {
        let found = places_of(byte, *word);
        if found != 0 {
            return Some(offset + (found.trailing_zeros() / 8) as usize);
        }
        offset += 8;
    }
    rest.iter().position(|&other| other == byte).map(|index| offset + index)
}

/// The top bit of each byte of `word` that is `byte`, the first of them in the lowest place.
#[inline]
fn places_of(byte: u8, word: [u8; 8]) -> u64 {
    const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; 8]);
    let zero_where_found = u64::from_le_bytes(word) ^ u64::from_ne_bytes([byte; 8]);
    // No byte carries into the next, so that this holds for each on its own.
    !(((zero_where_found & LOW_BITS) + LOW_BITS) | zero_where_found | LOW_BITS)
}

/// The line that ends with this LF, the first of the buffer.
#[inline]
pub(crate) fn line_before(buf: &[u8], line_feed: u32) -> &[u8] {
    offset(line_feed).checked_sub(1).and_then(|end| buf.get(..end)).unwrap_or_default()
}

/// An offset in half the space. Heads are bounded far below 4 GiB.
#[inline]
pub(crate) fn keep(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// An offset that was kept, back as an index.
#[inline]
pub(crate) fn offset(kept: u32) -> usize {
    usize::try_from(kept).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> HeadLimits {
        HeadLimits { max_head_bytes: 40, max_line_bytes: 10, max_fields: 2, max_empty_lines: 1 }
    }

    /// Feeds `text` whole and byte by byte and gives the one verdict.
    fn scan(text: &[u8], lines_ahead: usize) -> Scanned {
        let whole = ParseState::default().scan(text, &limits(), lines_ahead);
        let mut state = ParseState::default();
        let mut piecewise = Scanned::Incomplete;
        for end in 1..=text.len() {
            piecewise = state.scan(&text[..end], &limits(), lines_ahead);
            if piecewise != Scanned::Incomplete {
                break;
            }
        }
        assert_eq!(whole, piecewise, "{}", text.escape_ascii());
        whole
    }

    #[test]
    fn a_section_ends_behind_its_empty_line() {
        assert_eq!(scan(b"\r\nrest", 0), Scanned::Complete(2));
        assert_eq!(scan(b"a: b\r\n\r\nrest", 0), Scanned::Complete(8));
        assert_eq!(scan(b"a: b\r\n", 0), Scanned::Incomplete);
        assert_eq!(scan(b"a: b\r\n\r", 0), Scanned::Incomplete);
        assert_eq!(scan(b"first\r\na: b\r\n\r\nrest", 1), Scanned::Complete(15));
        assert_eq!(scan(b"\r\n\r\n", 1), Scanned::Complete(4), "an empty first line is not the end");
    }

    #[test]
    fn a_line_feed_alone_is_refused_wherever_it_stands() {
        for text in [&b"\n"[..], b"a: b\n", b"a: b\r\n\n", b"a: b\r\n\n\r\n", b"a: b\n\r\n"] {
            assert_eq!(scan(text, 0), Scanned::Broken(HeadError::BareLineFeed), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let too_large = Scanned::Broken(HeadError::TooLarge { limit: 40 });
        let exact = format!("a: {}\r\n\r\n", "x".repeat(33));
        assert_eq!(scan(exact.as_bytes(), 0), Scanned::Complete(40));
        let over = format!("a: {}\r\n\r\n", "x".repeat(34));
        assert_eq!(scan(over.as_bytes(), 0), too_large);
        assert_eq!(scan(&[b'x'; 100], 0), too_large);
        assert_eq!(scan(b"a:\r\nb:\r\n\r\n", 0), Scanned::Complete(10));
        assert_eq!(scan(b"a:\r\nb:\r\nc:\r\n", 0), Scanned::Broken(HeadError::TooManyFields { limit: 2 }));
        assert_eq!(scan(b"0123456789\r\n\r\n", 1), Scanned::Complete(14));
        assert_eq!(scan(b"0123456789x\r\n\r\n", 1), Scanned::FirstLineTooLong);
        assert_eq!(scan(b"0123456789xyz", 1), Scanned::FirstLineTooLong);
    }

    #[test]
    fn line_feeds_are_found_at_every_place_among_bytes_like_them() {
        for filler in [b'\r', 0x0b, 0x09, 0x8a, 0xff, 0] {
            for at in 0..80 {
                let mut bytes = [filler; 80];
                bytes[at] = b'\n';
                let found = each_line_feed(&bytes, ControlFlow::Break);
                assert_eq!(found, ControlFlow::Break(at), "{filler} {at}");
                assert_eq!(find_near(b'\n', &bytes), Some(at), "{filler} {at}");
            }
        }
    }
}
