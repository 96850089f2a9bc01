//! Which entries of a dump are meant.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::entry::Entry;

/// Takes the entries for which everything holds that is given.
///
/// ```
/// use lb_dump::{Entry, Filter};
///
/// let filter = Filter { status: Some("4xx".parse()?), ..Filter::default() };
/// assert!(filter.takes(&Entry { status_code: 404, ..Entry::default() }));
/// assert!(!filter.takes(&Entry { status_code: 200, ..Entry::default() }));
/// # Ok::<(), lb_dump::FilterError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The rule's name.
    pub rule: Option<String>,
    /// A part of the backend's URL.
    pub backend: Option<String>,
    /// The method, in any case.
    pub method: Option<String>,
    /// How the path begins.
    pub path: Option<String>,
    /// The status.
    pub status: Option<Statuses>,
    /// The earliest moment.
    pub since: Option<Since>,
}

/// A status or several: `404`, `4xx`, `500-503`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statuses(u16, u16);

/// A moment: RFC 3339, or so long ago (`10m`, `2h 30m`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since(Timestamp);

/// What was given is no such thing.
#[derive(Debug, thiserror::Error)]
#[error("`{given}` is no {expected}")]
pub struct FilterError {
    given: String,
    expected: &'static str,
}

impl Filter {
    /// Whether the entry is meant.
    #[must_use]
    pub fn takes(&self, entry: &Entry) -> bool {
        let holds = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        holds(&self.rule, &|rule| entry.rule == rule)
            && holds(&self.backend, &|part| entry.backend.contains(part))
            && holds(&self.method, &|method| entry.method.eq_ignore_ascii_case(method))
            && holds(&self.path, &|start| entry.path.starts_with(start))
            && self.status.is_none_or(|Statuses(low, high)| (low..=high).contains(&entry.status_code))
            && self
                .since
                .is_none_or(|Since(since)| entry.timestamp.parse().is_ok_and(|at: Timestamp| at >= since))
    }
}

impl FromStr for Statuses {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let statuses = match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => class
                .parse()
                .ok()
                .filter(|class| (1..=9).contains(class))
                .map(|class: u16| (class * 100, class * 100 + 99)),
            (None, Some((low, high))) => low.parse().ok().zip(high.parse().ok()),
            (None, None) => text.parse().ok().map(|status| (status, status)),
        };
        let error =
            || FilterError { given: text.to_owned(), expected: "status, such as 404, 4xx or 500-503" };
        statuses.map(|(low, high)| Self(low, high)).ok_or_else(error)
    }
}

impl FromStr for Since {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let ago = || Timestamp::now().checked_sub(text.parse::<SignedDuration>().ok()?).ok();
        let error = || FilterError {
            given: text.to_owned(),
            expected: "moment, such as 2026-01-31T12:00:00Z, or 10m for ten minutes ago",
        };
        text.parse().ok().or_else(ago).map(Self).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_or_a_class_or_a_range() {
        let parsed = |text: &str| text.parse::<Statuses>().ok();
        assert_eq!(parsed("404"), Some(Statuses(404, 404)));
        assert_eq!(parsed("5xx"), Some(Statuses(500, 599)));
        assert_eq!(parsed("500-503"), Some(Statuses(500, 503)));
        assert_eq!((parsed("99xx"), parsed("x"), parsed("-")), (None, None, None));
    }

    #[test]
    fn a_moment_is_absolute_or_ago() {
        let entry = |timestamp: &str| Entry { timestamp: timestamp.into(), ..Entry::default() };
        let since = |text: &str| Filter { since: Some(text.parse().unwrap()), ..Filter::default() };
        let at = entry("2026-01-31T12:00:00.5Z");
        assert!(since("2026-01-31T12:00:00Z").takes(&at));
        assert!(!since("2026-01-31T12:00:01Z").takes(&at));
        assert!(since("10m").takes(&entry(&Timestamp::now().to_string())));
        assert!(!since("10m").takes(&entry("2020-01-01T00:00:00Z")));
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn everything_that_is_given_must_hold() {
        let filter = Filter {
            rule: Some("api".into()),
            method: Some("get".into()),
            path: Some("/users".into()),
            backend: Some(":8081".into()),
            ..Filter::default()
        };
        let entry = Entry {
            rule: "api".into(),
            method: "GET".into(),
            path: "/users/1".into(),
            backend: "http://h:8081".into(),
            ..Entry::default()
        };
        assert!(filter.takes(&entry));
        assert!(!filter.takes(&Entry { rule: "web".into(), ..entry.clone() }));
        assert!(!filter.takes(&Entry { backend: "http://h:8082".into(), ..entry }));
    }
}
