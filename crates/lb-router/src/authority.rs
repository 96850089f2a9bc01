//! The host that a request names, read strictly.
//!
//! RFC 9110 §7.2 has a server answer 400 to a `Host` that is missing, repeated or invalid. What counts as
//! valid is narrower here than RFC 3986 §3.2.2: a name of letters, digits, `-`, `_` and `.`, or an IPv6
//! address in brackets. Percent-encoding, sub-delimiters and userinfo have no use in a `Host` but confusing
//! whoever reads it next.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Longest name in DNS, without a trailing dot (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;

/// A host and, where one was given, a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as written, in any letter case, without a trailing dot; IPv6 addresses keep their brackets.
    pub host: &'a str,
    /// The port, where one was given: `example.com:` has none (RFC 3986 §3.2.3).
    pub port: Option<u16>,
}

/// Why a host was refused: the answer is 400. Offsets are bytes of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No host at all. RFC 9110 §7.2 allows an empty `Host` only with a target that has no authority, which
    /// no http or https target is; a caller with another use may treat this case apart.
    #[error("the host is empty")]
    Empty,
    /// Longer than any name in DNS.
    #[error("the host is longer than {MAX_NAME} bytes")]
    TooLong,
    /// A byte that no host may hold: a comma, `@`, `/`, `%`, a space, a control, anything outside ASCII, …
    #[error("the byte 0x{byte:02x} at byte {at} of the host is not allowed")]
    Forbidden {
        /// Where it stands.
        at: usize,
        /// What it is.
        byte: u8,
    },
    /// Two dots in a row, or one in front.
    #[error("the host has an empty label at byte {at}")]
    EmptyLabel {
        /// Where the label is missing.
        at: usize,
    },
    /// Brackets that do not hold an IPv6 address; a zone (`%eth0`) means nothing to another machine.
    #[error("the brackets do not hold an IPv6 address")]
    BadIpv6,
    /// What follows the colon is no number up to 65535.
    #[error("the port is not a number from 0 to 65535")]
    BadPort,
}

impl Authority<'_> {
    /// The host in lower case, borrowed where it is so already.
    pub fn lowercase_host(&self) -> Cow<'_, str> {
        if self.host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(self.host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(self.host)
        }
    }

    /// Whether `other` names the same host: letter case and a trailing dot do not count.
    pub fn is_host(&self, other: &str) -> bool {
        self.host.eq_ignore_ascii_case(without_trailing_dot(other))
    }
}

/// Reads the value of a `Host` field, an `:authority`, or the authority of an absolute-form target.
///
/// # Errors
/// [`HostError`] says what is wrong with it: answer 400.
///
/// ```
/// use lb_router::authority::{HostError, parse_host};
///
/// let authority = parse_host(b"API.example.com.:8080")?;
/// assert_eq!((authority.host, authority.port), ("API.example.com", Some(8080)));
/// assert!(parse_host(b"a.example,b.example").is_err());
/// # Ok::<(), HostError>(())
/// ```
pub fn parse_host(value: &[u8]) -> Result<Authority<'_>, HostError> {
    let Ok(text) = str::from_utf8(value) else {
        let at = value.iter().position(|byte| !byte.is_ascii()).unwrap_or_default();
        return Err(HostError::Forbidden { at, byte: value.get(at).copied().unwrap_or_default() });
    };
    if text.starts_with('[') {
        return parse_ipv6(text);
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, parse_port(port)?),
        None => (text, None),
    };
    Ok(Authority { host: parse_name(name)?, port })
}

/// The host without the dot that makes it absolute in DNS.
pub(crate) fn without_trailing_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

fn parse_ipv6(text: &str) -> Result<Authority<'_>, HostError> {
    let end = text.find(']').ok_or(HostError::BadIpv6)? + 1;
    let (host, rest) = text.split_at_checked(end).ok_or(HostError::BadIpv6)?;
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.len() + 2 != host.len() || Ipv6Addr::from_str(address).is_err() {
        return Err(HostError::BadIpv6);
    }
    let port = match rest.strip_prefix(':') {
        Some(port) => parse_port(port)?,
        None if rest.is_empty() => None,
        None => return Err(HostError::BadPort),
    };
    Ok(Authority { host, port })
}

fn parse_port(digits: &str) -> Result<Option<u16>, HostError> {
    if digits.is_empty() {
        return Ok(None);
    }
    // `u16::from_str` takes a plus sign; a port has none.
    if digits.len() > 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::BadPort);
    }
    digits.parse().map(Some).map_err(|_| HostError::BadPort)
}

