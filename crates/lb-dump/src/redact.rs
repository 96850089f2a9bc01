//! What a dump must not tell: secrets in heads, in queries and in bodies.
//!
//! Where it is not certain that everything that is to be hidden in a body was found, the body is left out.

mod events;
mod multipart;

use std::borrow::Cow;

use lb_observe::json_text::text;
use percent_encoding::percent_decode;
use serde_json::Value;
use serde_json_path::JsonPath;

/// Stands in place of what is hidden.
pub(crate) const HIDDEN: &str = "[redacted]";

/// Fields of heads that are always hidden.
const ALWAYS: [&str; 4] = ["authorization", "cookie", "set-cookie", "proxy-authorization"];

/// What is hidden: always Authorization, Cookie, Set-Cookie and Proxy-Authorization, and what is named besides.
///
/// ```
/// let redaction = lb_dump::Redaction::parse(["X-Api-Key", "$.password"])?;
/// # Ok::<(), lb_dump::RedactError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redaction {
    /// Of header fields, query parameters and fields of forms, urlencoded or multipart.
    names: Vec<String>,
    /// Of values in JSON bodies.
    paths: Vec<JsonPath>,
}

/// An entry of `redact` that is neither a name nor a JSON path.
#[derive(Debug, thiserror::Error)]
#[error("`{entry}` {reason}")]
pub struct RedactError {
    /// As written.
    pub entry: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A body as it may be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    As(Cow<'a, [u8]>),
    /// Left out.
    Withheld,
}

/// What a body is, by the fields that came with it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Content<'a> {
    pub(crate) kind: &'a [u8],
    pub(crate) coding: &'a [u8],
    pub(crate) is_truncated: bool,
}

