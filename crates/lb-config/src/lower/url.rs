//! A backend's URL: `http://10.0.0.1:8080/base`, or without the scheme.

use std::net::Ipv4Addr;
use std::ops::Range;

use url::{Host, Url};

use crate::suggest;

/// Where a backend is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BackendUrl {
    pub(crate) secure: bool,
    /// Whether it is not said to speak HTTP.
    pub(crate) raw: bool,
    /// A name or an address; IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Without a slash at its end; empty for none.
    pub(crate) base_path: String,
}

/// What is wrong with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UrlError {
    pub(crate) message: &'static str,
    /// Bytes of the text that are meant.
    pub(crate) range: Range<usize>,
    pub(crate) help: String,
}

/// Reads a URL; a missing scheme is `http`.
pub(crate) fn parse(text: &str) -> Result<BackendUrl, UrlError> {
    usual(text).map_or_else(|| unusual(text), Ok)
}

/// An IPv4 address or a plain name with a port and nothing else, as almost all of ten thousand backends are; none where it is
/// anything more than that.
fn usual(text: &str) -> Option<BackendUrl> {
    let (secure, rest) = match text.strip_prefix("http") {
        Some(rest) => match rest.strip_prefix('s') {
            Some(rest) => (true, rest.strip_prefix("://")?),
            None => (false, rest.strip_prefix("://")?),
        },
        None => (false, text),
    };
    let (host, port) = rest.split_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_port && *port != 0)?;
    if host.parse::<Ipv4Addr>().is_err() && !is_plain_name(host) {
        return None;
    }
    Some(BackendUrl { secure, raw: false, host: host.to_owned(), port, base_path: String::new() })
}

/// Whether a name is what it becomes: small letters, digits and hyphens, no label an encoded one (`xn--`), and the last no number, as
/// that would make it an IPv4 address.
fn is_plain_name(host: &str) -> bool {
    let is_plain = |label: &str| {
        let mut letters = label.bytes();
        let is_word = letters.next().is_some_and(|first| first.is_ascii_lowercase())
            && letters.all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-');
        is_word && !label.starts_with("xn--")
    };
    host.len() <= LONGEST_HOST && host.split('.').all(is_plain)
}

/// The longest name that there can be (RFC 1035 §2.3.4).
const LONGEST_HOST: usize = 253;

/// Any URL.
fn unusual(text: &str) -> Result<BackendUrl, UrlError> {
    let whole = 0..text.len();
    let refuse =
        |message, range: Range<usize>, help: &str| Err(UrlError { message, range, help: help.to_owned() });
    if text.is_empty() {
        return refuse("a URL is empty", whole, EXAMPLE);
    }
    if let Some((at, character)) = text
        .char_indices()
        .find(|(_, c)| c.is_whitespace() || c.is_control() || matches!(c, '\\' | '"' | '<' | '>' | '`'))
    {
        return refuse("a URL cannot hold this character", at..at + character.len_utf8(), EXAMPLE);
    }
    let (scheme, rest_at) = match text.find("://") {
        Some(end) => (text.get(..end).unwrap_or_default(), end + 3),
        None => ("http", 0),
    };
    let (secure, raw) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (false, false),
        "https" => (true, false),
        "tcp" => (false, true),
        "tls" => (true, true),
        other => {
            let near = suggest::did_you_mean(other, ["http", "https", "tcp", "tls"]);
            let help = near.unwrap_or_else(|| {
                "backends are reached by `http://` or `https://`, those of TCP listeners by `tcp://` or `tls://` too"
                    .to_owned()
            });
            return refuse("a backend cannot be reached by this scheme", 0..scheme.len(), &help);
        }
    };
    let rest = text.get(rest_at..).unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some(sign) = authority.rfind('@') {
        return refuse(
            "a backend's URL cannot carry a user or password",
            rest_at..rest_at + sign,
            "set an `authorization` header by `request_headers`",
        );
    }
    for (sign, message) in
        [('?', "a backend's URL cannot have a query"), ('#', "a backend's URL cannot have a fragment")]
    {
        if let Some(at) = rest.find(sign) {
            return refuse(
                message,
                rest_at + at..text.len(),
                "a path is allowed: it is put in front of every forwarded path",
            );
        }
    }
    if authority.is_empty() || authority.starts_with(':') {
        return refuse("a URL has no host", whole, EXAMPLE);
    }
    let port_at = authority.rfind(']').unwrap_or_default();
    if raw && !authority.get(port_at..).unwrap_or_default().contains(':') {
        return refuse(
            "a URL of this scheme has no usual port, and this one names none",
            whole,
            "write a URL such as `tcp://10.0.0.1:5432`",
        );
    }
    let scheme = if secure { "https" } else { "http" };
    let url = match Url::parse(&format!("{scheme}://{rest}")) {
        Ok(url) => url,
        Err(error) => return refuse(reason(error), rest_at..rest_at + authority.len(), EXAMPLE),
    };
    let port = url.port_or_known_default().unwrap_or_default();
    if port == 0 {
        return refuse("a backend cannot listen on port 0", rest_at..rest_at + authority.len(), EXAMPLE);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return refuse("a URL has no host", whole, EXAMPLE),
    };
    Ok(BackendUrl { secure, raw, host, port, base_path: url.path().trim_end_matches('/').to_owned() })
}

