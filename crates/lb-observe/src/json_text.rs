//! JSON written straight into an output buffer, safe to show in a terminal.
//!
//! For lines that are written by the ten thousand a second: no tree of values, no formatter, and texts that need no
//! escaping, which are most, are found by the word and copied whole.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

/// Bytes that are looked at together, where a text is long.
const STRIDE: usize = 32;

/// Appends a JSON string.
///
/// More is escaped than JSON demands: the C1 controls and DEL, with which a client could move a terminal's cursor,
/// and the line separators that some readers of logs take for the end of a line.
///
/// ```
/// let mut out = Vec::new();
/// lb_observe::json_text::push_string(&mut out, "a \"b\"\r\n");
/// assert_eq!(out, br#""a \"b\"\r\n""#);
/// ```
pub fn push_string(out: &mut Vec<u8>, value: &str) {
    out.reserve(value.len() + 2);
    out.push(b'"');
    push_escaped(out, value);
    out.push(b'"');
}

/// Appends bytes of a head as a JSON string, which they are by [`text`].
pub fn push_text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let plain = plain_len(bytes);
    if plain == bytes.len() {
        out.extend_from_slice(bytes);
    } else {
        push_escaped(out, &text(bytes));
    }
    out.push(b'"');
}

/// Bytes of a head as text: UTF-8 where they are, else a character a byte (ISO 8859-1, RFC 9110 section 5.5).
#[must_use]
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().copied().map(char::from).collect()),
    }
}

/// Appends what stands between the quotes of a JSON string.
pub fn push_escaped(out: &mut Vec<u8>, value: &str) {
    let mut rest = value;
    loop {
        // What is plain is ASCII, so it ends where a character begins.
        let Some((plain, other)) = rest.split_at_checked(plain_len(rest.as_bytes())) else { return };
        out.extend_from_slice(plain.as_bytes());
        let mut characters = other.chars();
        let Some(character) = characters.next() else { return };
        rest = characters.as_str();
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                let _never_fails = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Appends a number.
pub fn push_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a duration in milliseconds, to the microsecond.
pub fn push_milliseconds(out: &mut Vec<u8>, duration: Duration) {
    push_number(out, duration.as_secs() * 1_000 + u64::from(duration.subsec_millis()));
    let [a, b, c] = thousandths(duration.subsec_micros() % 1_000);
    out.extend_from_slice(&[b'.', a, b, c]);
}

/// Appends an address, as a JSON string.
pub fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            out.push(b'"');
            for (octet, end) in [(a, b'.'), (b, b'.'), (c, b'.'), (d, b'"')] {
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                out.push(end);
            }
        }
        IpAddr::V6(address) => {
            let _never_fails = write!(out, "\"{address}\"");
        }
    }
}

/// Writes moments as RFC 3339 has them, UTC, and works out the calendar only once a second.
#[derive(Debug, Default)]
pub struct Clock {
    second: u64,
    written: String,
}

impl Clock {
    /// Appends a moment to the millisecond, without quotes.
    pub fn push_to_the_millisecond(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = self.push_second(out, time);
        let [a, b, c] = thousandths(since.subsec_millis());
        out.extend_from_slice(&[b'.', a, b, c, b'Z']);
    }

    /// Appends a moment to the microsecond, without quotes.
    pub fn push_to_the_microsecond(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = self.push_second(out, time);
        let [a, b, c] = thousandths(since.subsec_millis());
        let [d, e, f] = thousandths(since.subsec_micros() % 1_000);
        out.extend_from_slice(&[b'.', a, b, c, d, e, f, b'Z']);
    }

    fn push_second(&mut self, out: &mut Vec<u8>, time: SystemTime) -> Duration {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.written.is_empty() {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            // "2023-12-07T10:30:45Z" without its last letter.
            self.written = second.unwrap_or_default().to_string();
            self.written.pop();
        }
        out.extend_from_slice(self.written.as_bytes());
        since
    }
}

