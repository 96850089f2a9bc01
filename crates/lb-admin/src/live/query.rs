//! Which part of the gateway a viewer wants to see.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Upstreams on a page.
pub(super) const UPSTREAMS: usize = 20;
/// Backends shown of each of several upstreams.
pub(super) const FEW_BACKENDS: usize = 10;
/// Backends on a page where one upstream, or one list of all backends, is looked at.
pub(super) const BACKENDS: usize = 50;
/// Longer words find nothing.
const MAX_FIND: usize = 256;

/// What a viewer asks for: `find=…&upstream=…&page=…&sort=…&flat`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// In lower case; empty for everything.
    pub(super) find: String,
    /// One upstream alone.
    pub(super) upstream: Option<String>,
    /// From 0: of the upstream's backends, or of upstreams, or of all backends.
    pub(super) page: usize,
    pub(super) sort: Sort,
    /// One list of backends over all upstreams.
    pub(super) is_flat: bool,
}

/// What comes first among backends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// As configured; those that take no requests first where not all fit on the page.
    #[default]
    Place,
    /// By URL.
    Name,
    /// Those that take no requests.
    State,
    /// Most requests a second.
    Rate,
    /// Highest share of failures.
    Errors,
    /// Slowest.
    Latency,
    /// Most in flight.
    Active,
}

impl Query {
    /// Reads a query string; what it does not know it leaves aside.
    pub(super) fn read(query: &str) -> Self {
        let mut read = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "find" if value.len() <= MAX_FIND => read.find = value.trim().to_lowercase(),
                "upstream" if !value.is_empty() => read.upstream = Some(value.into_owned()),
                "page" => read.page = value.parse::<usize>().unwrap_or(1).saturating_sub(1),
                "sort" => read.sort = Sort::read(&value),
                "flat" => read.is_flat = true,
                _ => {}
            }
        }
        read
    }
}

impl Sort {
    fn read(name: &str) -> Self {
        match name {
            "name" => Self::Name,
            "state" => Self::State,
            "rate" => Self::Rate,
            "errors" => Self::Errors,
            "latency" => Self::Latency,
            "active" => Self::Active,
            _ => Self::Place,
        }
    }
}

fn decoded(value: &str) -> Cow<'_, str> {
    let spaced = value.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// A part of a list, by page: where it begins, and how many pages there are; a page past the last is the last.
pub(super) fn paged(length: usize, page: usize, size: usize) -> (std::ops::Range<usize>, usize, usize) {
    let pages = length.div_ceil(size).max(1);
    let page = page.min(pages - 1);
    (page * size..((page + 1) * size).min(length), page, pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_what_to_show() {
        let read = Query::read("find=10.0.%30.1+Ejected&upstream=a%26b&page=3&sort=latency&flat&x=y");
        let expected = Query {
            find: "10.0.0.1 ejected".to_owned(),
            upstream: Some("a&b".to_owned()),
            page: 2,
            sort: Sort::Latency,
            is_flat: true,
        };
        assert_eq!(read, expected);
        for nothing in ["", "find=&upstream=&page=&sort=", "page=0", "page=x", "sort=sideways"] {
            assert_eq!(Query::read(nothing), Query::default(), "{nothing}");
        }
        assert_eq!(Query::read(&format!("find={}", "x".repeat(1_000))).find, "");
    }

    #[test]
    fn pages_stay_within_the_list() {
        assert_eq!(paged(0, 0, 50), (0..0, 0, 1));
        assert_eq!(paged(101, 1, 50), (50..100, 1, 3));
        assert_eq!(paged(101, usize::MAX, 50), (100..101, 2, 3));
    }
}
