//! Where clients connect.

use serde::Deserialize;

use super::values::{At, Shorthand, Size, Time, WordOr};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) name: Option<At<String>>,
    pub(crate) address: Option<At<String>>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) upstream: Option<At<String>>,
    pub(crate) tls: Option<At<WordOr<ListenerTls>>>,
    pub(crate) status_endpoints: Option<bool>,
    pub(crate) max_header_size: Option<At<Size>>,
    pub(crate) max_headers: Option<At<u32>>,
    pub(crate) header_timeout: Option<Time>,
    pub(crate) keep_alive_timeout: Option<Time>,
    pub(crate) max_connections_per_address: Option<At<u32>>,
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Http,
    Tcp,
}

/// `tls = { cert, key }`, or `"self-signed"`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerTls {
    pub(crate) cert: Option<At<String>>,
    pub(crate) key: Option<At<String>>,
}

impl Shorthand for ListenerTls {
    const EXPECTED: &'static str = "a table with `cert` and `key`, or \"self-signed\"";
}
