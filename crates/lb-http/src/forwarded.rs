//! Who the client is, and how the backend is told: `X-Forwarded-*`, `X-Real-IP`, `Forwarded` (RFC 7239).
//!
//! These fields are believed from trusted proxies alone and appended to; from anyone else they are replaced, so
//! that nobody can speak for another address. There are more of that family than the gateway has anything to say of (`-Port`,
//! `-Prefix`, `-Server`, …), which applications build addresses from and decide by: from anyone else they go, whatever they are called.

use std::net::IpAddr;

use http::header::{self, HeaderValue};
use ipnet::IpNet;
use lb_h1::Fields;

use crate::fields::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, REAL_IP};

/// Whether an address belongs to one of our own proxies.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|network| network.contains(&address))
}

/// The address of the client behind a trusted peer: the rightmost in `X-Forwarded-For` that is not a trusted
/// proxy itself. Where the list is malformed, what stands left of the fault is not believed.
pub(crate) fn client_behind(peer: IpAddr, headers: &Fields, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer;
    for line in headers.get_all(&FORWARDED_FOR).rev() {
        for entry in str::from_utf8(line).unwrap_or_default().rsplit(',') {
            let Some(address) = parse_address(entry.trim()) else { return client };
            client = address;
            if !is_trusted(address, trusted) {
                return client;
            }
        }
    }
    client
}

/// An address as proxies write it: bare, with a port, or IPv6 in brackets.
fn parse_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.parse().ok();
    bare.or_else(|| entry.parse().ok().map(|socket: std::net::SocketAddr| socket.ip()))
        .or_else(|| entry.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

/// What the forwarding fields are made of.
pub(crate) struct Hop<'a> {
    /// The peer's address as a field value, made once a connection.
    pub(crate) peer: &'a HeaderValue,
    /// The client's address, the peer's own unless it is trusted.
    pub(crate) client: IpAddr,
    /// Whether what the peer says of others is believed.
    pub(crate) trusted: bool,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The authority that the client asked for.
    pub(crate) host: Option<&'a [u8]>,
}

/// How the names of the family begin.
const FAMILY: &str = "x-forwarded-";

/// Sets the fields on a request that is about to be forwarded.
pub(crate) fn apply(headers: &mut Fields, hop: &Hop<'_>) {
    if !hop.trusted {
        headers.remove_beginning(FAMILY);
    }
    let before = if hop.trusted { joined(headers, hop.peer) } else { None };
    headers.insert(&FORWARDED_FOR, before.as_ref().unwrap_or(hop.peer));
    if headers.contains(&header::FORWARDED) {
        apply_forwarded(headers, hop);
    }
    if !(hop.trusted && headers.contains(&REAL_IP)) {
        let real = hop.trusted.then(|| address_value(hop.client));
        headers.insert(&REAL_IP, real.as_ref().unwrap_or(hop.peer));
    }
    if !(hop.trusted && headers.contains(&FORWARDED_PROTO)) {
        headers.insert(&FORWARDED_PROTO, &HeaderValue::from_static(hop.scheme));
    }
    if !(hop.trusted && headers.contains(&FORWARDED_HOST)) {
        headers.remove(&FORWARDED_HOST);
        if hop.host.is_some() {
            headers.copy(&header::HOST, &FORWARDED_HOST);
        }
    }
}

/// The present `X-Forwarded-For` lines and the peer as one list.
fn joined(headers: &Fields, peer: &HeaderValue) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for line in headers.get_all(&FORWARDED_FOR) {
        list.extend_from_slice(line);
        list.extend_from_slice(b", ");
    }
    if list.is_empty() {
        return None;
    }
    list.extend_from_slice(peer.as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok()
}

