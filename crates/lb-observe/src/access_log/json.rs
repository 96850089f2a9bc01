//! JSON written straight into the output buffer, safe to show in a terminal.

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// An object on one line, being written.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Line<'a> {
    pub(super) fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    pub(super) fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        push_string(self.out, value);
    }

    /// A string of which it is known that nothing in it has to be escaped.
    pub(super) fn safe_text(&mut self, key: &str, value: impl Display) {
        self.key(key);
        let _never_fails = write!(self.out, "\"{value}\"");
    }

    /// `null`, `true` or `false`.
    pub(super) fn literal(&mut self, key: &str, value: Option<bool>) {
        self.key(key);
        self.out.extend_from_slice(match value {
            None => b"null",
            Some(true) => b"true",
            Some(false) => b"false",
        });
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_number(self.out, value);
    }

    /// A duration in milliseconds, to the microsecond.
    pub(super) fn milliseconds(&mut self, key: &str, duration: Duration) {
        self.number(key, duration.as_secs() * 1_000 + u64::from(duration.subsec_millis()));
        self.out.push(b'.');
        push_thousandths(self.out, duration.subsec_micros() % 1_000);
    }

    /// A moment as RFC 3339 has it, UTC, to the millisecond.
    pub(super) fn time(&mut self, key: &str, time: SystemTime, clock: &mut Clock) {
        self.key(key);
        clock.write(self.out, time);
    }

    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(if self.empty { b"\"" } else { b",\"" });
        self.empty = false;
        // Keys are our own names: nothing in them to escape.
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

/// Writes moments, and works out the calendar only once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    written: String,
}

impl Clock {
    fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.written.is_empty() {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
            // "2023-12-07T10:30:45Z" without its last letter.
            self.written = second.unwrap_or_default().to_string();
            self.written.pop();
        }
        out.push(b'"');
        out.extend_from_slice(self.written.as_bytes());
        out.push(b'.');
        push_thousandths(out, since.subsec_millis());
        out.extend_from_slice(b"Z\"");
    }
}

fn push_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Three digits.
fn push_thousandths(out: &mut Vec<u8>, value: u32) {
    for digit in [value / 100 % 10, value / 10 % 10, value % 10] {
        out.extend(char::from_digit(digit, 10).map(|digit| digit as u8));
    }
}

/// Appends a JSON string.
///
/// More is escaped than JSON demands: the C1 controls and DEL, with which a client could move a terminal's cursor,
/// and the line separators that some readers of logs take for the end of a line.
fn push_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    if value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(value.as_bytes());
    } else {
        push_escaped(out, value);
    }
    out.push(b'"');
}

fn push_escaped(out: &mut Vec<u8>, value: &str) {
    let mut plain_from = 0;
    for (index, character) in value.char_indices() {
        let escape = match character {
            '"' | '\\' => format_args!("\\{character}"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                format_args!("\\u{:04x}", character as u32)
            }
            _ => continue,
        };
        out.extend_from_slice(value.get(plain_from..index).unwrap_or("").as_bytes());
        let _never_fails = write!(out, "{escape}");
        plain_from = index + character.len_utf8();
    }
    out.extend_from_slice(value.get(plain_from..).unwrap_or("").as_bytes());
}

/// The longest part of a text, from its start, that takes at most so many bytes.
pub(super) fn clipped(text: &str, max_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(max_bytes)).unwrap_or(text)
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
        assert_eq!(
            string("a\"b\\c\n\x1b[2J\u{9b}\u{2028}é"),
            "\"a\\\"b\\\\c\\u000a\\u001b[2J\\u009b\\u2028é\""
        );
    }

    #[test]
    fn clipping_never_cuts_a_character() {
        assert_eq!(clipped("aé", 2), "a");
        assert_eq!(clipped("aé", 3), "aé");
    }

    #[test]
    fn moments_are_written_right_within_and_across_seconds() {
        let mut clock = Clock::default();
        for (ms, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (7, "1970-01-01T00:00:00.007Z"),
            (1_701_945_045_999, "2023-12-07T10:30:45.999Z"),
            (1_701_945_046_000, "2023-12-07T10:30:46.000Z"),
            (951_782_400_050, "2000-02-29T00:00:00.050Z"),
        ] {
            let mut out = Vec::new();
            clock.write(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{written}\""));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(value in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&value)).unwrap(), value);
        }
    }
}
