//! What keyed strategies hash: where the key comes from, and a fixed, seedless hash, so that the same client has the same key
//! in every process and after every restart.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use crate::number::{GOLDEN, mix};

/// The key of a client's address. IPv6 counts by its /64, which one site holds whole (RFC 4291 §2.5.1), and an IPv4-mapped
/// address (`::ffff:192.0.2.1`, RFC 4291 §2.5.5.2) as the IPv4 address it stands for.
pub fn of_address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => mix(u64::from(u32::from(address)) ^ GOLDEN),
        IpAddr::V6(address) => mix(prefix_64(address).wrapping_add(GOLDEN.rotate_left(32))),
    }
}

/// The key of any bytes: a header's value, a cookie, a path. Well distributed, not for use against an attacker who may
/// choose the bytes and profits by a collision.
pub fn of_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = mix(GOLDEN ^ bytes.len() as u64);
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word)).wrapping_add(GOLDEN);
    }
    let tail = rest.iter().rev().fold(0, |tail: u64, byte| tail << 8 | u64::from(*byte));
    mix(hash ^ tail)
}

fn prefix_64(address: Ipv6Addr) -> u64 {
    let [a, b, c, d, ..] = address.segments();
    [a, b, c, d].iter().fold(0, |prefix, segment| prefix << 16 | u64::from(*segment))
}

/// Where a request's key comes from; the engine resolves it, as only it sees the request. Written `address`, `path`,
/// `header:NAME`, `cookie:NAME` or `query:NAME`. A request without the named part is keyed by its client's address.
///
/// ```
/// use lb_core::key::KeySource;
/// assert_eq!("header:X-User".parse(), Ok(KeySource::Header("X-User".into())));
/// assert!("header:".parse::<KeySource>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum KeySource {
    /// The client's address.
    #[default]
    Address,
    /// The request's path, without the query.
    Path,
    /// A request header's first value.
    Header(String),
    /// A cookie's value.
    Cookie(String),
    /// A query parameter's first value.
    Query(String),
}

/// What stands for no key source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` is no key; expected {expected}", expected = KeySource::ACCEPTED)]
pub struct KeySourceError {
    /// As it was written.
    pub written: String,
}

impl KeySource {
    pub(crate) const ACCEPTED: &'static str =
        "\"address\", \"path\", \"header:NAME\", \"cookie:NAME\" or \"query:NAME\"";
}

impl FromStr for KeySource {
    type Err = KeySourceError;

    fn from_str(written: &str) -> Result<Self, KeySourceError> {
        let error = || KeySourceError { written: written.to_owned() };
        let (kind, name) = match written.split_once(':') {
            Some((kind, name)) => (kind.trim(), Some(name.trim())),
            None => (written.trim(), None),
        };
        // A header's or cookie's name is a token (RFC 9110 §5.6.2); a query parameter may be any text.
        let token = |name: &str| !name.is_empty() && name.bytes().all(is_token);
        match (kind, name) {
            ("address" | "ip" | "client", None) => Ok(Self::Address),
            ("path", None) => Ok(Self::Path),
            ("header", Some(name)) if token(name) => Ok(Self::Header(name.to_owned())),
            ("cookie", Some(name)) if token(name) => Ok(Self::Cookie(name.to_owned())),
            ("query", Some(name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            _ => Err(error()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Path => f.write_str("path"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
        }
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> u64 {
        of_address(address.parse().unwrap())
    }

    #[test]
    fn ipv6_counts_by_its_first_64_bits() {
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
    }

    #[test]
    fn a_mapped_ipv4_address_is_that_ipv4_address() {
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.2"), of("192.0.2.1"));
    }

    #[test]
    fn the_hash_never_changes() {
        // Keys outlive processes: an edit that changes these moves every client of every user.
        assert_eq!(of("192.0.2.1"), 0xd5c6_df3d_94b8_a19e);
        assert_eq!(of("2001:db8::1"), 0x0fba_3d55_ff58_999d);
        assert_eq!(of_bytes(b""), 0x4821_8226_ff3c_d4bf);
        assert_eq!(of_bytes(b"session-42"), 0x27bf_5b52_14c7_0a4c);
    }

    #[test]
    fn neighbouring_addresses_spread_over_all_buckets() {
        let mut buckets = [0_u32; 16];
        for host in 0..16_000_u32 {
            let key = of_address(IpAddr::V4((0x0a00_0000 + host).into()));
            buckets[usize::try_from(key >> 60).unwrap()] += 1;
        }
        // 1000 ± 5 standard deviations.
        assert!(buckets.iter().all(|count| (845..1155).contains(count)), "{buckets:?}");
    }

    #[test]
    fn bytes_differ_by_content_length_and_place() {
        let all = [
            &b""[..],
            b"\0",
            b"\0\0",
            b"a",
            b"b",
            b"ab",
            b"ba",
            b"abcdefgh",
            b"abcdefgh\0",
            b"bbcdefgh",
            b"abcdefghabcdefgh",
        ];
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert_ne!(of_bytes(one), of_bytes(other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn key_sources_read_back_as_written() {
        for written in ["address", "path", "header:X-User", "cookie:sid", "query:user id"] {
            assert_eq!(written.parse::<KeySource>().unwrap().to_string(), written);
        }
        for bad in ["", "header", "header:", "header:a b", "cookie:", "query:", "host", "path:x"] {
            assert!(bad.parse::<KeySource>().is_err(), "{bad}");
        }
    }
}
