//! The request target and its four forms (RFC 9112 section 3.2).
//!
//! Offsets into one slice of the receive buffer: path, query and authority are looked at without copying.
//! What the path means (dot segments, percent-encoding) is decided elsewhere, once, before routing.

use bytes::Bytes;
use http::uri::{InvalidUri, Uri};
use memchr::memchr;

use crate::authority::Authority;
use crate::bytes_class::{is_path, is_query};
use crate::error::{RequestError, Shown};
use crate::scan::{keep, offset};

/// Which of the four forms a target has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`, or the same with https.
    Absolute {
        /// Whether the scheme is https.
        https: bool,
    },
    /// `host:port`, with CONNECT.
    Authority,
    /// `*`, with OPTIONS.
    Asterisk,
}

/// A request target that keeps to the grammar of its form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    raw: Bytes,
    shape: Shape,
}

/// Where the parts stand in the target. Small, since it is moved a few times on its way into the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    form: TargetForm,
    authority_start: u32,
    /// Where the authority ends, if there is one.
    path_start: u32,
    /// Where the path ends: at `?` or at the end.
    path_end: u32,
}

impl Shape {
    /// Reads a target; one with a space in it is refused.
    #[inline(always)]
    pub(crate) fn parse(target: &[u8], method: &[u8]) -> Result<Self, RequestError> {
        match target {
            [b'/', ..] if method != b"CONNECT" => Self::path_and_query(target, TargetForm::Origin, 0, 0),
            _ => Self::other_form(target, method),
        }
    }

    fn other_form(target: &[u8], method: &[u8]) -> Result<Self, RequestError> {
        match target {
            _ if method == b"CONNECT" => Self::authority(target),
            b"*" if method == b"OPTIONS" => {
                Ok(Self { form: TargetForm::Asterisk, authority_start: 0, path_start: 0, path_end: 1 })
            }
            b"*" => Err(RequestError::AsteriskForm),
            _ => Self::absolute(target),
        }
    }

    #[inline(always)]
    fn path_and_query(
        target: &[u8],
        form: TargetForm,
        authority_start: usize,
        path_start: usize,
    ) -> Result<Self, RequestError> {
        let rest = target.get(path_start..).unwrap_or_default();
        let (path, query) = rest.split_at(memchr(b'?', rest).unwrap_or(rest.len()));
        if !is_path(path) || !is_query(query) {
            return Err(RequestError::TargetByte { target: Shown::new(target) });
        }
        Ok(Self {
            form,
            authority_start: keep(authority_start),
            path_start: keep(path_start),
            path_end: keep(path_start + path.len()),
        })
    }

    fn absolute(target: &[u8]) -> Result<Self, RequestError> {
        let (https, start) = if starts_with_ignoring_case(target, b"http://") {
            (false, "http://".len())
        } else if starts_with_ignoring_case(target, b"https://") {
            (true, "https://".len())
        } else if is_path(target.split(|&byte| byte == b'?').next().unwrap_or_default()) {
            return Err(RequestError::TargetForm { target: Shown::new(target) });
        } else {
            return Err(RequestError::TargetByte { target: Shown::new(target) });
        };
        let rest = target.get(start..).unwrap_or_default();
        let length = rest.iter().position(|&byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, _) = rest.split_at(length);
        Authority::parse(authority).map_err(|fault| RequestError::TargetAuthority { fault })?;
        Self::path_and_query(target, TargetForm::Absolute { https }, start, start + length)
    }

    fn authority(target: &[u8]) -> Result<Self, RequestError> {
        match Authority::parse(target) {
            Ok(authority) if authority.port().is_some() => {
                let end = keep(target.len());
                Ok(Self { form: TargetForm::Authority, authority_start: 0, path_start: end, path_end: end })
            }
            _ => Err(RequestError::AuthorityForm),
        }
    }
}

fn starts_with_ignoring_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// An empty path, in origin form.
impl Default for Target {
    fn default() -> Self {
        let shape = Shape { form: TargetForm::Origin, authority_start: 0, path_start: 0, path_end: 0 };
        Self { raw: Bytes::new(), shape }
    }
}

impl Target {
    pub(crate) fn new(raw: Bytes, shape: Shape) -> Self {
        Self { raw, shape }
    }

    /// The target as sent.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// Its form.
    pub fn form(&self) -> TargetForm {
        self.shape.form
    }

    /// The path as sent; `/` where an absolute target has none, `*` in asterisk form, and empty for
    /// CONNECT.
    pub fn path(&self) -> &[u8] {
        match self.part(self.shape.path_start, self.shape.path_end) {
            [] if matches!(self.shape.form, TargetForm::Absolute { .. }) => b"/",
            path => path,
        }
    }

    /// What stands behind the first `?`, which may be empty.
    pub fn query(&self) -> Option<&[u8]> {
        self.raw.get(offset(self.shape.path_end)..)?.strip_prefix(b"?")
    }

    /// The authority of an absolute target or of CONNECT.
    pub fn authority(&self) -> Option<&[u8]> {
        match self.shape.form {
            TargetForm::Absolute { .. } | TargetForm::Authority => {
                Some(self.part(self.shape.authority_start, self.shape.path_start))
            }
            TargetForm::Origin | TargetForm::Asterisk => None,
        }
    }

    fn part(&self, start: u32, end: u32) -> &[u8] {
        self.raw.get(offset(start)..offset(end)).unwrap_or_default()
    }

    /// Path and query as the origin form would have them: what a backend is sent when nothing is
    /// rewritten. A slice of the buffer, but where an absolute target has a query and no path.
    pub fn path_and_query(&self) -> Bytes {
        self.clone().into_path_and_query()
    }

    /// The same of a target that is needed no more: the origin form costs nothing then.
    pub fn into_path_and_query(self) -> Bytes {
        let behind_authority = || self.raw.slice(offset(self.shape.path_start).min(self.raw.len())..);
        match self.shape.form {
            TargetForm::Origin | TargetForm::Asterisk => self.raw,
            TargetForm::Authority => Bytes::new(),
            TargetForm::Absolute { .. } => match behind_authority() {
                rest if rest.is_empty() => Bytes::from_static(b"/"),
                rest if rest.starts_with(b"?") => [b"/", &rest[..]].concat().into(),
                rest => rest,
            },
        }
    }

    /// Path and query as the `http` crate's type, sharing the buffer.
    ///
    /// # Errors
    /// For CONNECT, and for a target of 65 535 bytes and more, where the limits allow such.
    pub fn to_uri(&self) -> Result<Uri, InvalidUri> {
        Uri::from_maybe_shared(self.path_and_query())
    }
}
