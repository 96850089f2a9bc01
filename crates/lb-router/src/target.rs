//! The one form in which paths are matched and forwarded.
//!
//! A proxy that matches one spelling of a path and forwards another lets a client step around its rules:
//! `/static/..;/admin`, `/static/%2e%2e/admin` and `/static\..\admin` are all `/admin` to some backend. So a
//! path is brought to one form before anything looks at it, and what could still be read as a dot segment by
//! a backend that decodes, or cuts at `;`, or takes `\` for `/`, is refused.
//!
//! Cost: a clean path is scanned once with a table and borrowed; only others are rebuilt.

use std::borrow::Cow;

use crate::percent::{encoded, hex_pair, is_segment_byte, is_unreserved};

/// Why a path was refused: the answer is 400. Offsets are bytes of the path as it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path does not begin with a slash.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// A NUL, plain or as `%00`.
    #[error("a NUL at byte {at} of the path")]
    Nul {
        /// Where it stands.
        at: usize,
    },
    /// A `%` that two hexadecimal digits do not follow.
    #[error("bad percent-encoding at byte {at} of the path")]
    BadPercent {
        /// Where the `%` stands.
        at: usize,
    },
    /// A plain `\`, which some backends take for a slash.
    #[error("a backslash at byte {at} of the path")]
    Backslash {
        /// Where it stands.
        at: usize,
    },
    /// A byte that no path may hold: a control, a space, `#`, `?` or anything outside ASCII.
    #[error("the byte 0x{byte:02x} at byte {at} of the path must be percent-encoded")]
    Forbidden {
        /// Where it stands.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// A segment that becomes `.` or `..` by decoding, by cutting at `;` or by splitting at `%2F` or `%5C`.
    #[error("the segment at byte {at} of the path hides a dot segment")]
    HiddenDotSegment {
        /// Where the segment begins.
        at: usize,
    },
}

/// The byte is a slash.
const SLASH: u8 = 1;
/// The byte must be looked at again when it follows a slash: `//`, `/.`.
const AFTER_SLASH: u8 = SLASH << 1;
/// The byte must always be looked at again.
const ALWAYS: u8 = 1 << 2;

/// What the first scan needs to know of each byte.
static CLASS: [u8; 256] = {
    let mut table = [ALWAYS; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let class = match byte {
            b'/' => SLASH | AFTER_SLASH,
            b'.' => AFTER_SLASH,
            b';' => ALWAYS,
            _ if is_segment_byte(byte) => 0,
            _ => ALWAYS,
        };
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; byte < 128")]
        {
            table[byte as usize] = class;
        }
        byte += 1;
    }
    table
};

/// Brings the path of a request target (without its query) to the form in which it is matched and forwarded.
///
/// - Dot segments are removed (RFC 3986 §5.2.4) and never climb above the root.
/// - Repeated slashes are merged where `merge_slashes` is set, before dot segments are removed.
/// - Percent-encoded unreserved characters are decoded, other encodings are kept with upper-case digits; `%2F`
///   stays apart from `/`. Visible characters that a path may not hold as they are, such as `|`, are encoded.
/// - The empty path is `/` (RFC 9110 §4.2.3).
///
/// The result begins with a slash, is ASCII, normalises to itself, and holds no dot segment even to a reader
/// who decodes it once more, splits at `\` too, or cuts segments at `;`.
///
/// # Errors
/// [`PathError`] says what the path holds that is refused rather than mended: answer 400.
///
/// ```
/// use lb_router::target::normalize_path;
///
/// assert_eq!(normalize_path("/a/./b//c/../%7euser/x%2fy", true).as_deref(), Ok("/a/b/~user/x%2Fy"));
/// assert!(normalize_path("/static/..;/admin", true).is_err());
/// ```
pub fn normalize_path(raw: &str, merge_slashes: bool) -> Result<Cow<'_, str>, PathError> {
    let Some(relative) = raw.strip_prefix('/') else {
        return if raw.is_empty() { Ok(Cow::Borrowed("/")) } else { Err(PathError::NotAbsolute) };
    };
    if is_clean(raw) {
        return Ok(Cow::Borrowed(raw));
    }
    let rebuilt = rebuild(relative, merge_slashes)?;
    Ok(if rebuilt == raw { Cow::Borrowed(raw) } else { Cow::Owned(rebuilt) })
}

