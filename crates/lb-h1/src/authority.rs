//! `host[:port]`, as it stands in Host and in the targets of CONNECT and absolute requests.
//!
//! Stricter than the grammar: what routing, logs and the server behind us could read as different hosts
//! is refused, although RFC 3986 would let some of it pass.

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::bytes_class::host_name_length;

/// A host and the port beside it, borrowed from where they stand.
///
/// ```
/// use lb_h1::Authority;
///
/// let authority = Authority::parse(b"[2001:db8::1]:8443")?;
/// assert_eq!((authority.host(), authority.port()), (&b"[2001:db8::1]"[..], Some(8443)));
/// assert!(Authority::parse(b"user@shop.example").is_err());
/// # Ok::<(), lb_h1::AuthorityFault>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

/// What is wrong with an authority, worded to follow its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthorityFault {
    /// Nothing there, or a port alone.
    #[error("is empty")]
    Empty,
    /// `user@` or `user:password@`.
    #[error("holds user information, which does not belong there")]
    UserInformation,
    /// More than one host.
    #[error("lists more than one host")]
    List,
    /// A byte that no host name has.
    #[error("holds a character that no host name has")]
    Byte,
    /// What follows the colon is not a number below 65 536.
    #[error("has a port that is not a number below 65536")]
    Port,
    /// Brackets without an IPv6 address in them.
    #[error("has brackets without an IPv6 address in them")]
    Brackets,
}

impl<'a> Authority<'a> {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`. An empty port (`host:`) counts as none.
    ///
    /// # Errors
    /// When it is empty or anything else stands there.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AuthorityFault> {
        let (host, rest) = match bytes {
            [b'[', ..] => {
                let Some(end) = memchr::memchr(b']', bytes) else { return Err(AuthorityFault::Brackets) };
                bytes.split_at(end + 1)
            }
            _ => bytes.split_at(host_name_length(bytes)),
        };
        let is_host = match host {
            [] => return Err(if bytes.is_empty() { AuthorityFault::Empty } else { diagnose(bytes, host) }),
            [b'[', address @ .., b']'] => is_ipv6(address),
            _ => true,
        };
        match read_port(rest) {
            Some(port) if is_host => Ok(Self { host, port }),
            _ => Err(diagnose(bytes, host)),
        }
    }

    /// The host as written, with the brackets of an IPv6 address.
    pub fn host(&self) -> &'a [u8] {
        self.host
    }

    /// The port, where one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether both name the same place, letter case aside and a missing port read as `default_port`.
    pub(crate) fn agrees_with(&self, other: &Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// What follows the host: nothing, `:`, or `:` and digits. The outer `None` is a fault.
fn read_port(rest: &[u8]) -> Option<Option<u16>> {
    match rest {
        [] | [b':'] => Some(None),
        [b':', digits @ ..] if digits.len() <= 5 => digits
            .iter()
            .try_fold(0u32, |port, &byte| byte.is_ascii_digit().then(|| port * 10 + u32::from(byte - b'0')))
            .and_then(|port| u16::try_from(port).ok())
            .map(Some),
        _ => None,
    }
}

/// `host` is as much of the authority as could be a host.
#[cold]
fn diagnose(authority: &[u8], host: &[u8]) -> AuthorityFault {
    let rest = authority.get(host.len()..).unwrap_or_default();
    if authority.contains(&b'@') {
        AuthorityFault::UserInformation
    } else if authority.contains(&b',') {
        AuthorityFault::List
    } else if matches!(host, [b'[', address @ .., b']'] if !is_ipv6(address)) {
        AuthorityFault::Brackets
    } else if host.is_empty() && rest.starts_with(b":") {
        AuthorityFault::Empty
    } else if host.starts_with(b"[") || rest.starts_with(b":") {
        AuthorityFault::Port
    } else {
        AuthorityFault::Byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_and_without_port_are_read() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("localhost:8080", "localhost", Some(8080)),
            ("localhost:", "localhost", None),
            ("a_b.example.", "a_b.example.", None),
            ("127.0.0.1:0", "127.0.0.1", Some(0)),
            ("[::1]", "[::1]", None),
            ("[::ffff:1.2.3.4]:65535", "[::ffff:1.2.3.4]", Some(65535)),
        ] {
            let authority = Authority::parse(text.as_bytes()).expect(text);
            assert_eq!((authority.host(), authority.port()), (host.as_bytes(), port), "{text}");
        }
    }

    #[test]
    fn every_fault_has_its_name() {
        for (text, fault) in [
            ("", AuthorityFault::Empty),
            (":80", AuthorityFault::Empty),
            ("u@h", AuthorityFault::UserInformation),
            ("u:p@h", AuthorityFault::UserInformation),
            ("a,b", AuthorityFault::List),
            ("a:80, b", AuthorityFault::List),
            ("a b", AuthorityFault::Byte),
            ("a/b", AuthorityFault::Byte),
            ("a%2eb", AuthorityFault::Byte),
            ("a?b", AuthorityFault::Byte),
            ("caf\u{e9}", AuthorityFault::Byte),
            ("a:b", AuthorityFault::Port),
            ("a:+80", AuthorityFault::Port),
            ("a:80:80", AuthorityFault::Port),
            ("a:65536", AuthorityFault::Port),
            ("a:000080", AuthorityFault::Port),
            ("a:80/x", AuthorityFault::Port),
            ("::1", AuthorityFault::Empty),
            ("[::1", AuthorityFault::Brackets),
            ("[]", AuthorityFault::Brackets),
            ("[v1.x]", AuthorityFault::Brackets),
            ("[fe80::1%25eth0]", AuthorityFault::Brackets),
            ("[::1]x", AuthorityFault::Port),
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Err(fault), "{text}");
        }
    }

    #[test]
    fn hosts_agree_whatever_their_case_and_with_the_port_the_scheme_implies() {
        let of = |text: &'static str| Authority::parse(text.as_bytes()).unwrap();
        assert!(of("Shop.example").agrees_with(&of("shop.EXAMPLE:80"), 80));
        assert!(!of("shop.example").agrees_with(&of("shop.example:8080"), 80));
        assert!(!of("shop.example").agrees_with(&of("shop.example."), 80));
    }
}
