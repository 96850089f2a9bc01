//! Field lines: `name: value`, read one after the other.
//!
//! Called with a section whose lines have been found and end in CR LF. What a field means is the business
//! of the [`FieldSink`] that it is shown to.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::bytes_class::trim_ows;
use crate::error::{HeadError, Shown};
use crate::fields::check;
use crate::names::{self, Known};
use crate::scan::{find_near, offset};

/// What a header map takes at most.
pub(crate) const MAX_FIELDS: usize = 24_576;

/// Where fields are kept.
pub(crate) trait Keep {
    /// Keeps a well-formed field. Name and value come with the place in the section where they start.
    fn keep(
        &mut self,
        known: Option<&'static Known>,
        name: (&[u8], usize),
        value: (&[u8], usize),
    ) -> Result<(), HeadError>;
}

impl Keep for HeaderMap {
    fn keep(
        &mut self,
        known: Option<&'static Known>,
        (name, _): (&[u8], usize),
        (value, _): (&[u8], usize),
    ) -> Result<(), HeadError> {
        let key = match known {
            Some(known) => known.name.clone(),
            None => {
                HeaderName::from_bytes(name).map_err(|_| HeadError::FieldName { name: Shown::new(name) })?
            }
        };
        let value =
            HeaderValue::from_bytes(value).map_err(|_| HeadError::FieldValue { name: Shown::new(name) })?;
        self.try_append(key, value).map_err(|_| HeadError::TooManyFields { limit: MAX_FIELDS })?;
        Ok(())
    }
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

/// Reads the field lines of `section`. `lines` are the offsets of their LF, and the first of them begins at `start`.
#[inline]
pub(crate) fn read_fields<S: FieldSink>(
    section: &[u8],
    mut start: usize,
    lines: &[u32],
    kept: &mut impl Keep,
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
        check(known, name, value)?;
        // Asked last, so that also what is not kept has to be well-formed.
        if sink.accept(known, name, value)? {
            kept.keep(known, (name, start), (value, start + colon + leading))?;
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
