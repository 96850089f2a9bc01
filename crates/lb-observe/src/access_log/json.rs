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

    /// A number, a boolean or anything else that stands for itself in JSON.
    pub(super) fn plain(&mut self, key: &str, value: impl Display) {
        self.key(key);
        push(self.out, value);
    }

    /// A duration in milliseconds, to the microsecond.
    pub(super) fn milliseconds(&mut self, key: &str, duration: Duration) {
        let micros = duration.as_micros();
        self.plain(key, format_args!("{}.{:03}", micros / 1_000, micros % 1_000));
    }

    /// A moment as RFC 3339 has it, UTC, to the millisecond.
    pub(super) fn time(&mut self, key: &str, time: SystemTime) {
        let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        self.plain(key, format_args!("\"{time:.3}\""));
    }

    fn key(&mut self, key: &str) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        // Keys are our own names: nothing in them to escape.
        push(self.out, format_args!("\"{key}\":"));
    }
}

fn push(out: &mut Vec<u8>, value: impl Display) {
    let _never_fails = write!(out, "{value}");
}

/// Appends a JSON string.
///
/// More is escaped than JSON demands: the C1 controls and DEL, with which a client could move a terminal's cursor,
/// and the line separators that some readers of logs take for the end of a line.
fn push_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
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
        push(out, escape);
        plain_from = index + character.len_utf8();
    }
    out.extend_from_slice(value.get(plain_from..).unwrap_or("").as_bytes());
    out.push(b'"');
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

    proptest! {
        #[test]
        fn any_text_is_read_back_as_it_was(value in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&string(&value)).unwrap(), value);
        }
    }
}
