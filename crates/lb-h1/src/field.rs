//! Field lines: `name: value`, read into a header map whose values are slices of the receive buffer.
//!
//! Called with a section whose lines have been found and end in CR LF. What a field means is the business
//! of the [`FieldSink`] that it is shown to.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bytes_class::trim_ows;
use crate::error::{HeadError, Shown};
use crate::names::{self, Known};
use crate::scan::{find_near, offset};

/// What a header map takes at most.
const MAX_FIELDS: usize = 24_576;

/// Room for what a gateway adds to a head (forwarding fields, a request id), so that the map need not grow
/// and be hashed anew for them.
const SPARE_FIELDS: usize = 6;

/// An empty map for the fields of a head.
#[inline]
pub(crate) fn map_for(fields: usize) -> Result<HeaderMap, HeadError> {
    HeaderMap::try_with_capacity((fields + SPARE_FIELDS).min(MAX_FIELDS))
        .map_err(|_| HeadError::TooManyFields { limit: MAX_FIELDS })
}

/// Looks at each field before it is kept.
pub(crate) trait FieldSink {
    type Error: From<HeadError>;

    /// Whether white space between name and colon is dropped, as RFC 9112 section 5.1 wants it of a
    /// gateway for responses, rather than refused, as it wants it for requests.
    const TRIM_NAMES: bool;

    /// Whether the field is kept. `known` is its row in the table of well-known names, if it has one.
    fn accept(
        &mut self,
        known: Option<&'static Known>,
        name: &[u8],
        value: &[u8],
    ) -> Result<bool, Self::Error>;
}

/// Reads the field lines of `section` into `headers`. `lines` are the offsets of their LF, and the first
/// of them begins at `start`.
pub(crate) fn read_fields<S: FieldSink>(
    section: &Bytes,
    mut start: usize,
    lines: &[u32],
    headers: &mut HeaderMap,
    sink: &mut S,
) -> Result<(), S::Error> {
    for &line_feed in lines {
        let line_feed = offset(line_feed);
        let line = section.get(start..line_feed - 1).unwrap_or_default();
        let Some(colon) = find_near(b':', line) else { return Err(refuse_line(line).into()) };
        let (name, rest) = line.split_at(colon);
        let (leading, value) = match rest {
            [b':', b' ', value @ ..] if is_trimmed(value) => (2, value),
            _ => trim(rest),
        };

        let (name, known) = match names::find(name) {
            Some(known) => (name, Some(known)),
            None => other_name(name, S::TRIM_NAMES)?,
        };
        let key = match known {
            Some(known) => known.name.clone(),
            None => {
                HeaderName::from_bytes(name).map_err(|_| HeadError::FieldName { name: Shown::new(name) })?
            }
        };
        let value_start = start + colon + leading;
        let field = HeaderValue::from_maybe_shared(section.slice(value_start..value_start + value.len()))
            .map_err(|_| HeadError::FieldValue { name: Shown::new(name) })?;
        // Asked last, so that also what is not kept has to be well-formed.
        if sink.accept(known, name, value)? {
            headers.try_append(key, field).map_err(|_| HeadError::TooManyFields { limit: MAX_FIELDS })?;
        }
        start = line_feed + 1;
    }
    Ok(())
}

/// The fields of a head as they were sent, in order and with names in their own case; for dumps.
///
/// ```
/// let raw = b"GET / HTTP/1.1\r\nHOST: a\r\nx-Odd:  1 \r\n\r\n";
/// let fields: Vec<_> = lb_h1::fields_as_sent(raw).collect();
/// assert_eq!(fields, [(&b"HOST"[..], &b"a"[..]), (b"x-Odd", b"1")]);
/// ```
pub fn fields_as_sent(raw_head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    raw_head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (name, rest) = line.split_at(memchr::memchr(b':', line)?);
        Some((name, trim(rest).1))
    })
}

#[inline]
fn is_trimmed(value: &[u8]) -> bool {
    let white = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !white(value.first()) && !white(value.last())
}

/// The value behind the colon, and how far behind it starts.
fn trim(rest: &[u8]) -> (usize, &[u8]) {
    let leading = rest.iter().skip(1).take_while(|byte| matches!(byte, b' ' | b'\t')).count() + 1;
    (leading, trim_ows(rest.get(leading..).unwrap_or_default()))
}

/// A name that the table does not hold as it stands.
#[inline]
fn other_name(name: &[u8], trim: bool) -> Result<(&[u8], Option<&'static Known>), HeadError> {
    match name {
        [b' ' | b'\t', ..] => Err(HeadError::FoldedLine),
        [.., b' ' | b'\t'] if trim => {
            let name = trim_ows(name);
            Ok((name, names::find(name)))
        }
        [.., b' ' | b'\t'] => Err(HeadError::SpaceBeforeColon { name: Shown::new(name) }),
        _ => Ok((name, None)),
    }
}

#[cold]
fn refuse_line(line: &[u8]) -> HeadError {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        HeadError::FoldedLine
    } else {
        HeadError::MissingColon { line: Shown::new(line) }
    }
}
