//! What both sides know from the beginning (RFC 7541 Appendix A).

use std::sync::LazyLock;

use lb_h1::KnownName;

/// How many there are; the dynamic table is numbered from behind them.
pub(super) const COUNT: usize = 61;

/// Numbered from 1.
#[rustfmt::skip]
pub(super) const FIELDS: [(&str, &str); COUNT] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What is known of each one's name.
pub(super) static NAMES: LazyLock<[Option<KnownName>; COUNT]> =
    LazyLock::new(|| FIELDS.map(|(name, _)| KnownName::find(name.as_bytes())));

/// The number of a well-known name, by its row; 0 where it has none.
pub(super) static NUMBERS: LazyLock<[u8; KnownName::COUNT]> = LazyLock::new(|| {
    let mut numbers = [0; KnownName::COUNT];
    for (number, name) in (1..).zip(NAMES.iter()) {
        if let Some(slot) = name.and_then(|name| numbers.get_mut(name.row())) {
            *slot = number;
        }
    }
    numbers
});
