//! The fields of a head as they were received: a copy of its bytes and a list of places in it.
//!
//! Most fields pass a gateway without being looked at. Kept like this, they cost one allocation for the bytes and one for the
//! list, nothing is hashed or counted, and what stood together is written together. Lookups are linear, over a list that is
//! bounded by [`HeadLimits::max_fields`](crate::HeadLimits).

use std::fmt;

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bytes_class::{is_field_value, is_token, trim_ows};
use crate::error::{HeadError, Shown};
use crate::field::{Keep, MAX_FIELDS};
use crate::names::{self, Kind, Known, KnownName};
use crate::scan::{keep, offset};

/// Room for what a gateway adds to a head (forwarding fields, a request id), so that nothing moves for them.
const SPARE_FIELDS: usize = 6;
const SPARE_BYTES: usize = 256;

/// Room for a usual head that is put together, and for what is added to it.
const DRAFT_FIELDS: usize = 24;
const DRAFT_BYTES: usize = 1 << 10;

/// Between name and value, and behind the value, as lines are written.
const COLON: &[u8] = b": ";
const LINE_END: &[u8] = b"\r\n";

/// The fields of a head, in order, with names as they were sent.
///
/// ```
/// use bytes::BytesMut;
/// use http::{HeaderValue, header};
/// use lb_h1::{HeadLimits, ParseState, parse_request};
///
/// let mut buf = BytesMut::from("GET / HTTP/1.1\r\nHOST: a.example\r\nX-Odd: 1\r\n\r\n");
/// let head = parse_request(&mut buf, &HeadLimits::default(), &mut ParseState::default())?.expect("complete");
/// let mut fields = head.headers;
/// assert_eq!(fields.get(&header::HOST), Some(&b"a.example"[..]));
/// fields.insert(&header::HOST, &HeaderValue::from_static("b.example"));
/// let lines: Vec<_> = fields.iter().collect();
/// assert_eq!(lines, [(&b"X-Odd"[..], &b"1"[..]), (b"Host", b"b.example")]);
/// # Ok::<(), lb_h1::RequestError>(())
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    /// The head as received, and behind it the lines that were set.
    text: Vec<u8>,
    /// Where the head ends.
    received: usize,
    list: Vec<Field>,
}

/// One line.
#[derive(Debug, Clone, Copy)]
struct Field {
    known: Option<&'static Known>,
    name: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
}

/// A name that is looked for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    Known(&'static Known),
    Other(&'a [u8]),
}

impl<'a> Wanted<'a> {
    #[inline]
    fn of(name: &'a HeaderName) -> Self {
        names::find_lower(name.as_str()).map_or(Self::Other(name.as_str().as_bytes()), Self::Known)
    }

    #[inline]
    fn is(self, fields: &Fields, field: &Field) -> bool {
        match (self, field.known) {
            (Self::Known(wanted), Some(known)) => std::ptr::eq(wanted, known),
            (Self::Other(wanted), None) => fields.name(field).eq_ignore_ascii_case(wanted),
            _ => false,
        }
    }
}

impl Fields {
    /// For a head of this many lines that was received like this.
    pub(crate) fn of(received: &[u8], lines: usize) -> Result<Self, HeadError> {
        if lines > MAX_FIELDS {
            return Err(HeadError::TooManyFields { limit: MAX_FIELDS });
        }
        let mut text = Vec::with_capacity(received.len() + SPARE_BYTES);
        text.extend_from_slice(received);
        Ok(Self { text, received: received.len(), list: Vec::with_capacity(lines + SPARE_FIELDS) })
    }

    /// For a head that is put together, beginning with this line.
    pub(crate) fn begun(first_line: &[&[u8]]) -> Self {
        let mut text = Vec::with_capacity(DRAFT_BYTES);
        first_line.iter().for_each(|part| text.extend_from_slice(part));
        Self { text, received: 0, list: Vec::with_capacity(DRAFT_FIELDS) }
    }