/// Whether the path is in its final form for certain. May be wrong to the safe side: `/.well-known`, `/a;b`.
fn is_clean(path: &str) -> bool {
    let mut before = 0;
    let mut again = 0;
    for &byte in path.as_bytes() {
        #[expect(clippy::indexing_slicing, reason = "a byte is always inside a table of 256")]
        let class = CLASS[usize::from(byte)];
        again |= class & (ALWAYS | (before & SLASH) << 1);
        before = class;
    }
    again == 0
}

/// Writes the path anew, one segment at a time; `relative` is the path without its first slash.
fn rebuild(relative: &str, merge_slashes: bool) -> Result<String, PathError> {
    let mut path = String::with_capacity(relative.len() + 1);
    let mut at = 1;
    for segment in relative.split('/') {
        let last = at + segment.len() > relative.len();
        match segment {
            "" if merge_slashes && !last => {}
            "." if !last => {}
            "" | "." => path.push('/'),
            ".." => {
                path.truncate(path.rfind('/').unwrap_or(0));
                if last {
                    path.push('/');
                }
            }
            _ => {
                path.push('/');
                push_segment(&mut path, segment, at)?;
            }
        }
        at += segment.len() + 1;
    }
    Ok(path)
}

/// Appends one segment in its final form, or says why it is refused; `at` is where it begins.
fn push_segment(path: &mut String, segment: &str, at: usize) -> Result<(), PathError> {
    let mut dots = DotSegments::default();
    push_text(path, segment, at, &mut dots)?;
    if dots.finish() { Err(PathError::HiddenDotSegment { at }) } else { Ok(()) }
}

/// Appends text of a path in its final form, byte by byte, and shows each decoded byte to `dots`.
fn push_text(path: &mut String, text: &str, at: usize, dots: &mut DotSegments) -> Result<(), PathError> {
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let at = at + text.len() - rest.len();
        rest = tail;
        let meant = match byte {
            b'%' => {
                let meant = hex_pair(tail).ok_or(PathError::BadPercent { at })?;
                rest = tail.get(2..).unwrap_or_default();
                if is_unreserved(meant) {
                    path.push(char::from(meant));
                } else {
                    path.extend(encoded(meant));
                }
                meant
            }
            b'/' => {
                path.push('/');
                byte
            }
            b'\\' => return Err(PathError::Backslash { at }),
            b'#' | b'?' | ..=b' ' | 0x7F.. if byte != 0 => return Err(PathError::Forbidden { at, byte }),
            _ if is_segment_byte(byte) => {
                path.push(char::from(byte));
                byte
            }
            _ => {
                path.extend(encoded(byte));
                byte
            }
        };
        if meant == 0 {
            return Err(PathError::Nul { at });
        }
        dots.read(meant);
    }
    Ok(())
}

/// Brings literal text of a rewrite to the form of a path, without looking at its segments.
pub(crate) fn normalize_text(text: &str) -> Result<String, PathError> {
    let mut normal = String::with_capacity(text.len());
    push_text(&mut normal, text, 0, &mut DotSegments::default())?;
    Ok(normal)
}

/// Whether a backend could read a dot segment in `path`, as it stands or after one round of decoding.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    let mut dots = DotSegments::default();
    crate::percent::decode(path.as_bytes()).for_each(|byte| dots.read(byte));
    dots.finish()
}

/// Finds `.` and `..` among decoded bytes as the most lenient backend would read them.
#[derive(Default)]
struct DotSegments {
    /// Bytes of the present segment if all of them are dots; [`Self::NOT_DOTS`] if not.
    dots: u8,
    /// Past a `;`: some backends cut the rest of the segment away.
    in_parameters: bool,
    found: bool,
}

impl DotSegments {
    const NOT_DOTS: u8 = 3;

    fn read(&mut self, byte: u8) {
        match byte {
            b'/' | b'\\' => self.end_segment(),
            _ if self.in_parameters => {}
            b';' => self.in_parameters = true,
            b'.' => self.dots = Self::NOT_DOTS.min(self.dots + 1),
            _ => self.dots = Self::NOT_DOTS,
        }
    }

    fn end_segment(&mut self) {
        self.found |= matches!(self.dots, 1 | 2);
        self.dots = 0;
        self.in_parameters = false;
    }

    fn finish(mut self) -> bool {
        self.end_segment();
        self.found
    }
}

#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