/// Checks a name in one pass; gives it back without a trailing dot.
pub(crate) fn parse_name(name: &str) -> Result<&str, HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    let name = without_trailing_dot(name);
    let mut before = b'.';
    for (at, byte) in name.bytes().enumerate() {
        match byte {
            b'.' if before == b'.' => return Err(HostError::EmptyLabel { at }),
            b'.' | b'-' | b'_' => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return Err(HostError::Forbidden { at, byte }),
        }
        before = byte;
    }
    if before == b'.' {
        return Err(HostError::EmptyLabel { at: name.len() });
    }
    if name.len() > MAX_NAME { Err(HostError::TooLong) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &[u8], expect: Result<(&str, Option<u16>), HostError>) {
        let got = parse_host(value).map(|authority| (authority.host, authority.port));
        assert_eq!(got, expect, "{}", value.escape_ascii());
    }

    #[test]
    fn hosts_are_read_with_and_without_port() {
        check(b"example.com", Ok(("example.com", None)));
        check(b"EXAMPLE.com.:80", Ok(("EXAMPLE.com", Some(80))));
        check(b"example.com:", Ok(("example.com", None)));
        check(b"my_service", Ok(("my_service", None)));
        check(b"127.0.0.1:65535", Ok(("127.0.0.1", Some(65535))));
        check(b"[::1]", Ok(("[::1]", None)));
        check(b"[2001:db8::1]:443", Ok(("[2001:db8::1]", Some(443))));
        check(b"xn--bcher-kva.example", Ok(("xn--bcher-kva.example", None)));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let forbidden = |at, byte| Err(HostError::Forbidden { at, byte });
        check(b"", Err(HostError::Empty));
        check(b":80", Err(HostError::Empty));
        check(b".", Err(HostError::EmptyLabel { at: 0 }));
        check(b".a", Err(HostError::EmptyLabel { at: 0 }));
        check(b"a..b", Err(HostError::EmptyLabel { at: 2 }));
        check(b"a..", Err(HostError::EmptyLabel { at: 2 }));
        check(b"a,b", forbidden(1, b','));
        check(b"user@localhost:8080", forbidden(4, b'@'));
        check(b"localhost/path", forbidden(9, b'/'));
        check(b"a b", forbidden(1, b' '));
        check(b" a", forbidden(0, b' '));
        check(b"a\tb", forbidden(1, b'\t'));
        check(b"a\0", forbidden(1, 0));
        check(b"a%2eb", forbidden(1, b'%'));
        check(b"a?b", forbidden(1, b'?'));
        check(b"a#b", forbidden(1, b'#'));
        check(b"a\\b", forbidden(1, b'\\'));
        check(b"*.a", forbidden(0, b'*'));
        check("bücher.example".as_bytes(), forbidden(1, 0xC3));
        check(b"a\xff", forbidden(1, 0xFF));
        check(b"a:b", Err(HostError::BadPort));
        check(b"a:+80", Err(HostError::BadPort));
        check(b"a:65536", Err(HostError::BadPort));
        check(b"a:000080", Err(HostError::BadPort));
        check(b"a:80:80", Err(HostError::BadPort));
        check(b"user:secret@a", Err(HostError::BadPort));
        check(b"http://a", Err(HostError::BadPort));
        check(b"::1", Err(HostError::BadPort));
        check(b"[::1", Err(HostError::BadIpv6));
        check(b"[::1]]", Err(HostError::BadPort));
        check(b"[[::1]]", Err(HostError::BadIpv6));
        check(b"[]", Err(HostError::BadIpv6));
        check(b"[::1%eth0]", Err(HostError::BadIpv6));
        check(b"[127.0.0.1]", Err(HostError::BadIpv6));
        check(b"[v1.a]", Err(HostError::BadIpv6));
        check(b"[::1]80", Err(HostError::BadPort));
        check(b"[::1]:x", Err(HostError::BadPort));
        check("a".repeat(254).as_bytes(), Err(HostError::TooLong));
    }

    #[test]
    fn hosts_compare_without_case_and_trailing_dot() {
        let authority = parse_host(b"API.Example.com:80").unwrap();
        assert!(authority.is_host("api.example.COM."));
        assert!(!authority.is_host("example.com"));
        assert_eq!(authority.lowercase_host(), "api.example.com");
        assert!(matches!(parse_host(b"api.example.com").unwrap().lowercase_host(), Cow::Borrowed(_)));
    }
}
