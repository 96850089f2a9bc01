//! A member of an upstream as a source tells of it, and members as files and stores write them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Scheme;

/// One backend.
///
/// ```
/// use lb_discovery::Member;
///
/// let member = Member::of_value(&serde_json::json!({ "url": "10.0.0.1:8080", "weight": 2 })).unwrap();
/// assert_eq!((member.url.as_str(), member.weight, member.backup), ("10.0.0.1:8080", 2.0, false));
/// assert!(Member::of_value(&serde_json::json!({ "url": "10.0.0.1:8080", "wieght": 2 })).is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Where it is, as a configuration would write it.
    pub url: String,
    /// The name that its certificate must be for, where that is not the URL's host.
    pub server_name: Option<String>,
    /// Share of requests; 0 gets no new ones.
    pub weight: f64,
    /// Used only while no other is eligible.
    pub backup: bool,
}

/// What cannot be read as members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Neither a list nor a table with one.
    #[error(
        "it holds no list of backends: write a list of URLs, or of tables with `url`, or a key `backends` that holds one"
    )]
    NoList,
    /// An item is no backend.
    #[error("item {index}: {reason}")]
    Item {
        /// From 1.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A value is no backend.
    #[error("{0}")]
    Value(String),
}

/// A table that stands for a member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    weight: Option<f64>,
    #[serde(default)]
    backup: bool,
}

impl Member {
    /// At this URL, of weight 1.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), server_name: None, weight: 1.0, backup: false }
    }

    pub(crate) fn at_address(scheme: Scheme, address: SocketAddr) -> Self {
        Self::at(format!("{scheme}://{address}"))
    }

    /// A URL, or a table with `url` and perhaps `weight` and `backup`.
    ///
    /// # Errors
    /// [`MemberError::Value`].
    pub fn of_value(value: &Value) -> Result<Self, MemberError> {
        let member = match value {
            Value::String(url) => Self::at(url.clone()),
            Value::Object(_) => {
                let Written { url, weight, backup } =
                    Written::deserialize(value).map_err(|error| MemberError::Value(error.to_string()))?;
                Self { weight: weight.unwrap_or(1.0), backup, ..Self::at(url) }
            }
            _ => return Err(MemberError::Value("neither a URL nor a table with `url`".to_owned())),
        };
        if !(member.weight.is_finite() && member.weight >= 0.0) {
            return Err(MemberError::Value("a weight is a number from 0".to_owned()));
        }
        if member.url.trim().is_empty() {
            return Err(MemberError::Value("`url` is empty".to_owned()));
        }
        Ok(member)
    }

    /// A list of those, or a table whose `backends` is one.
    ///
    /// # Errors
    /// [`MemberError`], for the first that cannot be read: half a list is no list.
    pub fn of_document(document: &Value) -> Result<Vec<Self>, MemberError> {
        let list = match document {
            Value::Object(table) if table.len() == 1 => table.get("backends"),
            other => Some(other),
        };
        let list = list.and_then(Value::as_array).ok_or(MemberError::NoList)?;
        let item = |(index, value): (usize, &Value)| {
            Self::of_value(value)
                .map_err(|error| MemberError::Item { index: index + 1, reason: error.to_string() })
        };
        list.iter().enumerate().map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_a_list_or_a_table_with_one() {
        for document in [
            json!(["a:1", { "url": "b:2", "backup": true }]),
            json!({ "backends": ["a:1", { "url": "b:2", "backup": true }] }),
        ] {
            let members = Member::of_document(&document).unwrap();
            assert_eq!(members, [Member::at("a:1"), Member { backup: true, ..Member::at("b:2") }]);
        }
        assert_eq!(Member::of_document(&json!([])).unwrap(), []);
    }

    #[test]
    fn what_is_no_list_of_backends_says_what_it_is() {
        for (document, said) in [
            (json!(null), "no list of backends"),
            (json!({}), "no list of backends"),
            (json!({ "backends": [], "more": 1 }), "no list of backends"),
            (json!(["a:1", 7]), "item 2: neither a URL nor a table"),
            (json!([{ "weight": 1 }]), "item 1: missing field `url`"),
            (json!([{ "url": "a:1", "wieght": 1 }]), "unknown field `wieght`"),
            (json!([{ "url": "a:1", "weight": -1 }]), "a weight is a number from 0"),
            (json!([" "]), "`url` is empty"),
        ] {
            let error = Member::of_document(&document).unwrap_err().to_string();
            assert!(error.contains(said), "{document}: {error}");
        }
    }
}
