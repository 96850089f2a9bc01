//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): who a connection comes
//! from, said ahead of its first byte.
//!
//! Read of clients' connections ([`accept`]), and written to backends that want it. The format is read strictly and here rather than
//! by a crate: a header must be told from its beginning when it comes byte by byte, and what follows it belongs to someone else.

pub(crate) mod accept;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::ProxyVersion;

/// What begins version 1.
const TEXT: &[u8] = b"PROXY ";
/// The longest header of version 1, with its line end (§2.1).
const MAX_TEXT: usize = 107;
/// What begins version 2 (§2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 ahead of those that it says the number of.
const FIXED: usize = 16;
/// The most bytes after those that are borne: far above what senders need, and far below what the format allows.
const MAX_BINARY: usize = 4 << 10;
/// The longest header.
pub(crate) const MAX_HEADER: usize = FIXED + MAX_BINARY;

/// Both ends of a client's connection, as the PROXY protocol names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client's.
    pub(crate) source: SocketAddr,
    /// Where it connected to.
    pub(crate) destination: SocketAddr,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// They begin as none does.
    #[error("there is no PROXY header")]
    Missing,
    /// A line of version 1 that does not end in time, or not as it should.
    #[error("the PROXY line has no end within {MAX_TEXT} bytes")]
    Endless,
    /// A line of version 1 that says something else.
    #[error("the PROXY line names no two addresses and ports")]
    Line,
    /// Neither 2, nor a known command, family or transport.
    #[error("the PROXY header has an unknown version, command, family or transport")]
    Unknown,
    /// Longer than is borne.
    #[error("the PROXY header is longer than {MAX_HEADER} bytes")]
    TooLong,
    /// Addresses or additions do not fit in what it says to be long.
    #[error("the parts of the PROXY header do not fit in its length")]
    Short,
}

/// A header's length, and the ends that it names; none where the sender speaks for itself or of no TCP connection, so that the
/// connection's own hold.
pub(crate) type Header = (usize, Option<Ends>);

/// Reads a header from the beginning of a connection's bytes; nothing where it is not whole yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    if begins(bytes, TEXT) {
        return parse_text(bytes);
    }
    if begins(bytes, SIGNATURE) {
        return parse_binary(bytes);
    }
    Err(HeaderError::Missing)
}

/// Whether the bytes begin so, as far as they are there.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, expected)| byte == expected)
}

fn parse_text(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let line = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    let Some(end) = memchr(b'\n', line) else {
        return if bytes.len() < MAX_TEXT { Ok(None) } else { Err(HeaderError::Endless) };
    };
    let line = line.get(TEXT.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| str::from_utf8(line).ok()).ok_or(HeaderError::Line)?;
    let mut words = line.split(' ');
    let ends = match words.next() {
        // Whatever follows is of no meaning.
        Some("UNKNOWN") => return Ok(Some((end + 1, None))),
        Some("TCP4") => text_ends::<Ipv4Addr>(words),
        Some("TCP6") => text_ends::<Ipv6Addr>(words),
        _ => None,
    };
    ends.map(|ends| Some((end + 1, Some(ends)))).ok_or(HeaderError::Line)
}

fn memchr(byte: u8, bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|other| *other == byte)
}

fn text_ends<'a, A: std::str::FromStr + Into<IpAddr>>(
    mut words: impl Iterator<Item = &'a str>,
) -> Option<Ends> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (address()?, address()?);
    let (from, to) = (port(words.next()?)?, port(words.next()?)?);
    let ends = Ends { source: (source, from).into(), destination: (destination, to).into() };
    words.next().is_none().then_some(ends)
}

/// Digits alone, without zeros ahead of them.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., version, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match version {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Unknown),
    };
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(HeaderError::Unknown);
    }
    if length > MAX_BINARY {
        return Err(HeaderError::TooLong);
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let ends = match family {
        _ if is_local => None,
        0x11 => Some(binary_ends(body, Ipv4Addr::from_octets)?),
        0x21 => Some(binary_ends(body, Ipv6Addr::from_octets)?),
        // Of another kind than TCP over IP: the connection's own ends are the better ones.
        _ => None,
    };
    Ok(Some((FIXED + length, ends)))
}

/// Two addresses and two ports, and then additions that fit.
fn binary_ends<const N: usize, A: Into<IpAddr>>(
    body: &[u8],
    address: fn([u8; N]) -> A,
) -> Result<Ends, HeaderError> {
    let read = || {
        let (source, body) = body.split_first_chunk::<N>()?;
        let (destination, body) = body.split_first_chunk::<N>()?;
        let (from, body) = body.split_first_chunk::<2>()?;
        let (to, mut additions) = body.split_first_chunk::<2>()?;
        // A type, a length and a value each (§2.2.1). None of them is needed here.
        while !additions.is_empty() {
            let ([_, high, low], rest) = additions.split_first_chunk::<3>()?;
            additions = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)?;
        }
        let end = |octets: &[u8; N], port: &[u8; 2]| {
            SocketAddr::new(address(*octets).into(), u16::from_be_bytes(*port))
        };
        Some(Ends { source: end(source, from), destination: end(destination, to) })
    };
    read().ok_or(HeaderError::Short)
}

/// A header that names these ends.
pub(crate) fn header(version: ProxyVersion, ends: Ends) -> Vec<u8> {
    let Ends { source, destination } = ends;
    let pair = match (source.ip().to_canonical(), destination.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Pair::V4(source, destination),
        (source, destination) => Pair::V6(sixth(source), sixth(destination)),
    };
    let (from, to) = (source.port(), destination.port());
    match version {
        ProxyVersion::V1 => match pair {
            Pair::V4(source, destination) => format!("PROXY TCP4 {source} {destination} {from} {to}\r\n"),
            Pair::V6(source, destination) => format!("PROXY TCP6 {source} {destination} {from} {to}\r\n"),
        }
        .into_bytes(),
        ProxyVersion::V2 => {
            let (family, addresses) = match pair {
                Pair::V4(source, destination) => (0x11, [source.octets(), destination.octets()].concat()),
                Pair::V6(source, destination) => (0x21, [source.octets(), destination.octets()].concat()),
            };
            binary(0x21, family, &[&addresses[..], &from.to_be_bytes(), &to.to_be_bytes()].concat())
        }
    }
}

/// A header that speaks for nobody else, as for probes.
pub(crate) fn own(version: ProxyVersion) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => b"PROXY UNKNOWN\r\n".to_vec(),
        ProxyVersion::V2 => binary(0x20, 0, &[]),
    }
}

/// Both of one family, as a header has them.
enum Pair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

fn sixth(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

fn binary(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    // 36 bytes at most.
    let length = u16::try_from(body.len()).unwrap_or_default().to_be_bytes();
    [&SIGNATURE[..], &[version_and_command, family], &length, body].concat()
}

#[cfg(test)]
mod tests;