impl Redaction {
    /// Reads `redact`: names, and JSON paths (RFC 9535), which begin with `$`.
    ///
    /// # Errors
    /// The first entry that is neither.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, RedactError> {
        let mut redaction = Self::default();
        for entry in entries {
            let bad = |reason: String| RedactError { entry: entry.to_owned(), reason };
            if entry.starts_with('$') {
                let path =
                    JsonPath::parse(entry).map_err(|error| bad(format!("is no JSON path: {error}")))?;
                redaction.paths.push(path);
            } else if http::HeaderName::from_bytes(entry.as_bytes()).is_ok() {
                redaction.names.push(entry.to_ascii_lowercase());
            } else {
                return Err(bad("is neither a name nor a JSON path such as `$.password`".to_owned()));
            }
        }
        Ok(redaction)
    }

    /// Whether the values of a header field are hidden.
    pub(crate) fn hides_field(&self, name: &[u8]) -> bool {
        ALWAYS.iter().any(|always| name.eq_ignore_ascii_case(always.as_bytes())) || self.hides(name)
    }

    fn hides(&self, name: &[u8]) -> bool {
        self.names.iter().any(|hidden| name.eq_ignore_ascii_case(hidden.as_bytes()))
    }

    /// A head in which the hidden values are replaced and everything else stands as it came. `hides_fields` tells whether
    /// any of its fields is hidden.
    pub(crate) fn head<'a>(&self, head: &'a [u8], hides_fields: bool) -> Cow<'a, str> {
        if !hides_fields
            && self.names.is_empty()
            && let Ok(head) = std::str::from_utf8(head)
        {
            return Cow::Borrowed(head);
        }
        let mut out = String::with_capacity(head.len());
        for (index, line) in head.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default().trim_ascii();
            if index == 0 {
                self.first_line(&text(line), &mut out);
            } else if name.len() < line.len() && self.hides_field(name) {
                out.push_str(&text(name));
                out.push_str(": ");
                out.push_str(HIDDEN);
                out.push_str("\r\n");
            } else {
                out.push_str(&text(&self.value(line)));
            }
        }
        Cow::Owned(out)
    }

    /// The value of a field, or its line, that is not hidden itself: without what is to be hidden in the query of an address, as in Referer
    /// and Location.
    pub(crate) fn value<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        let query = value.iter().position(|&byte| byte == b'?').filter(|_| !self.names.is_empty());
        let Some((before, rest)) = query.and_then(|at| value.split_at_checked(at + 1)) else {
            return Cow::Borrowed(value);
        };
        let end = rest.iter().position(|byte| matches!(byte, b'#' | b' ' | b'\r' | b'\n' | b'>' | b'"'));
        let (query, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, &[]));
        match self.pairs(query) {
            Cow::Borrowed(_) => Cow::Borrowed(value),
            Cow::Owned(query) => Cow::Owned([before, &query, after].concat()),
        }
    }

    /// The first line; of a request's target, the query.
    fn first_line(&self, line: &str, out: &mut String) {
        let query = line.split_once('?').filter(|_| !self.names.is_empty());
        let Some((path, (query, rest))) = query.and_then(|(path, rest)| Some((path, rest.split_once(' ')?)))
        else {
            out.push_str(line);
            return;
        };
        out.push_str(path);
        out.push('?');
        out.push_str(&text(&self.pairs(query.as_bytes())));
        out.push(' ');
        out.push_str(rest);
    }

    /// `name=value` pairs of a query or a form.
    fn pairs<'a>(&self, pairs: &'a [u8]) -> Cow<'a, [u8]> {
        let name_of = |pair: &'a [u8]| pair.split(|&byte| byte == b'=').next().unwrap_or_default();
        let is_hidden = |pair: &'a [u8]| {
            let name: Cow<'_, [u8]> = percent_decode(name_of(pair)).into();
            self.hides(&name)
        };
        let split = || pairs.split(|&byte| byte == b'&');
        if !split().any(is_hidden) {
            return Cow::Borrowed(pairs);
        }
        let shown = split().map(|pair| match is_hidden(pair) {
            true => [name_of(pair), b"=", HIDDEN.as_bytes()].concat(),
            false => pair.to_vec(),
        });
        Cow::Owned(shown.collect::<Vec<_>>().join(&b'&'))
    }

    /// A body without what is hidden in it.
    pub(crate) fn body<'a>(&self, body: &'a [u8], content: Content<'_>) -> Shown<'a> {
        if body.is_empty() || (self.paths.is_empty() && self.names.is_empty()) || is_media(content.kind) {
            return Shown::As(Cow::Borrowed(body));
        }
        // What is compressed cannot be looked into.
        if !content.coding.is_empty() && !content.coding.eq_ignore_ascii_case(b"identity") {
            return Shown::Withheld;
        }
        if contains(content.kind, b"x-www-form-urlencoded") {
            return Shown::As(self.pairs(body));
        }
        if multipart::is_form(content.kind) {
            let shown = multipart::redacted(self, body, content.kind);
            return shown.map_or(Shown::Withheld, |shown| Shown::As(Cow::Owned(shown)));
        }
        if contains(content.kind, b"event-stream") && !self.paths.is_empty() {
            return Shown::As(Cow::Owned(events::redacted(self, body)));
        }
        if self.paths.is_empty() || !(contains(content.kind, b"json") || looks_like_json(body)) {
            return Shown::As(Cow::Borrowed(body));
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(value) if !content.is_truncated => Shown::As(Cow::Owned(self.json(value))),
            _ => Shown::Withheld,
        }
    }

    /// Written anew even where no path matched: of a name that stands twice in the text only one was looked at.
    fn json(&self, mut value: Value) -> Vec<u8> {
        for path in &self.paths {
            let places: Vec<String> = path
                .query_located(&value)
                .locations()
                .map(serde_json_path::NormalizedPath::to_json_pointer)
                .collect();
            for place in places {
                if let Some(found) = value.pointer_mut(&place) {
                    *found = Value::String(HIDDEN.to_owned());
                }
            }
        }
        serde_json::to_vec(&value).unwrap_or_default()
    }
}