/// `Forwarded` is optional: it is kept up where a trusted peer uses it, and replaced where anyone else sent it.
fn apply_forwarded(headers: &mut Fields, hop: &Hop<'_>) {
    let mut list = Vec::new();
    if hop.trusted {
        for line in headers.get_all(&header::FORWARDED) {
            list.extend_from_slice(line);
            list.extend_from_slice(b", ");
        }
    }
    let peer = hop.peer.to_str().unwrap_or("unknown");
    let node = if peer.contains(':') { format!("\"[{peer}]\"") } else { peer.to_owned() };
    list.extend_from_slice(format!("for={node};proto={}", hop.scheme).as_bytes());
    if let Some(host) = hop.host {
        list.extend_from_slice(b";host=\"");
        list.extend_from_slice(host);
        list.push(b'"');
    }
    match HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
        Ok(value) => headers.insert(&header::FORWARDED, &value),
        Err(_) => drop(headers.remove(&header::FORWARDED)),
    }
}

/// An address as a field value; IPv4 in IPv6 is written as IPv4.
pub(crate) fn address_value(address: IpAddr) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(address.to_canonical().to_string()))
        .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderName};

    fn networks() -> Vec<IpNet> {
        vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1/32".parse().unwrap(), "fd00::/8".parse().unwrap()]
    }

    fn client_of(lines: &[&str]) -> String {
        let mut headers = Fields::default();
        for line in lines {
            headers.append(&FORWARDED_FOR, &line.parse().unwrap());
        }
        client_behind("127.0.0.1".parse().unwrap(), &headers, &networks()).to_string()
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        for (lines, client) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
            (&["6.6.6.6, 203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["6.6.6.6", "203.0.113.7, 10.1.1.1"], "203.0.113.7"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&["203.0.113.7:5123"], "203.0.113.7"),
            (&["[2001:db8::1]:80"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["6.6.6.6, nonsense, 10.1.1.1"], "10.1.1.1"),
            (&[""], "127.0.0.1"),
            (&[], "127.0.0.1"),
        ] {
            assert_eq!(client_of(lines), client, "{lines:?}");
        }
    }

    #[test]
    fn ipv4_in_ipv6_is_trusted_as_ipv4() {
        assert!(is_trusted("::ffff:10.0.0.1".parse().unwrap(), &networks()));
    }

    fn forwarded(trusted: bool, before: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = Fields::default();
        headers.insert(&header::HOST, &HeaderValue::from_static("example.com"));
        for (name, value) in before {
            headers.append(&HeaderName::from_static(name), &value.parse().unwrap());
        }
        let peer = HeaderValue::from_static("10.0.0.9");
        let hop = Hop {
            peer: &peer,
            client: if trusted { "203.0.113.7".parse().unwrap() } else { "10.0.0.9".parse().unwrap() },
            trusted,
            scheme: "http",
            host: Some(b"example.com"),
        };
        apply(&mut headers, &hop);
        headers.to_map()
    }

    #[test]
    fn a_stranger_cannot_speak_for_another_address() {
        let headers = forwarded(
            false,
            &[
                ("x-forwarded-for", "6.6.6.6"),
                ("x-real-ip", "6.6.6.6"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("forwarded", "for=6.6.6.6"),
                ("x-forwarded-port", "6"),
                ("x-forwarded-anything", "evil"),
                ("x-forwarded", "is of no family"),
            ],
        );
        assert!(!headers.contains_key("x-forwarded-port") && !headers.contains_key("x-forwarded-anything"));
        assert!(headers.contains_key("x-forwarded"));
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(headers["x-real-ip"], "10.0.0.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "example.com");
        assert_eq!(headers["forwarded"], "for=10.0.0.9;proto=http;host=\"example.com\"");
    }

    #[test]
    fn a_trusted_proxy_is_believed_and_appended_to() {
        let headers = forwarded(
            true,
            &[
                ("x-forwarded-for", "203.0.113.7"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=203.0.113.7"),
                ("x-forwarded-port", "443"),
            ],
        );
        assert_eq!(headers["x-forwarded-port"], "443");
        assert_eq!(headers["x-forwarded-for"], "203.0.113.7, 10.0.0.9");
        assert_eq!(headers["x-real-ip"], "203.0.113.7");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["forwarded"], "for=203.0.113.7, for=10.0.0.9;proto=http;host=\"example.com\"");
    }
}
