//! Why a request went to a rule, told by the matcher itself.
//!
//! The matcher is generic over a [`Tracer`] that hears of every rule it asks; routing passes `()`, which
//! compiles to nothing.

use crate::config::{PathConfig, RouteConfig};
use crate::router::Routed;
use crate::rule::Miss;

/// Hears what the matcher finds; called once or more for each rule that is asked.
pub(crate) trait Tracer {
    /// The rule at `place` was asked.
    fn asked(&mut self, place: usize, answer: Result<(), Miss>);
}

/// Hears nothing.
impl Tracer for () {
    fn asked(&mut self, _place: usize, _answer: Result<(), Miss>) {}
}

/// Keeps the answer of each rule that was asked, by its place.
impl Tracer for Vec<Option<Result<(), Miss>>> {
    fn asked(&mut self, place: usize, answer: Result<(), Miss>) {
        if let Some(kept) = self.get_mut(place) {
            *kept = Some(answer);
        }
    }
}

/// What became of a request, and what each rule had to do with it.
#[derive(Debug, Clone)]
pub struct Explanation<'r> {
    /// What [`Router::route`](crate::Router::route) says.
    pub routed: Routed<'r>,
    /// One for each rule, in listed order.
    pub rules: Vec<Outcome>,
}

/// What one rule had to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It takes the request.
    Takes,
    /// Its conditions are met, but an earlier rule takes the request.
    ComesLater,
    /// This condition is not met; those asked after it were not looked at.
    Missed(Miss),
}

impl Miss {
    /// What the rule asked for and did not get, in words; `rule` is the one that said so.
    pub fn describe(self, rule: &RouteConfig) -> String {
        match self {
            Self::Host => format!("the host is not {}", any_of(&rule.hosts)),
            Self::Path => match &rule.path {
                PathConfig::Any => "the path does not match".to_owned(),
                PathConfig::Exact(path) => format!("the path is not `{path}`"),
                PathConfig::Prefix(prefix) => format!("the path is not `{prefix}` nor below it"),
                PathConfig::Regex(regex) => format!("the path does not match `{regex}`"),
                PathConfig::Template(template) => format!("the path is not of the form `{template}`"),
            },
            Self::Header(place) => match rule.headers.get(place) {
                Some((name, value)) => format!("no header `{name}: {value}`"),
                None => "a header is missing".to_owned(),
            },
            Self::Query(place) => match rule.query.get(place) {
                Some((name, value)) => format!("no query parameter `{name}={value}`"),
                None => "a query parameter is missing".to_owned(),
            },
            Self::Rewrite => "rewriting would make a dot segment of the path".to_owned(),
            Self::Method => format!("the method is not {}", any_of(&rule.methods)),
        }
    }
}

impl RouteConfig {
    /// What a request must have to be taken, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let path = match &self.path {
            PathConfig::Any => None,
            PathConfig::Exact(path) => Some(format!("the path is `{path}`")),
            PathConfig::Prefix(prefix) => Some(format!("the path is `{prefix}` or below it")),
            PathConfig::Regex(regex) => Some(format!("the path matches `{regex}`")),
            PathConfig::Template(template) => Some(format!("the path is of the form `{template}`")),
        };
        let host = (!self.hosts.is_empty()).then(|| format!("the host is {}", any_of(&self.hosts)));
        let method = (!self.methods.is_empty()).then(|| format!("the method is {}", any_of(&self.methods)));
        let headers = self.headers.iter().map(|(name, value)| format!("there is a header `{name}: {value}`"));
        let query =
            self.query.iter().map(|(name, value)| format!("there is a query parameter `{name}={value}`"));
        let conditions: Vec<_> =
            host.into_iter().chain(path).chain(method).chain(headers).chain(query).collect();
        match conditions.is_empty() {
            true => "it takes every request".to_owned(),
            false => conditions.join(", "),
        }
    }
}

fn any_of<T: AsRef<str>>(list: &[T]) -> String {
    list.iter().map(|item| format!("`{}`", item.as_ref())).collect::<Vec<_>>().join(" or ")
}
