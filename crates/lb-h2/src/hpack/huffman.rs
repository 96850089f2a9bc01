//! Strings in HPACK's Huffman code (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: shorter codes come first, and those of one length in the order of their symbols. So the lengths say all, and
//! the tables here are made of them while compiling.

use super::Malformed;

/// How many bits each symbol has, the end of string (256) last.
#[rustfmt::skip]
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const SYMBOLS: usize = 257;
const END_OF_STRING: u16 = 256;
const LONGEST: usize = 30;
/// Codes of up to so many bits are found in one step: all of printable ASCII but for a few.
const FAST_BITS: usize = 10;

struct Tables {
    /// A symbol's code.
    codes: [u32; SYMBOLS],
    /// What the next bits begin with: a symbol and its length, or nothing where it is longer.
    fast: [(u8, u8); 1 << FAST_BITS],
    /// All symbols in the order of their codes.
    sorted: [u16; SYMBOLS],
    /// For each length: its first code, how many there are, and where they begin among the sorted.
    rows: [(u32, u32, u32); LONGEST + 1],
}

static TABLES: Tables = tables();

#[expect(clippy::indexing_slicing, reason = "evaluated while compiling")]
#[expect(
    clippy::cast_possible_truncation,
    reason = "no number here exceeds 257 but codes, which have 32 bits"
)]
const fn tables() -> Tables {
    let mut tables = Tables {
        codes: [0; SYMBOLS],
        fast: [(0, 0); 1 << FAST_BITS],
        sorted: [0; SYMBOLS],
        rows: [(0, 0, 0); LONGEST + 1],
    };
    let (mut code, mut length, mut place) = (0_u32, 1, 0);
    while length <= LONGEST {
        code <<= 1;
        tables.rows[length] = (code, 0, place as u32);
        let mut symbol = 0;
        while symbol < SYMBOLS {
            if LENGTHS[symbol] as usize == length {
                tables.codes[symbol] = code;
                tables.sorted[place] = symbol as u16;
                if length <= FAST_BITS {
                    let (spread, mut rest) = (1 << (FAST_BITS - length), 0);
                    while rest < spread {
                        tables.fast[code as usize * spread + rest] = (symbol as u8, length as u8);
                        rest += 1;
                    }
                }
                tables.rows[length].1 += 1;
                code += 1;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    tables
}

/// How many bytes a string has in the code.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&byte| length_of(byte)).sum();
    bits.div_ceil(8)
}

fn length_of(byte: u8) -> usize {
    usize::from(LENGTHS.get(usize::from(byte)).copied().unwrap_or_default())
}

/// Writes a string in the code.
pub(super) fn encode(text: &[u8], out: &mut Vec<u8>) {
    let (mut bits, mut count) = (0_u64, 0);
    for &byte in text {
        let code = TABLES.codes.get(usize::from(byte)).copied().unwrap_or_default();
        let length = length_of(byte);
        bits = bits << length | u64::from(code);
        count += length;
        // Seven bits that are left and the longest code have room together.
        while count >= 8 {
            count -= 8;
            out.push((bits >> count).to_le_bytes()[0]);
        }
    }
    if count > 0 {
        // Filled up with the beginning of the end of string, which is ones.
        out.push((bits << (8 - count) | 0xff >> count).to_le_bytes()[0]);
    }
}

/// Reads a string in the code to the end of `out`.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    // The next bits stand at the top.
    let (mut bits, mut count) = (0_u64, 0_usize);
    let mut rest = text.iter();
    loop {
        while count <= 56
            && let Some(&byte) = rest.next()
        {
            bits |= u64::from(byte) << (56 - count);
            count += 8;
        }
        if count < 8 && is_padding(bits, count) {
            return Ok(());
        }
        let (symbol, length) = next(bits).ok_or(Malformed)?;
        if length > count {
            return Err(Malformed);
        }
        out.push(symbol);
        bits <<= length;
        count -= length;
    }
}

/// Whether what is left is the beginning of the end of string.
fn is_padding(bits: u64, count: usize) -> bool {
    count == 0 || bits >> (64 - count) == (1 << count) - 1
}

/// The symbol that the bits begin with, and its length.
#[inline]
fn next(bits: u64) -> Option<(u8, usize)> {
    let place = usize::try_from(bits >> (64 - FAST_BITS)).unwrap_or_default();
    match TABLES.fast.get(place) {
        Some(&(symbol, length)) if length > 0 => Some((symbol, usize::from(length))),
        _ => next_long(bits),
    }
}

#[cold]
fn next_long(bits: u64) -> Option<(u8, usize)> {
    for (length, &(first, many, place)) in TABLES.rows.iter().enumerate().skip(FAST_BITS + 1) {
        let code = u32::try_from(bits >> (64 - length)).ok()?;
        if let Some(offset) = code.checked_sub(first).filter(|offset| *offset < many) {
            let symbol = *TABLES.sorted.get(usize::try_from(place + offset).ok()?)?;
            return (symbol != END_OF_STRING).then(|| (symbol.to_le_bytes()[0], length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out);
        assert_eq!(out.len(), encoded_len(text));
        out
    }

    fn read(coded: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// RFC 7541 Appendix C.4 and C.6.
    #[test]
    fn strings_are_coded_as_in_the_examples_of_rfc_7541() {
        for (text, bytes) in [
            ("www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
            ("no-cache", "a8eb10649cbf"),
            ("custom-key", "25a849e95ba97d7f"),
            ("custom-value", "25a849e95bb8e8b4bf"),
            ("302", "6402"),
            ("private", "aec3771a4b"),
            ("Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
            ("https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
        ] {
            let hex: String = coded(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, bytes, "{text}");
            assert_eq!(read(&coded(text.as_bytes())).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn every_string_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(read(&coded(&all)).as_deref(), Ok(&all[..]));
        for _ in 0..2000 {
            let text: Vec<u8> = (0..fastrand::usize(..50)).map(|_| fastrand::u8(..)).collect();
            assert_eq!(read(&coded(&text)).as_deref(), Ok(&text[..]));
        }
    }

    #[test]
    fn padding_that_is_none_is_refused() {
        // The beginning of the end of string and no more than seven bits of it (RFC 7541 §5.2).
        assert_eq!(read(&[0xff]), Err(Malformed), "eight bits");
        assert_eq!(read(&[0b0000_0000]), Err(Malformed), "zeros");
        assert_eq!(read(&[0b0000_0111]).as_deref(), Ok(&b"0"[..]));
        assert_eq!(read(&[0xff; 4]), Err(Malformed), "the end of string itself");
        for _ in 0..2000 {
            // Whatever comes, nothing but an error comes of it.
            let text: Vec<u8> = (0..fastrand::usize(..20)).map(|_| fastrand::u8(..)).collect();
            if let Ok(plain) = read(&text) {
                assert_eq!(coded(&plain), text, "there is one way to code a string");
            }
        }
    }
}