const EXAMPLE: &str = "write a URL such as `http://10.0.0.1:8080` or `10.0.0.1:8080`";

fn reason(error: url::ParseError) -> &'static str {
    use url::ParseError as E;
    match error {
        E::InvalidPort => "this is not a port: ports go from 1 to 65535",
        E::InvalidIpv4Address => "this is not an IPv4 address",
        E::InvalidIpv6Address => "this is not an IPv6 address",
        E::IdnaError | E::InvalidDomainCharacter => "this is not the name of a host",
        E::EmptyHost => "a URL has no host",
        _ => "this is not a URL",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, host: &str, port: u16, base_path: &str, secure: bool) {
        let raw = text.starts_with('t');
        let expected = BackendUrl { secure, raw, host: host.into(), port, base_path: base_path.into() };
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn a_url_may_lack_its_scheme_port_and_path() {
        check("127.0.0.1:8081", "127.0.0.1", 8081, "", false);
        check("localhost:8081", "localhost", 8081, "", false);
        check("app", "app", 80, "", false);
        check("app.internal/base/", "app.internal", 80, "/base", false);
        check("https://app/", "app", 443, "", true);
        check("HTTP://App:8080/a/b/", "app", 8080, "/a/b", false);
        check("[::1]:8080", "::1", 8080, "", false);
        check("http://[2001:db8::1]", "2001:db8::1", 80, "", false);
        check("tcp://db.internal:5432", "db.internal", 5432, "", false);
        check("tcp://10.0.0.1:80", "10.0.0.1", 80, "", false);
        check("tls://[2001:db8::1]:6380/", "2001:db8::1", 6380, "", true);
    }

    #[test]
    fn what_a_backend_cannot_have_is_refused_at_its_bytes() {
        for (text, part, message) in [
            ("ftp://h", "ftp", "a backend cannot be reached by this scheme"),
            ("http://u:p@h", "u:p", "a backend's URL cannot carry a user or password"),
            ("http://h?a=1", "?a=1", "a backend's URL cannot have a query"),
            ("h:80/a#b", "#b", "a backend's URL cannot have a fragment"),
            ("h:99999", "h:99999", "this is not a port: ports go from 1 to 65535"),
            ("h:0", "h:0", "a backend cannot listen on port 0"),
            ("http://", "http://", "a URL has no host"),
            ("tcp://h", "tcp://h", "a URL of this scheme has no usual port, and this one names none"),
            ("tls://[::1]", "tls://[::1]", "a URL of this scheme has no usual port, and this one names none"),
            (":8080", ":8080", "a URL has no host"),
            ("a b", " ", "a URL cannot hold this character"),
            ("http://h\\x", "\\", "a URL cannot hold this character"),
            ("1.2.3.400", "1.2.3.400", "this is not an IPv4 address"),
            ("[::g]:80", "[::g]:80", "this is not an IPv6 address"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((&text[error.range.clone()], error.message), (part, message), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_way_leads_where_the_long_one_does(
            text in "(http://|https://|)([a-z0-9.-]{1,12}|[0-9.]{5,12}|(xn--)?[a-z]{1,3}(.[0-9x]{1,3}){0,2}|[0-2]{1,3}(\\.[0-9]{1,3}){3})(:0?[0-9+]{0,6})?"
        ) {
            if let Some(url) = usual(&text) {
                prop_assert_eq!(Ok(url), unusual(&text));
            }
        }
    }

    #[test]
    fn most_backends_take_the_short_way() {
        for text in ["10.0.0.1:8080", "http://app-1.internal:80", "https://a:443"] {
            assert!(usual(text).is_some(), "{text}");
        }
    }
}
