//! What may pass a gateway and how it is changed: one file a policy.

use http::{HeaderName, HeaderValue};

/// Changes to a head's fields, applied in the order remove, rename, set, add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadersConfig {
    /// Fields whose value is replaced, or put in where there is none.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Values added beside what is there.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Fields removed.
    pub remove: Vec<HeaderName>,
    /// Fields that keep their values under another name: (from, to).
    pub rename: Vec<(HeaderName, HeaderName)>,
}

/// One policy as configured; a row of the registry builds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyConfig {
    /// Changes the request head.
    RequestHeaders(HeadersConfig),
    /// Changes the response head.
    ResponseHeaders(HeadersConfig),
}
