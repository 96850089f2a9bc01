//! One line of a dump.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// One exchange, with every field that Servex documents and those its analyses ask for.
///
/// ```
/// let entry = lb_dump::Entry { method: "GET".into(), path: "/users".into(), status_code: 200, ..Default::default() };
/// let line = serde_json::to_string(&entry)?;
/// assert!(line.contains(r#""status_code":200"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// When the request came, RFC 3339.
    pub timestamp: String,
    /// The rule that took it.
    pub rule: String,
    /// The URL of the backend that answered, as configured.
    pub backend: String,
    /// The client's address.
    pub client_ip: String,
    /// The value of `X-Request-Id`.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path as received, without its query.
    pub path: String,
    /// The Host as received.
    pub host: String,
    /// Head and body as far as kept.
    pub raw_request: String,
    /// Values by name in canonical case: `User-Agent`.
    pub request_headers: BTreeMap<String, Vec<String>>,
    /// What the client was answered.
    pub status_code: u16,
    /// The same as `duration_ms` with its unit, so that `sort -n` sorts: `15ms`.
    pub duration: String,
    /// From the request's first byte to the answer's last, in milliseconds.
    pub duration_ms: f64,
    /// Values by name in canonical case.
    pub response_headers: BTreeMap<String, Vec<String>>,
    /// Head and body as far as kept.
    pub raw_response: String,
    /// Whether the request body was longer than what is kept of it.
    pub request_truncated: bool,
    /// Whether the response body was longer than what is kept of it.
    pub response_truncated: bool,
    /// The request body as far as kept, in base64, where it is no text and so not part of `raw_request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_body_base64: Option<String>,
    /// As for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body_base64: Option<String>,
    /// The request body was left out, since what is to be hidden in it could not be found for certain.
    #[serde(skip_serializing_if = "is_false")]
    pub request_withheld: bool,
    /// As for the request.
    #[serde(skip_serializing_if = "is_false")]
    pub response_withheld: bool,
    /// Attempts at backends.
    pub attempts: u32,
    /// Either side broke off before the answer was complete.
    #[serde(skip_serializing_if = "is_false")]
    pub aborted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Entry {
    /// Sets both forms of the duration.
    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Self {
        (self.duration, self.duration_ms) = written_duration(duration);
        self
    }

    /// The target as received, with its query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.raw_request.split(' ').nth(1).filter(|target| !target.is_empty()).unwrap_or(&self.path)
    }

    /// The request body as far as kept.
    #[must_use]
    pub fn request_body(&self) -> Cow<'_, [u8]> {
        body(&self.raw_request, self.request_body_base64.as_deref())
    }

    /// The response body as far as kept.
    #[must_use]
    pub fn response_body(&self) -> Cow<'_, [u8]> {
        body(&self.raw_response, self.response_body_base64.as_deref())
    }
}

fn body<'a>(raw: &'a str, base64: Option<&str>) -> Cow<'a, [u8]> {
    match base64.map(|text| BASE64.decode(text)) {
        Some(Ok(bytes)) => Cow::Owned(bytes),
        _ => Cow::Borrowed(raw.split_once("\r\n\r\n").map_or("", |(_, body)| body).as_bytes()),
    }
}

/// With its unit in whole milliseconds, and as a number to the microsecond.
fn written_duration(duration: Duration) -> (String, f64) {
    let milliseconds = (duration.as_secs_f64() * 1e6).round() / 1e3;
    (format!("{}ms", milliseconds.round()), milliseconds)
}

/// A field name as people write it: each word's first letter large, the others small (`x-request-id` is `X-Request-Id`).
#[must_use]
pub fn canonical_name(name: &str) -> String {
    let mut bytes = name.as_bytes().to_vec();
    make_canonical(&mut bytes);
    // Letters of ASCII alone change, so it stays text.
    String::from_utf8(bytes).unwrap_or_default()
}

/// The same of its bytes.
pub(crate) fn make_canonical(name: &mut [u8]) {
    let mut begins_word = true;
    for letter in name {
        *letter = if begins_word { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        begins_word = *letter == b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_people_write_them() {
        for (name, canonical) in [("user-agent", "User-Agent"), ("ETAG", "Etag"), ("x", "X"), ("", "")] {
            assert_eq!(canonical_name(name), canonical);
        }
    }

    #[test]
    fn a_duration_sorts_by_number_and_keeps_its_fraction_beside() {
        let entry = Entry::default().lasting(Duration::from_micros(15_250));
        assert_eq!((entry.duration.as_str(), entry.duration_ms), ("15ms", 15.25));
    }

    #[test]
    fn an_older_line_with_fewer_fields_is_read() {
        let entry: Entry = serde_json::from_str(r#"{"rule":"api","status_code":404}"#).unwrap();
        assert_eq!((entry.rule.as_str(), entry.status_code), ("api", 404));
    }
}
