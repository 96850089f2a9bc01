//! The grammar of W3C Trace Context (Recommendation of 2021-11-23), read strictly.

use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The length of a `traceparent` of version 00.
pub(super) const TRACEPARENT_LENGTH: usize = 55;
/// The flag that says that the caller may have recorded the trace.
const SAMPLED: u8 = 1;
/// Members of a `tracestate` (§3.3.1.1).
const MAX_MEMBERS: usize = 32;
/// Characters of a member's key, and of its value.
const MAX_TEXT: usize = 256;

/// A trace's id: 16 bytes, not all zero. Shown as 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId(NonZeroU128);

/// A span's id: 8 bytes, not all zero. Shown as 16 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId(NonZeroU64);

impl TraceId {
    pub(super) fn random() -> Self {
        Self(NonZeroU128::new(fastrand::u128(..)).unwrap_or(NonZeroU128::MIN))
    }

    /// Its bytes, in the order they are written.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.get().to_be_bytes()
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(NonZeroU64::new(fastrand::u64(..)).unwrap_or(NonZeroU64::MIN))
    }

    /// Its bytes, in the order they are written.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        self.0.get().to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) is_sampled: bool,
}

impl Parent {
    /// Reads `version-trace-parent-flags`. Of later versions what version 00 has is read (§4.3).
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(TRACEPARENT_LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let version = hex(parts.next()?, 2)?;
        let trace = hex(parts.next()?, 32)?;
        let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        (is_whole && parts.next().is_none()).then_some(())?;
        Some(Self {
            trace: TraceId(NonZeroU128::new(trace)?),
            span: SpanId(NonZeroU64::new(span)?),
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// So many lower-case hexadecimal digits.
fn hex(digits: &[u8], length: usize) -> Option<u128> {
    if digits.len() != length {
        return None;
    }
    digits.iter().try_fold(0, |number: u128, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

/// Writes a `traceparent` of version 00. Flags that the Recommendation does not know are 0.
pub(super) fn write_traceparent(
    out: &mut [u8; TRACEPARENT_LENGTH],
    trace: TraceId,
    span: SpanId,
    is_sampled: bool,
) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let trace = trace.to_bytes();
    let span = span.to_bytes();
    let flags = [u8::from(is_sampled)];
    let mut places = out.iter_mut();
    let mut put = |byte: u8| {
        if let Some(place) = places.next() {
            *place = byte;
        }
    };
    for (index, part) in [&[0][..], &trace, &span, &flags].into_iter().enumerate() {
        if index > 0 {
            put(b'-');
        }
        for byte in part {
            for nibble in [byte >> 4, byte & 15] {
                put(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
            }
        }
    }
}

/// Whether these lines are together a `tracestate` (§3.3.1). A key that is there twice does no harm and is let pass.
pub(super) fn is_tracestate<'a>(lines: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut members = 0;
    for line in lines {
        for member in line.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            members += 1;
            if members > MAX_MEMBERS || !is_member(member) {
                return false;
            }
        }
    }
    true
}

fn is_member(member: &[u8]) -> bool {
    let mut parts = member.splitn(2, |byte| *byte == b'=');
    let (Some(key), Some(value)) = (parts.next(), parts.next()) else { return false };
    is_key(key) && is_value(value)
}

/// A name, or a tenant's at a system (`tenant@system`).
fn is_key(key: &[u8]) -> bool {
    let is_inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let is_name = |name: &[u8], max: usize, may_begin_with_digit: bool| {
        let begins_well = match name.first() {
            Some(first) => first.is_ascii_lowercase() || may_begin_with_digit && first.is_ascii_digit(),
            None => false,
        };
        begins_well && name.len() <= max && name.iter().all(is_inner)
    };
    match key.iter().position(|byte| *byte == b'@') {
        None => is_name(key, MAX_TEXT, true),
        Some(at) => {
            let (tenant, system) = (key.get(..at).unwrap_or_default(), key.get(at + 1..).unwrap_or_default());
            is_name(tenant, 241, true) && is_name(system, 14, false)
        }
    }
}

fn is_value(value: &[u8]) -> bool {
    let is_printable = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=MAX_TEXT).contains(&value.len()) && value.iter().all(is_printable) && value.last() != Some(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn parse(text: &str) -> Option<Parent> {
        Parent::parse(text.as_bytes())
    }

    #[test]
    fn a_traceparent_is_read() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true), ("ff", true)] {
            let parent = parse(&format!("00-{TRACE}-{SPAN}-{flags}")).unwrap();
            assert_eq!(
                (parent.trace.to_string(), parent.span.to_string()),
                (TRACE.to_owned(), SPAN.to_owned())
            );
            assert_eq!(parent.is_sampled, is_sampled, "{flags}");
        }
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for rest in ["", "-", "-what-the-future-will-be-like"] {
            assert!(parse(&format!("01-{TRACE}-{SPAN}-01{rest}")).unwrap().is_sampled, "{rest}");
            assert!(parse(&format!("cc-{TRACE}-{SPAN}-00{rest}")).is_some(), "{rest}");
        }
        assert_eq!(parse(&format!("01-{TRACE}-{SPAN}-01.what")), None);
    }

    #[test]
    fn what_is_malformed_is_no_parent() {
        let zero = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-0"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!("00-{zero}-{SPAN}-01"),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0G"),
            format!("00-{TRACE}-{SPAN}-.1"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}a-{}-01", &SPAN[1..]),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-\u{e9}"),
        ] {
            assert_eq!(parse(&text), None, "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_known_by_its_grammar() {
        let is = |lines: &[&str]| is_tracestate(lines.iter().map(|line| line.as_bytes()));
        let many = |count: usize| (0..count).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        for good in [
            &["foo=1"][..],
            &["foo=1,bar=2"],
            &["foo=1", "bar=2"],
            &["foo=1 , \t bar=2", ""],
            &["foo=1,,bar=2,"],
            &["fw529a3039@dt=FfAAA==".trim_end_matches('=')],
            &["0tenant@sys=a b c"],
            &["foo=1,foo=2"],
            &[""],
            &["a*b/c_d-e=\"#$%&'()~"],
            &[&many(32)],
        ] {
            assert!(is(good), "{good:?}");
        }
        let long = format!("{}=1", "z".repeat(257));
        let value = format!("foo={}", "z".repeat(257));
        for bad in [
            &["foo"][..],
            &["foo="],
            &["=1"],
            &["foo=1=2"],
            &["Foo=1"],
            &["foo =1"],
            &["foo.bar=1"],
            &["foo@=1"],
            &["@foo=1"],
            &["foo@@bar=1"],
            &["foo@0bar=1"],
            &["foo@bar@baz=1"],
            &["foo=\u{e9}"],
            &["foo=1;bar=2=3"],
            &[&long],
            &[&value],
            &[&many(33)],
            &[&many(20), &many(20)],
        ] {
            assert!(!is(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in 1u128.., span in 1u64.., is_sampled: bool) {
            let parent = Parent {
                trace: TraceId(NonZeroU128::new(trace).unwrap()),
                span: SpanId(NonZeroU64::new(span).unwrap()),
                is_sampled,
            };
            let mut text = [0; TRACEPARENT_LENGTH];
            write_traceparent(&mut text, parent.trace, parent.span, is_sampled);
            prop_assert_eq!(Parent::parse(&text), Some(parent));
        }

        #[test]
        fn nothing_that_comes_makes_it_panic(value: Vec<u8>) {
            let _ = Parent::parse(&value);
            let _ = is_tracestate([&value[..]].into_iter());
        }
    }
}
