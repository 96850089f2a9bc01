//! Decides which rule takes a request, and what path is forwarded: no I/O, no clock, no allocation where
//! nothing is rewritten.
//!
//! A request's target and host are first brought to one form ([`target`], [`authority`]); what is matched is
//! what is forwarded. The first rule in listed order whose every condition is met takes the request.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use lb_router::{PathConfig, RequestView, RewriteConfig, RouteConfig, Routed, Router, target};
//!
//! let router = Router::new(vec![RouteConfig {
//!     name: "api-v1".to_owned(),
//!     hosts: vec!["*.example.com".to_owned()],
//!     path: PathConfig::Prefix("/api/v1/".to_owned()),
//!     methods: vec![Method::GET],
//!     rewrite: RewriteConfig { strip_prefix: Some("/api/v1".to_owned()), ..Default::default() },
//!     ..Default::default()
//! }])
//! .unwrap_or_else(|errors| panic!("{errors:?}"));
//!
//! let path = target::normalize_path("/api/v1/./users%2f7", true)?;
//! let mut request = RequestView {
//!     method: &Method::GET,
//!     host: Some("API.example.com"),
//!     path: &path,
//!     query: None,
//!     headers: &HeaderMap::new(),
//! };
//! let Routed::Rule(rule) = router.route(&request) else { panic!("no rule") };
//! assert_eq!((rule.index, &*rule.rewrite(&path)), (0, "/users%2F7"));
//!
//! request.method = &Method::POST;
//! assert!(matches!(router.route(&request), Routed::MethodNotAllowed { allow } if allow == "GET"));
//! # Ok::<(), target::PathError>(())
//! ```

pub mod authority;
mod config;
mod error;
mod explain;
mod host;
mod index;
mod method;
mod path;
mod percent;
mod positions;
mod query;
mod regex;
mod rewrite;
mod router;
mod rule;
mod shadow;
mod shape;
mod sieve;
pub mod target;
mod template;

/// The example of the README must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use self::config::{PathConfig, RewriteConfig, RouteConfig};
pub use self::error::{RouteError, RouteField, RouteProblem, TemplateFault};
pub use self::explain::{Explanation, Outcome};
pub use self::host::HostPattern;
pub use self::router::{HeaderFields, RequestView, Routed, Router, RuleMatch};
pub use self::rule::Miss;
pub use self::shadow::Shadowed;