/// Whether it begins as a value of JSON in which others may stand, or a text.
fn looks_like_json(text: &[u8]) -> bool {
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// Whether it is pictures, sound or the like, in which nobody looks for names.
fn is_media(kind: &[u8]) -> bool {
    ["image/", "audio/", "video/", "font/"].iter().any(|media| {
        kind.get(..media.len()).is_some_and(|start| start.eq_ignore_ascii_case(media.as_bytes()))
    })
}

fn contains(kind: &[u8], part: &[u8]) -> bool {
    kind.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(entries: &[&str]) -> Redaction {
        Redaction::parse(entries.iter().copied()).unwrap()
    }

    fn head(redaction: &Redaction, head: &str) -> String {
        redaction.head(head.as_bytes(), true).into_owned()
    }

    fn json(redaction: &Redaction, body: &str) -> String {
        match redaction.body(body.as_bytes(), Content { kind: b"application/json", ..Content::default() }) {
            Shown::As(shown) => String::from_utf8(shown.into_owned()).unwrap(),
            Shown::Withheld => "withheld".to_owned(),
        }
    }

    #[test]
    fn secrets_of_a_head_are_hidden_without_being_asked() {
        let shown = head(
            &Redaction::default(),
            "GET /?token=1 HTTP/1.1\r\nhost: a\r\nAUTHORIZATION: Basic eA==\r\ncookie:a=1\r\nX-Odd:  1\r\n\r\n",
        );
        let expected = "GET /?token=1 HTTP/1.1\r\nhost: a\r\nAUTHORIZATION: [redacted]\r\ncookie: [redacted]\r\nX-Odd:  1\r\n\r\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_name_holds_for_fields_queries_and_forms() {
        let hidden = redaction(&["Token"]);
        let shown = head(&hidden, "GET /a?x=1&t%6Fken=s%26&y HTTP/1.1\r\ntoken: s\r\n\r\n");
        assert_eq!(shown, "GET /a?x=1&t%6Fken=[redacted]&y HTTP/1.1\r\ntoken: [redacted]\r\n\r\n");
        let form = Content { kind: b"application/x-www-form-urlencoded", ..Content::default() };
        let shown = Shown::As(Cow::Owned(b"a=1&token=[redacted]".to_vec()));
        assert_eq!(hidden.body(b"a=1&token=secret", form), shown);
    }

    #[test]
    fn a_name_holds_for_queries_of_addresses_in_fields() {
        let hidden = redaction(&["token"]);
        let shown = head(
            &hidden,
            "GET / HTTP/1.1\r\nReferer: https://a/b?x=1&token=s#f\r\nLink: </c?token=s>; rel=next\r\nX: really?\r\n\r\n",
        );
        let expected = "GET / HTTP/1.1\r\nReferer: https://a/b?x=1&token=[redacted]#f\r\nLink: </c?token=[redacted]>; rel=next\r\nX: really?\r\n\r\n";
        assert_eq!(shown, expected);
        assert_eq!(&*hidden.value(b"/next?token=s"), b"/next?token=[redacted]");
    }

    #[test]
    fn json_paths_hold_for_the_parts_of_a_form() {
        let hidden = redaction(&["$..password"]);
        let kind = Content { kind: b"multipart/form-data; boundary=b", ..Content::default() };
        let part = |kind: &str, content: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"x\"{kind}\r\n\r\n{content}\r\n")
        };
        let json = "\r\nContent-Type: application/json";
        let shown = |body: &str| match hidden.body(body.as_bytes(), kind) {
            Shown::As(shown) => String::from_utf8(shown.into_owned()).unwrap(),
            Shown::Withheld => "withheld".to_owned(),
        };
        let body = [part(json, r#"{"password":"s3"}"#), part("", "plain"), part("", r#" {"password":"s3"}"#)]
            .concat();
        let expected = [
            part(json, r#"{"password":"[redacted]"}"#),
            part("", "plain"),
            part("", r#"{"password":"[redacted]"}"#),
        ];
        assert_eq!(shown(&format!("{body}--b--\r\n")), format!("{}--b--\r\n", expected.concat()));
        for end in 0..body.len() {
            assert!(!shown(&body[..end]).contains("s3"), "{end}");
        }
    }

    #[test]
    fn json_paths_hide_values_at_any_depth() {
        let hidden = redaction(&["$.password", "$.cards[*].number", "$..secret"]);
        let body = r#"{"user":"u","password":"p","cards":[{"number":1},{"number":2}],"a":{"secret":[1]}}"#;
        let shown = r#"{"user":"u","password":"[redacted]","cards":[{"number":"[redacted]"},{"number":"[redacted]"}],"a":{"secret":"[redacted]"}}"#;
        assert_eq!(json(&hidden, body), shown);
        assert_eq!(json(&hidden, r#"{"password":"a","password":"b"}"#), r#"{"password":"[redacted]"}"#);
        let shadowed = json(&redaction(&["$.a.password"]), r#"{"a":{"password":"p"},"a":1}"#);
        assert_eq!(shadowed, r#"{"a":1}"#);
    }

    #[test]
    fn a_body_that_cannot_be_looked_into_is_left_out() {
        let hidden = redaction(&["$.password"]);
        let kind = Content { kind: b"application/json", ..Content::default() };
        let body = br#"{"password":"p"}"#;
        for (body, content) in [
            (&br#"{"password":"p"#[..], kind),
            (body, Content { is_truncated: true, ..kind }),
            (body, Content { coding: b"gzip", ..kind }),
            (br#"{"password":"p"} {"password":"q"}"#, kind),
            (br#"{"password":"#, Content { kind: b"text/plain", ..kind }),
        ] {
            assert_eq!(hidden.body(body, content), Shown::Withheld, "{content:?}");
        }
        let text = Content { kind: b"text/plain", ..Content::default() };
        assert_eq!(hidden.body(b"hello", text), Shown::As(Cow::Borrowed(b"hello")));
    }

    #[test]
    fn an_entry_that_is_neither_is_told() {
        for entry in ["$.[", "no name"] {
            assert!(Redaction::parse([entry]).unwrap_err().to_string().contains(entry));
        }
    }
}
