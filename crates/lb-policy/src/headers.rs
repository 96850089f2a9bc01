//! The four ways in which a head's fields are changed, shared by both header policies.

use http::{HeaderName, HeaderValue};
use lb_h1::Fields;

/// Changes to a head's fields, applied in the order remove, rename, set, add.
///
/// ```
/// use http::{HeaderName, HeaderValue};
/// use lb_h1::Fields;
/// use lb_policy::HeadersConfig;
///
/// let config = HeadersConfig {
///     set: vec![(HeaderName::from_static("x-proxied-by"), HeaderValue::from_static("gatewayd"))],
///     ..Default::default()
/// };
/// let mut headers = Fields::default();
/// config.apply(&mut headers);
/// assert_eq!(headers.get(&HeaderName::from_static("x-proxied-by")), Some(&b"gatewayd"[..]));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadersConfig {
    /// Fields whose value is replaced, or put in where there is none.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values added beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Fields removed.
    pub remove: Vec<HeaderName>,
    /// Fields that keep their values under another name: (from, to). What stood under `to` goes.
    pub rename: Vec<(HeaderName, HeaderName)>,
}

impl HeadersConfig {
    /// Whether nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty() && self.rename.is_empty()
    }

    /// Changes these headers.
    pub fn apply(&self, headers: &mut Fields) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (from, to) in &self.rename {
            headers.rename(from, to);
        }
        for (name, value) in &self.set {
            headers.insert(name, value);
        }
        for (name, value) in &self.add {
            headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn check(config: &HeadersConfig, before: &[(&str, &str)], after: &[(&str, &str)]) {
        let map = |fields: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
            }
            map
        };
        let mut headers = Fields::from(&map(before));
        config.apply(&mut headers);
        assert_eq!(headers.to_map(), map(after));
    }

    fn field(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    #[test]
    fn set_replaces_every_value() {
        let config = HeadersConfig { set: vec![field("a", "3")], ..Default::default() };
        check(&config, &[("a", "1"), ("a", "2")], &[("a", "3")]);
        check(&config, &[], &[("a", "3")]);
    }

    #[test]
    fn add_keeps_what_is_there() {
        let config = HeadersConfig { add: vec![field("a", "2")], ..Default::default() };
        check(&config, &[("a", "1")], &[("a", "1"), ("a", "2")]);
    }

    #[test]
    fn remove_takes_every_value() {
        let config = HeadersConfig { remove: vec![HeaderName::from_static("a")], ..Default::default() };
        check(&config, &[("a", "1"), ("a", "2"), ("b", "1")], &[("b", "1")]);
    }

    #[test]
    fn rename_keeps_values_and_their_order_and_takes_the_place_of_the_target() {
        let config = HeadersConfig {
            rename: vec![(HeaderName::from_static("a"), HeaderName::from_static("b"))],
            ..Default::default()
        };
        check(&config, &[("a", "1"), ("a", "2"), ("b", "9")], &[("b", "1"), ("b", "2")]);
        check(&config, &[("b", "9")], &[("b", "9")]);
    }

    #[test]
    fn the_order_is_remove_rename_set_add() {
        let config = HeadersConfig {
            remove: vec![HeaderName::from_static("gone")],
            rename: vec![(HeaderName::from_static("old"), HeaderName::from_static("gone"))],
            set: vec![field("old", "new")],
            add: vec![field("gone", "x")],
        };
        check(&config, &[("gone", "0"), ("old", "1")], &[("gone", "1"), ("gone", "x"), ("old", "new")]);
    }
}
