//! `request_headers`: fields set, added, removed and renamed on the way to the backend.

use super::{ClientInfo, Policy, PolicyInfo, RequestParts, Verdict};
use crate::HeadersConfig;

pub(super) const INFO: PolicyInfo = PolicyInfo {
    name: "request_headers",
    summary: "sets, adds, removes and renames header fields of the request before it is forwarded",
};

/// Changes the request head. Costs nothing where its rule lists no change.
#[derive(Debug)]
pub struct RequestHeaders(HeadersConfig);

impl RequestHeaders {
    /// The policy for these changes.
    #[must_use]
    pub fn new(config: HeadersConfig) -> Self {
        Self(config)
    }
}

impl Policy for RequestHeaders {
    fn on_request<'a>(&'a self, head: RequestParts<'a>, _client: &'a ClientInfo) -> Verdict<'a> {
        self.0.apply(head.headers);
        Verdict::Continue
    }
}
