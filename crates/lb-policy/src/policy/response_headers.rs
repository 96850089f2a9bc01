//! `response_headers`: fields set, added, removed and renamed on the way to the client.

use super::{Policy, PolicyInfo, ResponseParts};
use crate::HeadersConfig;

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "response_headers",
    summary: "sets, adds, removes and renames header fields of the response before the client gets it",
};

/// Changes the response head, the backend's as well as the gateway's own.
#[derive(Debug)]
pub struct ResponseHeaders(HeadersConfig);

impl ResponseHeaders {
    /// The policy for these changes.
    #[must_use]
    pub fn new(config: HeadersConfig) -> Self {
        Self(config)
    }
}

impl Policy for ResponseHeaders {
    fn on_response(&self, head: ResponseParts<'_>) {
        self.0.apply(head.headers);
    }
}
