//! One rule, compiled: its conditions in the order they are asked, and its rewrite.

use http::{HeaderName, HeaderValue};

use crate::config::RouteConfig;
use crate::error::{RouteError, RouteField, RouteProblem};
use crate::host::HostPattern;
use crate::method::{MethodSet, MethodTable};
use crate::path::PathPattern;
use crate::query::QueryPair;
use crate::rewrite::Rewrite;
use crate::router::RequestView;

/// A compiled rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Empty for every host.
    pub(crate) hosts: Box<[HostPattern]>,
    pub(crate) path: PathPattern,
    pub(crate) headers: Box<[(HeaderName, HeaderValue)]>,
    pub(crate) query: Box<[QueryPair]>,
    pub(crate) methods: MethodSet,
    pub(crate) rewrite: Rewrite,
}

/// The first condition that a request did not meet.
///
/// The method is asked last, so that [`Miss::Method`] means: the method was all that was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Miss {
    /// No host pattern matched.
    Host,
    /// The path did not match.
    Path,
    /// The header condition at this place was not met.
    Header(usize),
    /// The query condition at this place was not met.
    Query(usize),
    /// The path matched, but the rewrite would have made a dot segment of it.
    Rewrite,
    /// Only the method differed.
    Method,
}

impl Rule {
    /// Compiles one rule; every fault goes to `faults`.
    pub(crate) fn compile(
        config: &RouteConfig,
        rule: usize,
        methods: &mut MethodTable,
        faults: &mut Vec<RouteError>,
    ) -> Option<Self> {
        let before = faults.len();
        let mut fault = |field, problem| {
            faults.push(RouteError { rule, name: config.name.clone(), field, problem });
        };
        let hosts = each(&config.hosts, |place, host| {
            HostPattern::parse(host).map_err(|problem| fault(RouteField::Host(place), problem)).ok()
        });
        let path =
            PathPattern::compile(&config.path).map_err(|problem| fault(RouteField::Path, problem)).ok();
        let headers = each(&config.headers, |place, (name, value)| {
            let value =
                header_value(value).map_err(|problem| fault(RouteField::Header(place), problem)).ok()?;
            Some((name.clone(), value))
        });
        let query = each(&config.query, |place, (name, value)| {
            if name.is_empty() {
                fault(RouteField::Query(place), RouteProblem::QueryName);
                return None;
            }
            Some(QueryPair { name: name.as_str().into(), value: value.as_str().into() })
        });
        let methods =
            methods.learn(&config.methods).map_err(|problem| fault(RouteField::Methods, problem)).ok();
        let rewrite = Rewrite::compile(&config.rewrite, path.as_ref())
            .map_err(|problems| problems.into_iter().for_each(|(field, problem)| fault(field, problem)))
            .ok();
        if faults.len() > before {
            return None;
        }
        // `*` among the hosts is the same as no host at all.
        let hosts = if hosts.contains(&HostPattern::Any) { Box::default() } else { hosts };
        Some(Self { hosts, path: path?, headers, query, methods: methods?, rewrite: rewrite? })
    }

    /// Asks every condition in turn, cheap ones first; `method` is the set of the request's method alone.
    pub(crate) fn check(&self, request: &RequestView<'_>, method: MethodSet) -> Result<(), Miss> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|host| host.matches(request.host)) {
            return Err(Miss::Host);
        }
        if !self.path.matches(request.path) {
            return Err(Miss::Path);
        }
        self.check_rest(request, method)
    }

    /// The same for a rule that the index names: its host and path match, but for a regex.
    pub(crate) fn check_indexed(&self, request: &RequestView<'_>, method: MethodSet) -> Result<(), Miss> {
        match &self.path {
            PathPattern::Regex(regex) if !regex.matches(request.path) => Err(Miss::Path),
            _ => self.check_rest(request, method),
        }
    }

    fn check_rest(&self, request: &RequestView<'_>, method: MethodSet) -> Result<(), Miss> {
        for (place, (name, value)) in self.headers.iter().enumerate() {
            if !request.headers.has(name, value.as_bytes()) {
                return Err(Miss::Header(place));
            }
        }
        if let Some(place) = self.query.iter().position(|pair| !pair.is_in(request.query)) {
            return Err(Miss::Query(place));
        }
        if !self.rewrite.is_safe(request.path, &self.path) {
            return Err(Miss::Rewrite);
        }
        if self.methods.meets(method) { Ok(()) } else { Err(Miss::Method) }
    }
}

fn each<T, U>(list: &[T], mut compile: impl FnMut(usize, &T) -> Option<U>) -> Box<[U]> {
    list.iter().enumerate().filter_map(|(place, item)| compile(place, item)).collect()
}

/// A value that a parsed request may hold: no controls but tabs, and no blanks at either end.
fn header_value(value: &str) -> Result<HeaderValue, RouteProblem> {
    let refused = || RouteProblem::HeaderValue { value: value.to_owned() };
    if value.trim_matches([' ', '\t']) != value {
        return Err(refused());
    }
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())
}
