//! The trailer section behind the last chunk: bounded, and cut down to what may be passed on.

use bytes::BytesMut;
use http::HeaderMap;

use super::drop_front;
use crate::error::HeadError;
use crate::field::{FieldSink, read_fields};
use crate::limits::{BodyLimits, HeadLimits};
use crate::names::Known;
use crate::scan::{ParseState, Scanned};

#[derive(Debug)]
pub(super) struct TrailerSection {
    limits: BodyLimits,
    state: ParseState,
}

impl TrailerSection {
    pub(super) fn new(limits: BodyLimits) -> Self {
        Self { limits, state: ParseState::default() }
    }

    /// The trailers once the section is complete, mostly none.
    pub(super) fn read(&mut self, buf: &mut BytesMut) -> Result<Option<HeaderMap>, HeadError> {
        if buf.starts_with(b"\r\n") {
            drop_front(buf, 2);
            return Ok(Some(HeaderMap::new()));
        }
        let limits = HeadLimits {
            max_head_bytes: to_usize(self.limits.max_trailer_bytes),
            max_fields: to_usize(self.limits.max_trailer_fields),
            ..HeadLimits::default()
        };
        let end = match self.state.scan(buf, &limits, 0) {
            Scanned::Complete(end) => end,
            Scanned::Broken(error) => return Err(error),
            Scanned::Incomplete | Scanned::FirstLineTooLong => return Ok(None),
        };
        let section = buf.split_to(end).freeze();
        let mut trailers = HeaderMap::new();
        read_fields(&section, 0, self.state.lines(), &mut trailers, &mut TrailerSink)?;
        Ok(Some(trailers))
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Keeps what says something about the body alone. A server that merges trailers into the header section
/// would otherwise let a client set there, behind our back, what we check in the head.
struct TrailerSink;

impl FieldSink for TrailerSink {
    type Error = HeadError;
    const TRIM_NAMES: bool = false;

    fn accept(&mut self, known: Option<&'static Known>, name: &[u8], _: &[u8]) -> Result<bool, HeadError> {
        Ok(match known {
            Some(known) => !known.is_barred_from_trailers(),
            None => !is_suspicious(name),
        })
    }
}

/// Names outside the table that belong to families barred from trailers, or that hide one behind `_`.
fn is_suspicious(name: &[u8]) -> bool {
    const FAMILIES: [&[u8]; 4] = [b"content-", b"proxy-", b"sec-", b"x-forwarded-"];
    name.contains(&b'_')
        || FAMILIES
            .iter()
            .any(|family| name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family)))
}
