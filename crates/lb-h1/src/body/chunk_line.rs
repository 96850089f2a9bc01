//! The line ahead of a chunk: its size and, after `;`, extensions that nobody passes on.
//!
//! A machine of one state a byte, so that nothing has to be kept or read again when a line comes in pieces,
//! and so that a wrong byte is refused the moment it is seen.

use crate::bytes_class::is_token_byte;
use crate::error::BodyError;

/// 16 digits hold 64 bits.
const MAX_DIGITS: u8 = 16;
const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// How far the line has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size,
    /// Behind `;`, or ahead of it after a complete extension; white space is allowed by the grammar.
    BeforeName,
    Name,
    AfterName,
    BeforeValue,
    Token,
    Quoted,
    /// Behind `\` within quotes.
    Escaped,
    AfterQuoted,
    AfterValue,
    /// Behind CR.
    LineFeed,
}

#[derive(Debug)]
pub(super) struct ChunkLine {
    place: Place,
    size: u64,
    digits: u8,
    /// Over all lines of the message.
    extension_bytes: u32,
    max_extension_bytes: u32,
}

impl ChunkLine {
    pub(super) fn new(max_extension_bytes: u32) -> Self {
        Self { place: Place::Size, size: 0, digits: 0, extension_bytes: 0, max_extension_bytes }
    }

    /// Whether nothing of a line has been read.
    pub(super) fn is_fresh(&self) -> bool {
        self.place == Place::Size && self.digits == 0
    }

    /// Reads on. Gives how many bytes were used and, once the line is complete, the size of the chunk.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<u64>), BodyError> {
        for (index, &byte) in bytes.iter().enumerate() {
            let next = self.step(byte)?;
            if next == Place::Size && byte == b'\n' {
                let size = self.size;
                (self.place, self.size, self.digits) = (Place::Size, 0, 0);
                return Ok((index + 1, Some(size)));
            }
            self.place = next;
        }
        Ok((bytes.len(), None))
    }

    #[inline]
    fn step(&mut self, byte: u8) -> Result<Place, BodyError> {
        match (self.place, byte) {
            (Place::Size, b'\r') if self.digits > 0 => Ok(Place::LineFeed),
            (Place::Size, b';') if self.digits > 0 => {
                self.count_extension()?;
                Ok(Place::BeforeName)
            }
            (Place::Size, _) => self.size_digit(byte),
            (Place::LineFeed, b'\n') => Ok(Place::Size),
            (Place::LineFeed, _) if self.extension_bytes == 0 => Err(BodyError::ChunkSize),
            (Place::LineFeed, _) => Err(BodyError::ChunkExtension),
            _ => {
                self.count_extension()?;
                self.extension(byte)
            }
        }
    }

    #[inline]
    fn size_digit(&mut self, byte: u8) -> Result<Place, BodyError> {
        let digit = hex_digit(byte).ok_or(BodyError::ChunkSize)?;
        // Sixteen digits cannot overflow 64 bits, and the seventeenth is refused.
        self.digits += 1;
        self.size = self.size << 4 | digit;
        if self.digits > MAX_DIGITS || self.size > MAX_SIZE {
            return Err(BodyError::ChunkSizeOverflow);
        }
        Ok(Place::Size)
    }

    fn count_extension(&mut self) -> Result<(), BodyError> {
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        if self.extension_bytes > self.max_extension_bytes {
            return Err(BodyError::ChunkExtensionsTooLong { limit: self.max_extension_bytes });
        }
        Ok(())
    }

    /// `chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, RFC 9112 section
    /// 7.1.1. White space directly behind the size is not taken, as no sender writes it and servers differ.
    fn extension(&self, byte: u8) -> Result<Place, BodyError> {
        let white = matches!(byte, b' ' | b'\t');
        let token = is_token_byte(byte);
        Ok(match self.place {
            Place::BeforeName if white => Place::BeforeName,
            Place::BeforeName | Place::Name if token => Place::Name,
            Place::Name | Place::AfterName if white => Place::AfterName,
            Place::Name | Place::AfterName if byte == b'=' => Place::BeforeValue,
            Place::BeforeValue if white => Place::BeforeValue,
            Place::BeforeValue if byte == b'"' => Place::Quoted,
            Place::BeforeValue | Place::Token if token => Place::Token,
            Place::Quoted if byte == b'"' => Place::AfterQuoted,
            Place::Quoted if byte == b'\\' => Place::Escaped,
            Place::Quoted | Place::Escaped if is_text(byte) => Place::Quoted,
            Place::Token | Place::AfterQuoted | Place::AfterValue if white => Place::AfterValue,
            Place::Name | Place::AfterName | Place::Token | Place::AfterQuoted | Place::AfterValue
                if byte == b';' =>
            {
                Place::BeforeName
            }
            // White space ahead of the line end belongs to no rule of the grammar.
            Place::Name | Place::Token | Place::AfterQuoted if byte == b'\r' => Place::LineFeed,
            _ => return Err(BodyError::ChunkExtension),
        })
    }
}