    /// Adds a line as a client or a backend would send it: with the name in this letter case, and white space around the value that is
    /// none of it.
    pub(crate) fn append_as_sent(
        &mut self,
        (known, name): (Option<&'static Known>, &[u8]),
        write_value: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let name_end = self.text.len();
        self.text.extend_from_slice(COLON);
        let value_start = self.text.len();
        write_value(&mut self.text);
        let raw = self.text.get(value_start..).unwrap_or_default();
        let leading = raw.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let length = trim_ows(raw.get(leading..).unwrap_or_default()).len();
        self.text.extend_from_slice(LINE_END);
        self.list.push(Field {
            known,
            name: keep(start),
            name_end: keep(name_end),
            value: keep(value_start + leading),
            value_end: keep(value_start + leading + length),
        });
    }

    /// Ends a head that was put together: from here on it is one that was received.
    pub(crate) fn end(&mut self) {
        self.text.extend_from_slice(LINE_END);
        self.received = self.text.len();
    }

    /// The first bytes of a head.
    pub(crate) fn beginning(&self, length: usize) -> &[u8] {
        self.text.get(..length).unwrap_or_default()
    }

    /// How many bytes there are, of what was received and what was added.
    pub(crate) fn text_len(&self) -> usize {
        self.text.len()
    }

    /// All lines, with their row in the table of well-known names.
    pub(crate) fn known_lines(&self) -> impl Iterator<Item = (Option<&'static Known>, &[u8], &[u8])> {
        self.list.iter().map(|field| (field.known, self.name(field), self.value(field)))
    }

    /// The head as received, from its first line through the empty line.
    pub fn received(&self) -> &[u8] {
        self.text.get(..self.received).unwrap_or_default()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All lines in order: names in the letter case in which they will be written.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|field| (self.name(field), self.value(field)))
    }