/// Three digits.
fn thousandths(value: u32) -> [u8; 3] {
    [value / 100, value / 10, value]
        .map(|digit| b"0123456789".get((digit % 10) as usize).map_or(b'0', |digit| *digit))
}

/// How many bytes from the start need no escaping and are ASCII.
fn plain_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Without a way out of it, the inner loop is one over vectors.
    while let Some((stride, after)) = rest.split_first_chunk::<STRIDE>()
        && stride.iter().fold(0, |special, byte| special | u8::from(!is_plain(*byte))) == 0
    {
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk()
        && is_plain_word(u64::from_le_bytes(*word))
    {
        rest = after;
    }
    let plain = rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + plain
}

fn is_plain(byte: u8) -> bool {
    (byte.wrapping_sub(b' ') < b'\x7f' - b' ') & (byte != b'"') & (byte != b'\\')
}

/// The same of eight bytes at once.
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // The high bit of some byte is set where one is zero; borrows do not matter, since they begin at one that is.
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let has = |byte: u8| has_zero(word ^ (ONES * u64::from(byte)));
    let is_control = word.wrapping_sub(ONES * u64::from(b' ')) & !word;
    (word | is_control | has(b'"') | has(b'\\') | has(b'\x7f')) & HIGH == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(value: &str) -> String {
        let mut out = Vec::new();
        push_string(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn control_characters_never_reach_the_log() {
        assert_eq!(string("a\"b\\c\n\x1b[2J\u{9b}\u{2028}é"), "\"a\\\"b\\\\c\\n\\u001b[2J\\u009b\\u2028é\"");
    }

    #[test]
    fn bytes_are_read_as_utf_8_or_else_one_by_one() {
        for (bytes, expected) in [
            (&b"plain"[..], "\"plain\""),
            (b"a\"b", "\"a\\\"b\""),
            ("caf\u{e9} \u{2028}".as_bytes(), "\"caf\u{e9} \\u2028\""),
            (b"caf\xe9\x9b", "\"caf\u{e9}\\u009b\""),
        ] {
            let mut out = Vec::new();
            push_text(&mut out, bytes);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn every_byte_is_judged_alike_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            let is_plain = (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for length in [1, 7, 8, 9, 31, 32, 33, 64, 75] {
                for place in 0..length {
                    let mut text = vec![b'x'; length];
                    text[place] = byte;
                    let expected = if is_plain { length } else { place };
                    assert_eq!(plain_len(&text), expected, "{byte:#x} at {place} of {length}");
                }
            }
        }
    }

    #[test]
    fn moments_are_written_right_within_and_across_seconds() {
        let mut clock = Clock::default();
        for (us, written) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (7_001, "1970-01-01T00:00:00.007001Z"),
            (1_701_945_045_999_999, "2023-12-07T10:30:45.999999Z"),
            (1_701_945_046_000_000, "2023-12-07T10:30:46.000000Z"),
            (951_782_400_050_010, "2000-02-29T00:00:00.050010Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(us);
            let (mut millis, mut micros) = (Vec::new(), Vec::new());
            clock.push_to_the_millisecond(&mut millis, time);
            clock.push_to_the_microsecond(&mut micros, time);
            assert_eq!(String::from_utf8(micros).unwrap(), written);
            assert_eq!(String::from_utf8(millis).unwrap(), format!("{}Z", &written[..23]));
        }
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for address in ["0.0.0.0", "192.0.2.7", "255.255.255.255", "::1", "2001:db8::7", "::ffff:192.0.2.1"] {
            let mut out = Vec::new();
            push_address(&mut out, address.parse().unwrap());
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{address}\""));
        }
    }

    #[test]
    fn durations_are_written_to_the_microsecond() {
        for (duration, written) in [
            (Duration::ZERO, "0.000"),
            (Duration::from_nanos(45_067_999), "45.067"),
            (Duration::from_micros(3_000_010), "3000.010"),
        ] {
            let mut out = Vec::new();
            push_milliseconds(&mut out, duration);
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(value in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&value)).unwrap(), value);
        }
    }
}
