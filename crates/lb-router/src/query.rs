//! Query parameters, compared after decoding and without allocating.

use crate::percent;

/// A parameter that must be there with this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryPair {
    pub(crate) name: Box<str>,
    pub(crate) value: Box<str>,
}

impl QueryPair {
    /// Whether any parameter of `query` is this one. A parameter without `=` has the empty value.
    pub(crate) fn is_in(&self, query: Option<&str>) -> bool {
        query.unwrap_or_default().split('&').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            reads_as(name, &self.name) && reads_as(value, &self.value)
        })
    }
}

/// Whether `raw` means `text`, as HTML forms encode it: percent-encoded, with `+` for a space.
fn reads_as(raw: &str, text: &str) -> bool {
    // No encoding is shorter than what it stands for.
    if raw.len() < text.len() {
        return false;
    }
    raw.split('+')
        .enumerate()
        .flat_map(|(place, piece)| {
            (place > 0).then_some(b' ').into_iter().chain(percent::decode(piece.as_bytes()))
        })
        .eq(text.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: Option<&str>, name: &str, value: &str, expect: bool) {
        let pair = QueryPair { name: name.into(), value: value.into() };
        assert_eq!(pair.is_in(query), expect, "{name}={value} in {query:?}");
    }

    #[test]
    fn any_occurrence_counts_after_decoding() {
        check(Some("debug=1"), "debug", "1", true);
        check(Some("a=b&debug=0&debug=1"), "debug", "1", true);
        check(Some("d%65bug=%31"), "debug", "1", true);
        check(Some("q=a+b"), "q", "a b", true);
        check(Some("q=a%20b"), "q", "a b", true);
        check(Some("q=a%2Bb"), "q", "a+b", true);
        check(Some("q=caf%C3%A9"), "q", "café", true);
        check(Some("q=1=2"), "q", "1=2", true);
        check(Some("q=a%26b"), "q", "a&b", true);
    }

    #[test]
    fn the_value_is_exact() {
        check(Some("debug=10"), "debug", "1", false);
        check(Some("debug=1"), "debug", "10", false);
        check(Some("xdebug=1"), "debug", "1", false);
        check(Some("DEBUG=1"), "debug", "1", false);
        check(Some("debug=%3"), "debug", "%3", true);
        check(None, "debug", "1", false);
    }

    #[test]
    fn a_parameter_without_value_is_empty() {
        check(Some("debug"), "debug", "", true);
        check(Some("debug="), "debug", "", true);
        check(Some("debug"), "debug", "1", false);
        check(Some(""), "debug", "", false);
        check(None, "debug", "", false);
    }
}
