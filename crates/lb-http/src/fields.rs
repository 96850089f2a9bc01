//! What stands in a head, found in one pass, and the removal of what must not travel (RFC 9110 §7.6.1).
//!
//! Looking eight names up costs eight hashes a request; one walk over the fields that are there tells which of
//! them are present at all, and almost always none is.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// `X-Request-Id`.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `X-Forwarded-For`.
pub(crate) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub(crate) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub(crate) const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Real-IP`.
pub(crate) const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Which of the fields that matter here a head holds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Any field that belongs to the connection rather than to the message.
    pub(crate) hop_by_hop: bool,
    /// A `Connection` field, which may name more of them.
    pub(crate) connection: bool,
    /// `Transfer-Encoding`.
    pub(crate) transfer_encoding: bool,
    /// `Expect`.
    pub(crate) expect: bool,
    /// How many `Host` fields; 2 stands for more as well.
    pub(crate) hosts: u8,
    /// How many `Content-Length` fields; 2 stands for more as well.
    pub(crate) content_lengths: u8,
    /// `X-Request-Id`.
    pub(crate) request_id: bool,
    /// `Forwarded` (RFC 7239).
    pub(crate) forwarded: bool,
    /// A name with an underscore, which some backends take for a hyphen.
    pub(crate) underscore: bool,
}

/// Walks over a head once.
pub(crate) fn scan(headers: &HeaderMap) -> Seen {
    let mut seen = Seen::default();
    for name in headers.keys() {
        match name.as_str() {
            "host" => seen.hosts = count_to_two(headers, &header::HOST),
            "content-length" => seen.content_lengths = count_to_two(headers, &header::CONTENT_LENGTH),
            "connection" => (seen.connection, seen.hop_by_hop) = (true, true),
            "transfer-encoding" => (seen.transfer_encoding, seen.hop_by_hop) = (true, true),
            "keep-alive" | "proxy-connection" | "te" | "upgrade" | "http2-settings" => seen.hop_by_hop = true,
            "expect" => seen.expect = true,
            "x-request-id" => seen.request_id = true,
            "forwarded" => seen.forwarded = true,
            other => seen.underscore |= other.as_bytes().contains(&b'_'),
        }
    }
    seen
}

fn count_to_two(headers: &HeaderMap, name: &HeaderName) -> u8 {
    let mut values = headers.get_all(name).iter();
    u8::from(values.next().is_some()) + u8::from(values.next().is_some())
}

/// Removes the fields that end at this hop: the known ones, and those that `Connection` names.
///
/// A name in `Connection` cannot take away what the message's meaning or framing rests on: `Host`,
/// `Content-Length` and the like stay, since a client could otherwise strip at this hop what the next one needs
/// (a known way to lose `X-Forwarded-For`: ours is set after this, so it stands whatever was named).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap, seen: Seen) {
    if !seen.hop_by_hop {
        return;
    }
    if seen.connection {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    if seen.transfer_encoding {
        headers.remove(header::TRANSFER_ENCODING);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
}

/// The removable names that the `Connection` fields list.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    const KEPT: [HeaderName; 9] = [
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CACHE_CONTROL,
        header::TRAILER,
    ];
    let values = headers.get_all(header::CONNECTION).iter();
    let tokens = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    tokens
        .map(str::trim)
        .filter(|token| !is_option(token))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !KEPT.contains(name))
        .collect()
}

/// Connection options that name no field, and by far the most frequent ones.
fn is_option(token: &str) -> bool {
    ["close", "keep-alive", "upgrade", "te"].iter().any(|option| token.eq_ignore_ascii_case(option))
}

/// Drops every field whose name holds an underscore.
pub(crate) fn remove_underscored(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().contains('_')).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether the message's one transfer coding is `chunked`, the only one that is understood here.
pub(crate) fn is_plain_chunked(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let first = codings.next().map(HeaderValue::as_bytes);
    first.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
        && codings.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    fn check(before: &[(&str, &str)], after: &[(&str, &str)]) {
        let mut headers = map(before);
        let seen = scan(&headers);
        remove_hop_by_hop(&mut headers, seen);
        assert_eq!(headers, map(after));
    }

    #[test]
    fn a_head_without_hop_by_hop_fields_is_left_alone() {
        check(&[("host", "a"), ("accept", "*/*")], &[("host", "a"), ("accept", "*/*")]);
        assert!(!scan(&map(&[("host", "a")])).hop_by_hop);
    }

    #[test]
    fn known_hop_by_hop_fields_go() {
        check(
            &[
                ("connection", "close"),
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
                ("transfer-encoding", "chunked"),
                ("accept", "*/*"),
            ],
            &[("accept", "*/*")],
        );
    }

    #[test]
    fn fields_named_by_connection_go_in_any_letter_case() {
        check(
            &[
                ("connection", "close, X-Secret"),
                ("connection", "x-Other"),
                ("x-secret", "1"),
                ("x-other", "2"),
            ],
            &[],
        );
    }

    #[test]
    fn connection_cannot_take_away_what_the_message_rests_on() {
        check(
            &[
                ("connection", "host, content-length, authorization"),
                ("host", "a"),
                ("content-length", "3"),
                ("authorization", "x"),
            ],
            &[("host", "a"), ("content-length", "3"), ("authorization", "x")],
        );
    }

    #[test]
    fn two_hosts_are_counted() {
        assert_eq!(scan(&map(&[("host", "a"), ("host", "b")])).hosts, 2);
    }

    #[test]
    fn underscored_names_are_found_and_dropped() {
        let mut headers = map(&[("content_length", "3"), ("x_y", "1"), ("x-y", "2")]);
        assert!(scan(&headers).underscore);
        remove_underscored(&mut headers);
        assert_eq!(headers, map(&[("x-y", "2")]));
    }

    #[test]
    fn only_chunked_alone_is_plain() {
        for (coding, plain) in
            [("chunked", true), ("Chunked", true), ("gzip, chunked", false), ("gzip", false)]
        {
            assert_eq!(is_plain_chunked(&map(&[("transfer-encoding", coding)])), plain, "{coding}");
        }
        assert!(!is_plain_chunked(&map(&[
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked")
        ])));
    }
}
