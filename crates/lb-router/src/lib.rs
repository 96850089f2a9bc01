//! Decides which rule takes a request, and why.

use http::{HeaderName, Method};

/// What one rule matches and how it rewrites: plain data, in the order the rules were listed.
#[derive(Debug, Clone, Default)]
pub struct RouteConfig {
    /// The rule's unique name.
    pub name: String,
    /// Host patterns: `api.example.com` or `*.example.com`; empty matches every host.
    pub hosts: Vec<String>,
    /// What of the path must match.
    pub path: PathConfig,
    /// Methods; empty matches all.
    pub methods: Vec<Method>,
    /// Headers that must be present with this exact value.
    pub headers: Vec<(HeaderName, String)>,
    /// Query parameters that must be present with this exact value.
    pub query: Vec<(String, String)>,
    /// How a matched path is changed before it is forwarded.
    pub rewrite: RewriteConfig,
}

/// How a rule looks at the path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PathConfig {
    /// Every path.
    #[default]
    Any,
    /// This path alone.
    Exact(String),
    /// This prefix, on a segment boundary.
    Prefix(String),
    /// A regular expression (crate `regex`), unanchored unless it says so.
    Regex(String),
    /// A template such as `/api/users/{id}` or `/files/{*rest}`.
    Template(String),
}

/// Path rewriting, in this order: `template` if given, else `strip_prefix` then `add_prefix`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteConfig {
    /// Removed from the front, on a segment boundary.
    pub strip_prefix: Option<String>,
    /// Put in front, after stripping.
    pub add_prefix: Option<String>,
    /// A new path, with the parameters of a template or the captures of a regex: `/users/{id}`.
    pub template: Option<String>,
}
