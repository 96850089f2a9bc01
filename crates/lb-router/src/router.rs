//! The rules together: which of them takes a request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method};

use crate::config::RouteConfig;
use crate::error::RouteError;
use crate::method::{MethodSet, MethodTable};
use crate::rule::{Miss, Rule};

/// What of a request the rules look at.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host without port, in any letter case; see [`parse_host`](crate::authority::parse_host).
    pub host: Option<&'a str>,
    /// The path as [`normalize_path`](crate::target::normalize_path) gives it.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

/// Compiled rules: built once for each configuration, then shared and never changed.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Debug, Clone)]
pub struct Router {
    rules: Vec<Rule>,
    methods: MethodTable,
}

/// What the rules say to a request.
#[derive(Debug, Clone)]
pub enum Routed<'r> {
    /// This rule takes it.
    Rule(RuleMatch<'r>),
    /// No rule takes it, but at least one would have with another method: the answer is 405.
    MethodNotAllowed {
        /// The methods of all such rules, for the `Allow` field (RFC 9110 §15.5.6).
        allow: HeaderValue,
    },
    /// No rule takes it: the answer is 404.
    None,
}

/// The rule that takes a request.
#[derive(Debug, Clone, Copy)]
pub struct RuleMatch<'r> {
    /// Its place among the configured rules, from 0.
    pub index: usize,
    rule: &'r Rule,
}

impl RuleMatch<'_> {
    /// The path to forward instead of `path`, which is the path that was matched.
    ///
    /// Nothing is allocated where the path stays as it is or is only stripped. The query is not part of it.
    pub fn rewrite<'a>(&self, path: &'a str) -> Cow<'a, str> {
        self.rule.rewrite.apply(path, &self.rule.path)
    }
}

impl Router {
    /// Compiles the rules; the first in the list that matches a request takes it.
    ///
    /// # Errors
    /// Every fault of every rule at once.
    #[expect(clippy::needless_pass_by_value, reason = "the router is made of its configuration")]
    pub fn new(rules: Vec<RouteConfig>) -> Result<Self, Vec<RouteError>> {
        let mut methods = MethodTable::new();
        let mut faults = Vec::new();
        let compiled = rules
            .iter()
            .enumerate()
            .filter_map(|(place, rule)| Rule::compile(rule, place, &mut methods, &mut faults))
            .collect();
        if faults.is_empty() { Ok(Self { rules: compiled, methods }) } else { Err(faults) }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Finds the rule that takes a request: the first in listed order all of whose conditions are met.
    ///
    /// Where none is, and rules were missed by their method alone, the answer names their methods.
    pub fn route(&self, request: &RequestView<'_>) -> Routed<'_> {
        let method = self.methods.set_of(request.method);
        let mut allowed = MethodSet::default();
        for (index, rule) in self.rules.iter().enumerate() {
            match rule.check(request, method) {
                Ok(()) => return Routed::Rule(RuleMatch { index, rule }),
                Err(Miss::Method) => allowed = allowed.with(rule.methods),
                Err(_) => {}
            }
        }
        if allowed.is_empty() {
            Routed::None
        } else {
            Routed::MethodNotAllowed { allow: self.methods.allow(allowed) }
        }
    }
}

#[cfg(test)]
#[path = "router/tests.rs"]
mod tests;
