//! HTTP Archive 1.2, which browsers' developer tools and many viewers open.

use std::io::{self, Write};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{field, fields, url};
use crate::entry::Entry;

/// Writes an archive, entry by entry.
#[derive(Debug)]
pub struct Archive<W: Write> {
    out: W,
    is_empty: bool,
}

impl<W: Write> Archive<W> {
    /// Begins one.
    ///
    /// # Errors
    /// Those of the writer, here and below.
    pub fn begin(mut out: W) -> io::Result<Self> {
        let creator = json!({"name": "gatewayd", "version": env!("CARGO_PKG_VERSION")});
        write!(out, r#"{{"log":{{"version":"1.2","creator":{creator},"entries":["#)?;
        Ok(Self { out, is_empty: true })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let separator = if std::mem::take(&mut self.is_empty) { "\n" } else { ",\n" };
        write!(self.out, "{separator}{}", of_entry(entry))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"\n]}}\n")?;
        self.out.flush()
    }
}

fn of_entry(entry: &Entry) -> Value {
    let truncated = if entry.request_truncated || entry.response_truncated { "; bodies are cut" } else { "" };
    json!({
        "startedDateTime": entry.timestamp,
        "time": entry.duration_ms,
        "request": request(entry),
        "response": response(entry),
        "cache": {},
        // How the time was shared out is not known.
        "timings": {"send": 0, "wait": entry.duration_ms, "receive": 0},
        "comment": format!("rule {}, backend {}, request {}{truncated}", entry.rule, entry.backend, entry.request_id),
    })
}

fn request(entry: &Entry) -> Value {
    let body = entry.request_body();
    let mut request = json!({
        "method": entry.method,
        "url": url(entry, None),
        "httpVersion": version(&entry.raw_request, 2),
        "cookies": [],
        "headers": headers(&entry.raw_request),
        "queryString": query(entry.target()),
        "headersSize": -1,
        "bodySize": if entry.request_truncated || entry.request_withheld { json!(-1) } else { json!(body.len()) },
    });
    if !body.is_empty() {
        let mut data = json!({"mimeType": field(&entry.raw_request, "content-type"), "params": []});
        match (&entry.request_body_base64, std::str::from_utf8(&body)) {
            // The format has no place for a request body that is no text; the name is as good as any.
            (Some(text), _) => {
                set(&mut data, "text", json!(text));
                set(&mut data, "_encoding", json!("base64"));
            }
            (None, text) => set(&mut data, "text", json!(text.unwrap_or_default())),
        }
        set(&mut request, "postData", data);
    }
    request
}

fn response(entry: &Entry) -> Value {
    let body = entry.response_body();
    let mut content = json!({
        "size": body.len(),
        "mimeType": field(&entry.raw_response, "content-type"),
    });
    match &entry.response_body_base64 {
        Some(text) => {
            set(&mut content, "text", json!(text));
            set(&mut content, "encoding", json!("base64"));
        }
        None => set(&mut content, "text", json!(String::from_utf8_lossy(&body))),
    }
    let reason = entry.raw_response.split("\r\n").next().and_then(|line| line.splitn(3, ' ').nth(2));
    json!({
        "status": entry.status_code,
        "statusText": reason.unwrap_or_default(),
        "httpVersion": version(&entry.raw_response, 0),
        "cookies": [],
        "headers": headers(&entry.raw_response),
        "content": content,
        "redirectURL": field(&entry.raw_response, "location"),
        "headersSize": -1,
        "bodySize": if entry.response_truncated || entry.response_withheld { json!(-1) } else { json!(body.len()) },
    })
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(key.to_owned(), value);
    }
}

/// The word of the first line that is the version.
fn version(raw: &str, word: usize) -> &str {
    let line = raw.split("\r\n").next().unwrap_or_default();
    line.split(' ').nth(word).filter(|version| version.starts_with("HTTP/")).unwrap_or("HTTP/1.1")
}

fn headers(raw: &str) -> Value {
    fields(raw).map(|(name, value)| json!({"name": name, "value": value})).collect()
}

fn query(target: &str) -> Value {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let decoded = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({"name": decoded(name), "value": decoded(value)})
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_nothing_and_of_something_is_json() {
        let archive = |entries: &[Entry]| -> Value {
            let mut out = Vec::new();
            let mut archive = Archive::begin(&mut out).unwrap();
            entries.iter().for_each(|entry| archive.add(entry).unwrap());
            archive.end().unwrap();
            serde_json::from_slice(&out).unwrap()
        };
        assert_eq!(archive(&[])["log"]["entries"], json!([]));
        let entry = Entry {
            host: "h".into(),
            raw_request: "GET /a?x=1&y=a%20b HTTP/1.1\r\nHost: h\r\n\r\n".into(),
            raw_response: "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\n\r\nno".into(),
            ..Entry::default()
        };
        let archive = archive(&[entry.clone(), entry]);
        let first = &archive["log"]["entries"][0];
        assert_eq!(first["request"]["url"], "http://h/a?x=1&y=a%20b");
        assert_eq!(first["request"]["queryString"][1], json!({"name": "y", "value": "a b"}));
        assert_eq!(first["response"]["statusText"], "Not Found");
        assert_eq!(first["response"]["content"], json!({"size": 2, "mimeType": "text/plain", "text": "no"}));
    }
}
