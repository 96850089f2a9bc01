//! What a rule is told, in plain data: written by hand or lowered from a configuration file.

use http::{HeaderName, Method};

/// What one rule matches and how it rewrites: plain data, in the order the rules were listed.
///
/// A request meets a rule when it meets every condition given; a condition left empty is met by all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteConfig {
    /// The rule's unique name.
    pub name: String,
    /// Host patterns: `api.example.com`, or `*.example.com` for every name below it at any depth but not the
    /// name itself; empty (or `*`) matches every host. Letter case, the port and a trailing dot do not count.
    pub hosts: Vec<String>,
    /// What of the path must match.
    pub path: PathConfig,
    /// Methods; empty matches all. `HEAD` is not implied by `GET`.
    pub methods: Vec<Method>,
    /// Headers that must be present with this exact value; any of a repeated header's values may be it.
    pub headers: Vec<(HeaderName, String)>,
    /// Query parameters that must be present with this exact value, both sides read after percent-decoding
    /// and with `+` as a space; any of a repeated parameter's values may be it.
    pub query: Vec<(String, String)>,
    /// How a matched path is changed before it is forwarded.
    pub rewrite: RewriteConfig,
}

/// How a rule looks at the path, which is always in the form that [`normalize_path`] gives; literal paths
/// here are brought to that form too, so `/caf%c3%a9` is found as `/caf%C3%A9`.
///
/// [`normalize_path`]: crate::target::normalize_path
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PathConfig {
    /// Every path.
    #[default]
    Any,
    /// This path alone.
    Exact(String),
    /// This prefix, on a segment boundary: `/api` takes `/api` and `/api/x`, not `/apifoo`. A slash at its
    /// end changes nothing: `/api/` takes `/api` too.
    Prefix(String),
    /// A regular expression (crate `regex`), unanchored unless it says so.
    Regex(String),
    /// A template such as `/api/users/{id}` or `/files/{*rest}`: `{id}` is one segment that is not empty,
    /// `{*rest}` the whole tail, which may be empty (`/files/` and `/files` match).
    Template(String),
}

/// Path rewriting: `template` alone, or `strip_prefix` and then `add_prefix`. The query is never touched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteConfig {
    /// Removed from the front, on a segment boundary; a path that does not begin with it stays as it is.
    pub strip_prefix: Option<String>,
    /// Put in front, after stripping.
    pub add_prefix: Option<String>,
    /// A new path, with the parameters of a template or the captures of a regex: `/users/{id}`, `/v{1}/x`.
    /// It replaces the whole path; captured text is passed on as it stands in the normalised path.
    pub template: Option<String>,
}
