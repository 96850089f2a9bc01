//! Percent-encoding by the byte (RFC 3986 §2.1), for comparing and rewriting without allocating.

/// Whether the byte is `unreserved` (RFC 3986 §2.3): its encoded and its plain form mean the same.
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether the byte may stand in a path segment as it is: `pchar` without `%` (RFC 3986 §3.3).
pub(crate) const fn is_segment_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

/// The byte written as `%XX`.
pub(crate) fn encoded(byte: u8) -> [char; 3] {
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 });
    ['%', digit(byte >> 4), digit(byte & 0xF)]
}

/// The byte that the two hexadecimal digits at the front of `digits` stand for.
pub(crate) fn hex_pair(digits: &[u8]) -> Option<u8> {
    let (&high, rest) = digits.split_first()?;
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(value(high)? << 4 | value(*rest.first()?)?)
}

/// The bytes of `text` after one round of decoding; what is no valid `%XX` is taken as it stands.
pub(crate) fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        if first == b'%'
            && let Some(byte) = hex_pair(tail)
        {
            rest = tail.get(2..).unwrap_or_default();
            return Some(byte);
        }
        rest = tail;
        Some(first)
    })
}
