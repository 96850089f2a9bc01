//! An entry as the curl command that asks the same again.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{fields, url};
use crate::entry::Entry;
use crate::redact::HIDDEN;

/// Fields that curl writes by itself, or that were about the connection.
const CURLS_OWN: [&str; 6] =
    ["content-length", "transfer-encoding", "connection", "keep-alive", "expect", "te"];

/// The command, in a POSIX shell's words; what of the request is not to be had is said in comments above it.
///
/// ```
/// let entry = lb_dump::Entry {
///     method: "GET".into(),
///     host: "api.example".into(),
///     raw_request: "GET /it's HTTP/1.1\r\nHost: api.example\r\nAccept: */*\r\n\r\n".into(),
///     ..Default::default()
/// };
/// let line = lb_dump::export::curl::command(&entry, None);
/// assert_eq!(line, r"curl -X GET -H 'Host: api.example' -H 'Accept: */*' 'http://api.example/it'\''s'");
/// ```
#[must_use]
pub fn command(entry: &Entry, base: Option<&str>) -> String {
    let mut notes = String::new();
    let mut command = match entry.method.as_str() {
        "HEAD" => "curl --head".to_owned(),
        method => format!("curl -X {}", word(method)),
    };
    for (name, value) in fields(&entry.raw_request) {
        if value == HIDDEN {
            let _ = writeln!(notes, "# left out, as it was redacted: {name}");
        } else if !CURLS_OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let field = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            let _ = write!(command, " -H {}", word(&field));
        }
    }
    if entry.request_withheld {
        notes.push_str("# left out, as it could not be redacted for certain: the body\n");
    } else if entry.request_truncated {
        notes.push_str("# the body is cut where the dump's limit was\n");
    }
    let body = entry.request_body();
    let mut before = String::new();
    if !body.is_empty() {
        match std::str::from_utf8(&body) {
            Ok(text) if !text.contains('\0') => {
                // With the other option curl reads a file where the text begins with @.
                let _ = write!(command, " --data-raw {}", word(text));
            }
            _ => {
                before = format!("printf %s {} | base64 -d | ", word(&BASE64.encode(&body)));
                command.push_str(" --data-binary @-");
            }
        }
        if !fields(&entry.raw_request).any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            // Else curl would call it a form.
            command.push_str(" -H 'Content-Type:'");
        }
    }
    format!("{notes}{before}{command} {}", word(&url(entry, base)))
}

/// A shell word that stands for exactly this text.
fn word(text: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