/// What may stand within quotes: no control byte but tab.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[inline]
fn hex_digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// The size of a chunk whose whole line `SIZE CR LF` stands at the front, and the length of that line.
/// `None` for anything else, which is then for [`ChunkLine`] to judge.
pub(super) fn plain_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut size = 0;
    // Seven digits and CR: as much as any sender gathers, and far from overflowing.
    for (index, &byte) in bytes.iter().take(8).enumerate() {
        match hex_digit(byte) {
            Some(digit) => size = size << 4 | usize::try_from(digit).ok()?,
            None if index > 0 && byte == b'\r' && bytes.get(index + 1) == Some(&b'\n') => {
                return Some((size, index + 2));
            }
            None => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(line: &[u8]) -> Result<Option<u64>, BodyError> {
        let whole = ChunkLine::new(64).feed(line).map(|(_, size)| size);
        let mut machine = ChunkLine::new(64);
        let piecewise = line.iter().try_fold(None, |_, byte| Ok(machine.feed(&[*byte])?.1));
        assert_eq!(whole, piecewise, "{}", line.escape_ascii());
        whole
    }

    #[test]
    fn sizes_are_hexadecimal_digits_and_nothing_else() {
        for (line, size) in [
            ("5\r\n", 5),
            ("A\r\n", 10),
            ("fF\r\n", 255),
            ("0\r\n", 0),
            ("0000000000000005\r\n", 5),
            ("7fffffffffffffff\r\n", MAX_SIZE),
        ] {
            assert_eq!(size_of(line.as_bytes()), Ok(Some(size)), "{line:?}");
        }
        for line in [
            "\r\n",
            "+5\r\n",
            "-1\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t;a\r\n",
            "0x5\r\n",
            "1_0\r\n",
            "5\n",
            "5\r5",
            "g\r\n",
            ";a\r\n",
        ] {
            assert_eq!(size_of(line.as_bytes()), Err(BodyError::ChunkSize), "{line:?}");
        }
        for line in
            ["8000000000000000\r\n", "ffffffffffffffff\r\n", "FFFFFFFFFFFFFFFF0\r\n", "00000000000000005\r\n"]
        {
            assert_eq!(size_of(line.as_bytes()), Err(BodyError::ChunkSizeOverflow), "{line:?}");
        }
    }

    #[test]
    fn well_formed_extensions_are_read_over() {
        for line in [
            "5;a\r\n",
            "5;a=b\r\n",
            "5;a;b=c;d\r\n",
            "5; a = b ; c\r\n",
            "5;a=\"x;\\\"y\\\\\"\r\n",
            "5;a=\"\"\r\n",
            "5;a=\"\u{e9}\t\" ;b\r\n",
        ] {
            assert_eq!(size_of(line.as_bytes()), Ok(Some(5)), "{line:?}");
        }
    }

    #[test]
    fn malformed_extensions_are_refused() {
        for line in [
            "5;\r\n",
            "5;;\r\n",
            "5;a=\r\n",
            "5;=b\r\n",
            "5;a[=x\r\n",
            "5;a\n",
            "5;\n",
            "5;a\rX",
            "5;\0a\r\n",
            "5;a=\"b\r\n",
            "5;a=\"\r\n\"",
            "5;a=\"b\"c\r\n",
            "5;a b\r\n",
            "5;a=b c\r\n",
            "5;a=\"\\\r\n",
            "5;a=b\0\r\n",
            "5;a=\"\n\"\r\n",
            "5;a \r\n",
            "5;a=b \r\n",
        ] {
            assert_eq!(size_of(line.as_bytes()), Err(BodyError::ChunkExtension), "{line:?}");
        }
    }

    #[test]
    fn extensions_are_bounded_over_all_lines_together() {
        let mut machine = ChunkLine::new(64);
        let (_, size) = machine.feed(format!("1;{}\r\n", "a".repeat(31)).as_bytes()).unwrap();
        assert_eq!(size, Some(1));
        let verdict = machine.feed(format!("1;{}\r\n", "a".repeat(62)).as_bytes());
        assert_eq!(verdict, Err(BodyError::ChunkExtensionsTooLong { limit: 64 }));
    }
}
