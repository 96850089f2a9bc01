//! Event streams (HTML, "Server-sent events"): of JSON in the data of an event the values that are named by path are hidden.
//!
//! An event's data may go on over lines. Where one of them begins as JSON and is no whole value, the data of that event is hidden from there on.

use std::borrow::Cow;

use serde_json::Value;

use super::{HIDDEN, Redaction, looks_like_json};

/// A stream without what is hidden in it.
pub(super) fn redacted(redaction: &Redaction, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let (mut is_torn, mut is_after_cr) = (false, false);
    // A line ends with CR, LF or both.
    for line in body.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let is_half = std::mem::replace(&mut is_after_cr, line.ends_with(b"\r")) && line == b"\n";
        let content = line.strip_suffix(b"\n").or(line.strip_suffix(b"\r")).unwrap_or(line);
        let end = line.get(content.len()..).unwrap_or_default();
        let Some(data) = content.strip_prefix(b"data:") else {
            // An empty line ends the event.
            is_torn &= is_half || !content.is_empty();
            out.extend_from_slice(line);
            continue;
        };
        out.extend_from_slice(b"data:");
        let shown = if is_torn { None } else { shown(redaction, data) };
        is_torn = shown.is_none();
        out.extend_from_slice(&shown.unwrap_or(Cow::Borrowed(HIDDEN.as_bytes())));
        out.extend_from_slice(end);
    }
    out
}

/// One line of data; nothing where it cannot be looked into.
fn shown<'a>(redaction: &Redaction, data: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    if !looks_like_json(data) {
        return Some(Cow::Borrowed(data));
    }
    serde_json::from_slice::<Value>(data).ok().map(|value| Cow::Owned(redaction.json(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        String::from_utf8(redacted(&Redaction::parse(["$.key"]).unwrap(), body.as_bytes())).unwrap()
    }

    #[test]
    fn values_are_hidden_in_each_event_and_all_else_stands() {
        let body = "event: a\ndata: {\"key\":\"s3\",\"b\":1}\n\n: note\ndata: plain\r\n\r\ndata:[1]\n\n";
        let expected =
            "event: a\ndata:{\"key\":\"[redacted]\",\"b\":1}\n\n: note\ndata: plain\r\n\r\ndata:[1]\n\n";
        assert_eq!(shown(body), expected);
    }

    #[test]
    fn data_that_is_no_whole_value_is_hidden_to_the_end_of_its_event() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = ["data: {", "data: \"key\":", "data: 3, \"s3\"", "", "data: 4", ""];
            let shown = shown(&lines.join(end));
            assert!(!shown.contains('3') && shown.contains("data: 4"), "{shown:?}");
        }
        assert_eq!(shown("data: {\"key\":\"s3"), "data:[redacted]");
    }
}