    /// The first value of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let wanted = Wanted::of(name);
        self.list.iter().find(|field| wanted.is(self, field)).map(|field| self.value(field))
    }

    /// The first value of this name, in whatever letter case.
    pub fn get_named(&self, name: &str) -> Option<&[u8]> {
        let wanted = names::find(name.as_bytes()).map_or(Wanted::Other(name.as_bytes()), Wanted::Known);
        self.list.iter().find(|field| wanted.is(self, field)).map(|field| self.value(field))
    }

    /// Every value of this name, in order.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        let wanted = Wanted::of(name);
        self.list.iter().filter(move |field| wanted.is(self, field)).map(|field| self.value(field))
    }

    /// Whether there is a line of this name.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Makes this the only value of this name.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.remove(name);
        self.append(name, value);
    }

    /// Adds a value beside those that this name has.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.add(name, |text| text.extend_from_slice(value.as_bytes()));
    }

    #[inline]
    fn add(&mut self, name: &HeaderName, write_value: impl FnOnce(&mut Vec<u8>)) {
        let known = names::find_lower(name.as_str());
        let start = self.text.len();
        match known {
            Some(known) => self.text.extend_from_slice(known.wire.as_bytes()),
            None => {
                self.text.extend_from_slice(name.as_str().as_bytes());
                self.text.extend_from_slice(COLON);
            }
        }
        let value_start = self.text.len();
        write_value(&mut self.text);
        let value_end = self.text.len();
        self.text.extend_from_slice(LINE_END);
        self.list.push(Field {
            known,
            name: keep(start),
            name_end: keep(value_start - COLON.len()),
            value: keep(value_start),
            value_end: keep(value_end),
        });
    }

    /// Adds the first value of `from` to the values of `to`, where there is one.
    pub fn copy(&mut self, from: &HeaderName, to: &HeaderName) {
        let wanted = Wanted::of(from);
        let Some(source) = self.list.iter().find(|field| wanted.is(self, field)) else { return };
        let value = offset(source.value)..offset(source.value_end);
        self.add(to, |text| text.extend_from_within(value));
    }

    /// Removes every line of this name. Says whether there was one.
    pub fn remove(&mut self, name: &HeaderName) -> bool {
        let wanted = Wanted::of(name);
        if !self.list.iter().any(|field| wanted.is(self, field)) {
            return false;
        }
        let mut list = std::mem::take(&mut self.list);
        list.retain(|field| !wanted.is(self, field));
        self.list = list;
        true
    }

    /// Takes every line away whose name begins so, in any case.
    pub fn remove_beginning(&mut self, start: &str) {
        let begins = |name: &[u8]| {
            name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
        };
        if self.list.iter().any(|field| begins(self.name(field))) {
            self.retain_names(|name| !begins(name));
        }
    }

    /// Moves every value of `from` under `to`, in their order. What stood under `to` goes. Does nothing where there is no
    /// `from`, or where it is `to`.
    pub fn rename(&mut self, from: &HeaderName, to: &HeaderName) {
        if from == to || !self.contains(from) {
            return;
        }
        let values: Vec<HeaderValue> = self.get_all(from).flat_map(HeaderValue::from_bytes).collect();
        self.remove(from);
        self.remove(to);
        for value in &values {
            self.append(to, value);
        }
    }

    /// Keeps the lines whose name passes.
    pub(crate) fn retain_names(&mut self, mut keeps: impl FnMut(&[u8]) -> bool) {
        let mut list = std::mem::take(&mut self.list);
        list.retain(|field| keeps(self.name(field)));
        self.list = list;
    }

    /// A map of the same fields.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.list.len() + SPARE_FIELDS);
        for field in &self.list {
            let name = match field.known {
                Some(known) => Ok(known.name.clone()),
                None => HeaderName::from_bytes(self.name(field)),
            };
            // Both were found good when they were read, and the number was bounded.
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(self.value(field))) {
                let _ = map.try_append(name, value);
            }
        }
        map
    }

    /// The fields that go on to the next hop: without those of this one and without Content-Length. Names are in the letter case in which
    /// they came, and come with what is known of them.
    pub fn passed(&self) -> impl Iterator<Item = (Option<KnownName>, &[u8], &[u8])> {
        let lines = self.known_lines();
        let passes = |known: &Known| !known.is_hop_by_hop() && known.kind != Kind::ContentLength;
        lines
            .filter(move |(known, ..)| known.is_none_or(passes))
            .map(|(known, name, value)| (known.map(KnownName), name, value))
    }

    /// Some bytes of the head.
    pub(crate) fn part(&self, start: u32, end: u32) -> &[u8] {
        self.text.get(offset(start)..offset(end)).unwrap_or_default()
    }

    fn name(&self, field: &Field) -> &[u8] {
        self.part(field.name, field.name_end)
    }

    fn value(&self, field: &Field) -> &[u8] {
        self.part(field.value, field.value_end)
    }

    /// Writes all lines but those that are the codec's own or the previous hop's. Says whether Date was there.
    #[inline]
    pub(crate) fn write(&self, out: &mut BytesMut) -> bool {
        let mut has_date = false;
        // Lines that stand together in their final form leave together.
        let mut run = 0..0;
        for field in &self.list {
            if let Some(known) = field.known {
                if known.is_hop_by_hop() || known.kind == Kind::ContentLength {
                    continue;
                }
                has_date |= known.kind == Kind::Date;
            }
            let (start, end) = (offset(field.name), offset(field.value_end) + LINE_END.len());
            if !self.is_final(field) {
                out.extend_from_slice(self.text.get(run).unwrap_or_default());
                run = 0..0;
                for part in [self.name(field), COLON, self.value(field), LINE_END] {
                    out.extend_from_slice(part);
                }
            } else if start == run.end {
                run.end = end;
            } else {
                out.extend_from_slice(self.text.get(run).unwrap_or_default());
                run = start..end;
            }
        }
        out.extend_from_slice(self.text.get(run).unwrap_or_default());
        has_date
    }

    /// Whether a line stands in the text as it is to be written: with one space and nothing more.
    fn is_final(&self, field: &Field) -> bool {
        let (name_end, value_end) = (offset(field.name_end), offset(field.value_end));
        self.text.get(name_end..offset(field.value)) == Some(COLON)
            && self.text.get(value_end..value_end + LINE_END.len()) == Some(LINE_END)
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |(name, value): (&[u8], &[u8])| {
            (name.escape_ascii().to_string(), value.escape_ascii().to_string())
        };
        f.debug_map().entries(self.iter().map(text)).finish()
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in map {
            fields.append(name, value);
        }
        fields
    }
}

impl Keep for Fields {
    fn keep(
        &mut self,
        known: Option<&'static Known>,
        (name, name_start): (&[u8], usize),
        (value, value_start): (&[u8], usize),
    ) -> Result<(), HeadError> {
        self.list.push(Field {
            known,
            name: keep(name_start),
            name_end: keep(name_start + name.len()),
            value: keep(value_start),
            value_end: keep(value_start + value.len()),
        });
        Ok(())
    }
}

/// Refuses what can be neither name nor value.
#[inline]
pub(crate) fn check(known: Option<&Known>, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
    if known.is_none() && !(is_token(name) && name.len() < usize::from(u16::MAX)) {
        return Err(HeadError::FieldName { name: Shown::new(name) });
    }
    if !is_field_value(value) {
        return Err(HeadError::FieldValue { name: Shown::new(name) });
    }
    Ok(())
}
