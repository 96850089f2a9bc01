//! The rules together: which of them takes a request.

use std::borrow::{Borrow, Cow};
use std::fmt::Debug;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::config::RouteConfig;
use crate::error::RouteError;
use crate::explain::{Explanation, Outcome, Tracer};
use crate::index::Index;
use crate::method::{MethodSet, MethodTable};
use crate::rule::{Miss, Rule};
use crate::shadow::{Shadowed, shadowed};

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
    pub headers: &'a dyn HeaderFields,
}

/// The fields of a request as rules ask for them.
pub trait HeaderFields: Debug {
    /// Whether one of the lines of this name has exactly this value.
    fn has(&self, name: &HeaderName, value: &[u8]) -> bool;
}

impl HeaderFields for HeaderMap {
    fn has(&self, name: &HeaderName, value: &[u8]) -> bool {
        self.get_all(name).iter().any(|present| present == value)
    }
}

/// Compiled rules: built once for each configuration, then shared and never changed.
///
/// See the [crate's documentation](crate) for an example.
#[derive(Debug, Clone)]
pub struct Router {
    rules: Vec<Rule>,
    index: Index,
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
    pub fn new<R: Borrow<RouteConfig>>(rules: impl IntoIterator<Item = R>) -> Result<Self, Vec<RouteError>> {
        let mut methods = MethodTable::new();
        let mut faults = Vec::new();
        let compiled: Vec<Rule> = rules
            .into_iter()
            .enumerate()
            .filter_map(|(place, rule)| Rule::compile(rule.borrow(), place, &mut methods, &mut faults))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self { index: Index::new(&compiled), rules: compiled, methods })
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
        self.find(request, &mut ())
    }

    /// Says what [`route`](Self::route) does with a request, and what each rule had to do with it.
    ///
    /// Rules that the matcher had no need to ask are asked here, one by one: for people, not for traffic.
    pub fn explain(&self, request: &RequestView<'_>) -> Explanation<'_> {
        let mut answers = vec![None; self.rules.len()];
        let routed = self.find(request, &mut answers);
        let taken = match &routed {
            Routed::Rule(rule) => Some(rule.index),
            Routed::MethodNotAllowed { .. } | Routed::None => None,
        };
        let method = self.methods.set_of(request.method);
        let outcome = |(place, (rule, answer)): (usize, (&Rule, Option<_>))| match answer
            .unwrap_or_else(|| rule.check(request, method))
        {
            Ok(()) if taken == Some(place) => Outcome::Takes,
            Ok(()) => Outcome::ComesLater,
            Err(miss) => Outcome::Missed(miss),
        };
        let rules = self.rules.iter().zip(answers).enumerate().map(outcome).collect();
        Explanation { routed, rules }
    }

    /// Rules that can never match, because an earlier one takes everything that they could.
    ///
    /// What is told is certain, but not every such rule is found: only those that one other rule covers.
    pub fn warnings(&self) -> Vec<Shadowed> {
        shadowed(&self.rules, &self.index)
    }

    /// The matcher. The index names rules list by list, not in listed order, so the least that matches counts;
    /// where none does, every rule that could have matched was asked.
    fn find<T: Tracer>(&self, request: &RequestView<'_>, tracer: &mut T) -> Routed<'_> {
        let method = self.methods.set_of(request.method);
        let mut best: Option<RuleMatch<'_>> = None;
        let mut allowed = MethodSet::default();
        self.index.candidates(request.host, request.path, |places| {
            for &place in places {
                let index = place as usize;
                if best.is_some_and(|best| best.index <= index) {
                    break;
                }
                let Some(rule) = self.rules.get(index) else { break };
                let answer = rule.check_indexed(request, method);
                tracer.asked(index, answer);
                match answer {
                    Ok(()) => best = Some(RuleMatch { index, rule }),
                    Err(Miss::Method) => allowed = allowed.with(rule.methods),
                    Err(_) => {}
                }
            }
            best.map_or(u32::MAX, |best| u32::try_from(best.index).unwrap_or(u32::MAX))
        });
        match best {
            Some(rule) => Routed::Rule(rule),
            None if allowed.is_empty() => Routed::None,
            None => Routed::MethodNotAllowed { allow: self.methods.allow(allowed) },
        }
    }
}

#[cfg(test)]
#[path = "router/tests.rs"]
mod tests;

#[cfg(test)]
#[path = "router/laws.rs"]
mod laws;
