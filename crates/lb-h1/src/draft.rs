//! Heads that come in parts, as HTTP/2 has them, read as their lines would be.
//!
//! What such a head says is judged by the rules that hold for one that comes in bytes ([`parse_request`](crate::parse_request),
//! [`parse_response`](crate::parse_response)), one by one and by the same code; only that its lines need not be found again. What
//! does not keep to them has no head here: its bytes, given to the reader of bytes, tell why.

use bytes::BytesMut;
use http::{HeaderName, StatusCode};

use crate::field::{FieldSink, MAX_FIELDS};
use crate::fields::{Fields, check};
use crate::limits::HeadLimits;
use crate::names::{self, KnownName};
use crate::request::{self, RequestHead};
use crate::response::{self, Asked, ResponseHead};

/// A head in the making.
///
/// ```
/// use http::header;
/// use lb_h1::{Draft, HeadLimits};
///
/// let mut draft = Draft::request(b"GET", b"/orders");
/// draft.line(&header::HOST, b"shop.example");
/// let head = draft.read_request(&HeadLimits::default()).expect("it keeps to the rules");
/// assert_eq!(head.headers.received(), b"GET /orders HTTP/1.1\r\nhost: shop.example\r\n\r\n");
/// ```
#[derive(Debug, Clone)]
pub struct Draft {
    fields: Fields,
    /// Where the first line ends, its line end included.
    first_line: usize,
}

impl Draft {
    /// Begins a request of HTTP/1.1 with this line.
    #[must_use]
    pub fn request(method: &[u8], target: &[u8]) -> Self {
        Self::begin(&[method, b" ", target, b" HTTP/1.1\r\n"])
    }

    /// Begins a response of HTTP/1.1 with this status.
    #[must_use]
    pub fn response(status: StatusCode) -> Self {
        Self::begin(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" \r\n"])
    }

    fn begin(first_line: &[&[u8]]) -> Self {
        let fields = Fields::begun(first_line);
        Self { first_line: fields.text_len(), fields }
    }

    /// Adds a line. White space around the value is none of it.
    pub fn line(&mut self, name: &HeaderName, value: &[u8]) {
        self.named(names::find_lower(name.as_str()).map(KnownName), name.as_str().as_bytes(), value);
    }

    /// The same of a name whose row has been looked for; it must be a token in lower case.
    pub fn named(&mut self, known: Option<KnownName>, name: &[u8], value: &[u8]) {
        self.fields.append_as_sent((known.map(|known| known.0), name), |text| text.extend_from_slice(value));
    }

    /// Adds a line whose value is made of these.
    pub fn joined<'a>(&mut self, name: &HeaderName, values: impl Iterator<Item = &'a [u8]>, between: &[u8]) {
        let known = names::find_lower(name.as_str());
        self.fields.append_as_sent((known, name.as_str().as_bytes()), |text| {
            for (index, value) in values.enumerate() {
                if index > 0 {
                    text.extend_from_slice(between);
                }
                text.extend_from_slice(value);
            }
        });
    }

    /// The head as bytes, its empty line included.
    #[must_use]
    pub fn into_bytes(mut self) -> BytesMut {
        self.fields.end();
        BytesMut::from(self.fields.received())
    }

    /// The request; `None` where it keeps not to every rule and bound.
    #[must_use]
    pub fn read_request(self, limits: &HeadLimits) -> Option<RequestHead> {
        request::read_draft(self, limits)
    }

    /// The response; `None` where it keeps not to every rule and bound.
    #[must_use]
    pub fn read_response(self, limits: &HeadLimits, asked: Asked<'_>) -> Option<ResponseHead> {
        response::read_draft(self, limits, asked)
    }

    /// The first line, without its end.
    pub(crate) fn first_line(&self) -> &[u8] {
        self.fields.beginning(self.first_line).strip_suffix(b"\r\n").unwrap_or_default()
    }

    /// Shows each line to the sink; the fields where all of it is in order.
    pub(crate) fn read<S: FieldSink>(mut self, limits: &HeadLimits, sink: &mut S) -> Option<Fields> {
        self.fields.end();
        let is_bounded = self.first_line_feed() <= limits.max_line_bytes.saturating_add(1)
            && self.fields.text_len() <= limits.max_head_bytes
            && self.fields.len() <= limits.max_fields.min(MAX_FIELDS);
        let mut is_good = is_bounded;
        for (known, name, value) in self.fields.known_lines().take_while(|_| is_bounded) {
            is_good &=
                check(known, name, value).is_ok() && matches!(sink.accept(known, name, value), Ok(true));
        }
        is_good.then_some(self.fields)
    }

    fn first_line_feed(&self) -> usize {
        self.first_line.saturating_sub(1)
    }
}
