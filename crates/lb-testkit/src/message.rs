//! HTTP/1 messages as they stood on the wire: order, case and repetition of fields are kept.

use serde_json::Value;

/// Field lines: names as sent, values without the white space around them.
pub type Fields = Vec<(String, String)>;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// Content-Length.
    Length(usize),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The end of the connection.
    Close,
}

/// A start line and its fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub start: String,
    /// The field lines.
    pub fields: Fields,
    /// All of it as it came.
    pub raw: Vec<u8>,
}

impl Head {
    /// Parse strictly: CRLF only, token names, no space before the colon, one framing.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(raw).map_err(|_| "the head is not UTF-8")?;
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line.split_once(':').ok_or("a field line has no colon")?;
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(token) {
                return Err(format!("{name:?} is not a field name"));
            }
            if value.bytes().any(|byte| byte < b' ' && byte != b'\t') {
                return Err(format!("the value of {name} has a control character"));
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let head = Self { start, fields, raw: raw.to_vec() };
        let lengths = head.all("content-length");
        if lengths.len() > 1 || (!lengths.is_empty() && head.first("transfer-encoding").is_some()) {
            return Err("the framing is ambiguous".to_owned());
        }
        Ok(head)
    }

    /// The first value of a field, by name in any case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The framing the fields declare, if any.
    pub(crate) fn declared(&self) -> Option<Framing> {
        if let Some(coding) = self.first("transfer-encoding") {
            return Some(if coding.eq_ignore_ascii_case("chunked") {
                Framing::Chunked
            } else {
                Framing::Close
            });
        }
        self.first("content-length").and_then(|length| length.parse().ok()).map(Framing::Length)
    }
}

/// A request as a backend received it.
#[derive(Debug, Clone)]
pub struct Request {
    /// As sent.
    pub method: String,
    /// As sent, with the query.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The head it came with.
    pub head: Head,
    /// The decoded body.
    pub body: Vec<u8>,
    /// After a chunked body.
    pub trailers: Fields,
    /// Which of the backend's connections it came on, from 0.
    pub connection: usize,
}

impl Request {
    /// The first value of a field, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// All values of a field, in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A response as a client received it.
#[derive(Debug, Clone)]
pub struct Response {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Three digits.
    pub status: u16,
    /// The head it came with.
    pub head: Head,
    /// How its body ended.
    pub framing: Framing,
    /// The decoded body.
    pub body: Vec<u8>,
    /// After a chunked body.
    pub trailers: Fields,
}

impl Response {
    /// The first value of a field, by name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.first(name)
    }

    /// All values of a field, in order.
    pub fn headers(&self, name: &str) -> Vec<&str> {
        self.head.all(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {} {:?}", self.status, self.text()))
    }

    /// The name of the echo backend that answered.
    ///
    /// # Panics
    /// Where the answer is not an echo's.
    #[track_caller]
    pub fn backend(&self) -> String {
        match self.json().get("backend").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => panic!("no echo backend answered: {} {:?}", self.status, self.text()),
        }
    }

    /// The `code` of a problem document (RFC 9457), after checking that it is one in full.
    ///
    /// # Panics
    /// Where it is not.
    #[track_caller]
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let document = self.json();
        for member in ["type", "title", "detail", "code", "request_id"] {
            assert!(document[member].is_string(), "no {member} in {document}");
        }
        assert_eq!(document["status"], self.status, "the document's status is another: {document}");
        assert_eq!(document["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        document["code"].as_str().unwrap_or_default().to_owned()
    }
}
