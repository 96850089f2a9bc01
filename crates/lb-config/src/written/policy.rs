//! Policies, under Servex's names where it has them.

use serde::Deserialize;

use super::values::{At, List, Names, Size, Time};

/// Changes to the fields of a head.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Headers {
    pub(crate) set: Option<Names<String>>,
    pub(crate) add: Option<Names<String>>,
    pub(crate) remove: Option<List<String>>,
    pub(crate) rename: Option<Names<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimit {
    pub(crate) enabled: Option<bool>,
    pub(crate) requests_per_interval: Option<u32>,
    pub(crate) interval: Option<Time>,
    pub(crate) burst_size: Option<u32>,
    pub(crate) key: Option<String>,
    pub(crate) status_code: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
    pub(crate) trusted_proxies: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    pub(crate) enabled: Option<bool>,
    pub(crate) allowed_ips: Option<List<String>>,
    pub(crate) blocked_ips: Option<List<String>>,
    pub(crate) allowed_user_agents: Option<List<String>>,
    pub(crate) allowed_user_agents_regex: Option<List<String>>,
    pub(crate) blocked_user_agents: Option<List<String>>,
    pub(crate) blocked_user_agents_regex: Option<List<String>>,
    pub(crate) allowed_headers: Option<Names<List<String>>>,
    pub(crate) allowed_headers_regex: Option<Names<List<String>>>,
    pub(crate) blocked_headers: Option<Names<List<String>>>,
    pub(crate) blocked_headers_regex: Option<Names<List<String>>>,
    pub(crate) allowed_query_params: Option<Names<List<String>>>,
    pub(crate) allowed_query_params_regex: Option<Names<List<String>>>,
    pub(crate) blocked_query_params: Option<Names<List<String>>>,
    pub(crate) blocked_query_params_regex: Option<Names<List<String>>>,
    pub(crate) status_code: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
    pub(crate) trusted_proxies: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Security {
    pub(crate) enabled: Option<bool>,
    pub(crate) csrf_enabled: Option<bool>,
    pub(crate) csrf_token_name: Option<String>,
    pub(crate) csrf_cookie_name: Option<String>,
    pub(crate) csrf_cookie_http_only: Option<bool>,
    pub(crate) csrf_cookie_same_site: Option<String>,
    pub(crate) csrf_cookie_secure: Option<bool>,
    pub(crate) csrf_cookie_path: Option<String>,
    pub(crate) csrf_cookie_max_age: Option<Time>,
    pub(crate) csrf_token_endpoint: Option<String>,
    pub(crate) csrf_error_message: Option<String>,
    pub(crate) csrf_safe_methods: Option<List<String>>,
    pub(crate) content_security_policy: Option<String>,
    pub(crate) x_content_type_options: Option<String>,
    pub(crate) x_frame_options: Option<String>,
    pub(crate) x_xss_protection: Option<String>,
    pub(crate) strict_transport_security: Option<String>,
    pub(crate) referrer_policy: Option<String>,
    pub(crate) permissions_policy: Option<String>,
    pub(crate) x_permitted_cross_domain_policies: Option<String>,
    pub(crate) cross_origin_embedder_policy: Option<String>,
    pub(crate) cross_origin_opener_policy: Option<String>,
    pub(crate) cross_origin_resource_policy: Option<String>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cors {
    pub(crate) enabled: Option<bool>,
    pub(crate) allow_origins: Option<List<String>>,
    pub(crate) allow_methods: Option<List<String>>,
    pub(crate) allow_headers: Option<List<String>>,
    pub(crate) expose_headers: Option<List<String>>,
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) max_age: Option<Time>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compression {
    pub(crate) enabled: Option<bool>,
    pub(crate) level: Option<u32>,
    pub(crate) min_size: Option<Size>,
    pub(crate) types: Option<List<String>>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cache {
    pub(crate) enabled: Option<bool>,
    pub(crate) cache_control: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) vary: Option<String>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestLimits {
    pub(crate) enabled: Option<bool>,
    pub(crate) max_request_body_size: Option<Size>,
    pub(crate) max_json_body_size: Option<Size>,
    pub(crate) max_file_upload_size: Option<Size>,
    pub(crate) max_multipart_memory: Option<Size>,
    pub(crate) exclude_paths: Option<List<String>>,
    pub(crate) include_paths: Option<List<String>>,
}

/// What is done to requests on purpose.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    pub(crate) delay: Option<At<FaultDelay>>,
    pub(crate) abort: Option<At<FaultAbort>>,
    /// A field by which a request may ask for a fault of its own; none by default.
    pub(crate) header: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultDelay {
    pub(crate) duration: Option<Time>,
    /// Of requests; all by default.
    pub(crate) percent: Option<At<f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultAbort {
    pub(crate) status: Option<At<u32>>,
    /// Of requests; all by default.
    pub(crate) percent: Option<At<f64>>,
}
