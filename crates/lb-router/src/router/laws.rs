//! Laws that hold for any rules and any request: the index finds what asking every rule in order finds, an
//! explanation says what routing does, and what is called shadowed is.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config::{PathConfig, RewriteConfig};

/// Few names, so that rules and requests often meet.
const SEGMENTS: [&str; 5] = ["a", "b", "ab", "a.", "a%2Fb"];

fn any_literal_path() -> impl Strategy<Value = String> {
    (prop::collection::vec(select(&SEGMENTS[..]), 0..4), any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

fn any_template() -> impl Strategy<Value = String> {
    let segment = prop_oneof![2 => select(&SEGMENTS[..]), 1 => Just("{}")];
    (prop::collection::vec(segment, 0..4), select(&["", "/", "/{*t}"][..])).prop_map(|(segments, end)| {
        let named = segments.iter().enumerate().map(|(place, segment)| match *segment {
            "{}" => format!("/{{p{place}}}"),
            text => format!("/{text}"),
        });
        let path = named.collect::<String>() + end;
        if path.is_empty() { "/".to_owned() } else { path }
    })
}

fn any_path() -> impl Strategy<Value = PathConfig> {
    let regexes = select(
        &["^/a", "^/a/", "^/a/b/?$", "^/(a|b)/", "/b", "^/a(.*)$", "(?i)^/A/", "^/a/(b|ab)/", "^(/a)?/b", ""]
            [..],
    );
    prop_oneof![
        1 => Just(PathConfig::Any),
        1 => any_literal_path().prop_map(PathConfig::Exact),
        4 => any_literal_path().prop_map(PathConfig::Prefix),
        2 => any_template().prop_map(PathConfig::Template),
        2 => regexes.prop_map(|regex| PathConfig::Regex(regex.to_owned())),
    ]
}

/// Expressions that overlap, of a few letters that are often in paths; some need a text, some do not.
fn any_regex() -> impl Strategy<Value = String> {
    let piece = select(
        &[
            "/a", "/b", "/ab", "/A", "/(a|b)", "/(?i)AB", "/[ab]+", "/.*", "(/|$)", "/a%2F", "/[^/]+",
            "(/ab)?", "/b{1,2}",
        ][..],
    );
    (select(&["", "^"][..]), prop::collection::vec(piece, 1..4), select(&["", "$", "/?$"][..]))
        .prop_map(|(start, pieces, end)| format!("{start}{}{end}", pieces.concat()))
}

/// So many expressions that they are looked for by their text, and some other rules between them.
fn any_crowd() -> impl Strategy<Value = (Vec<RouteConfig>, Vec<Request>)> {
    let rule = (any_rule(), prop::option::weighted(0.8, any_regex())).prop_map(|(rule, regex)| match regex {
        Some(regex) => {
            let rewrite = RewriteConfig { template: None, ..rule.rewrite };
            RouteConfig { path: PathConfig::Regex(regex), rewrite, ..rule }
        }
        None => rule,
    });
    (prop::collection::vec(rule, 20..60), prop::collection::vec(any_request(), 1..8))
}

fn any_rewrite() -> impl Strategy<Value = RewriteConfig> {
    let prefix = || prop::option::of(any_literal_path());
    (prefix(), prefix()).prop_map(|(strip_prefix, add_prefix)| RewriteConfig {
        strip_prefix,
        add_prefix,
        template: None,
    })
}

fn any_rule() -> impl Strategy<Value = RouteConfig> {
    let host = select(&["test", "a.test", "b.a.test", "*.test", "*.a.test", "A.test.", "*"][..]);
    let header = (select(&[http::header::ACCEPT, http::header::TE][..]), select(&["1", "2"][..]));
    let query = (select(&["a", "b"][..]), select(&["1", "2"][..]));
    (
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(host, 1..3)],
        any_path(),
        prop_oneof![2 => Just(Vec::new()), 1 => prop::collection::vec(any_method(), 1..3)],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(header, 1..3)],
        prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(query, 1..3)],
        any_rewrite(),
    )
        .prop_map(|(hosts, path, methods, headers, query, rewrite)| RouteConfig {
            name: "any".to_owned(),
            hosts: hosts.into_iter().map(str::to_owned).collect(),
            rewrite: match &path {
                PathConfig::Regex(regex) if regex.contains("(.*)") => {
                    RewriteConfig { template: Some("/a/{1}".to_owned()), ..RewriteConfig::default() }
                }
                _ => rewrite,
            },
            path,
            methods,
            headers: headers.into_iter().map(|(name, value)| (name, value.to_owned())).collect(),
            query: query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
}

fn any_method() -> impl Strategy<Value = Method> {
    let other = Method::from_bytes(b"OTHER").unwrap();
    select(vec![Method::GET, Method::POST, Method::HEAD, other])
}

#[derive(Debug, Clone)]
struct Request {
    method: Method,
    host: Option<&'static str>,
    path: String,
    query: Option<&'static str>,
    headers: HeaderMap,
}

impl Request {
    fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            host: self.host,
            path: &self.path,
            query: self.query,
            headers: &self.headers,
        }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let hosts = select(&["test", "A.test", "a.test.", "b.a.test", "c.b.a.TEST", "x", ".test", ""][..]);
    let path =
        prop_oneof![9 => any_literal_path(), 1 => Just("/a..".to_owned()), 1 => Just("/a//b".to_owned())];
    let query = select(&["a=1", "a=2&b=1", "b=2&a=%31", "c"][..]);
    let field = (select(&[http::header::ACCEPT, http::header::TE][..]), select(&["1", "2", "3"][..]));
    (any_method(), prop::option::of(hosts), path, prop::option::of(query), prop::collection::vec(field, 0..3))
        .prop_map(|(method, host, path, query, fields)| Request {
            method,
            host,
            path,
            query,
            headers: fields
                .into_iter()
                .map(|(name, value)| (name, HeaderValue::from_static(value)))
                .collect(),
        })
}

fn any_case() -> impl Strategy<Value = (Vec<RouteConfig>, Vec<Request>)> {
    (prop::collection::vec(any_rule(), 0..16), prop::collection::vec(any_request(), 1..8))
}

/// Asks every rule in listed order, as the documentation tells it.
fn one_by_one<'r>(router: &'r Router, request: &RequestView<'_>) -> Routed<'r> {
    let method = router.methods.set_of(request.method);
    let mut allowed = MethodSet::default();
    for (index, rule) in router.rules.iter().enumerate() {
        match rule.check(request, method) {
            Ok(()) => return Routed::Rule(RuleMatch { index, rule }),
            Err(Miss::Method) => allowed = allowed.with(rule.methods),
            Err(_) => {}
        }
    }
    if allowed.is_empty() {
        Routed::None
    } else {
        Routed::MethodNotAllowed { allow: router.methods.allow(allowed) }
    }
}

fn told(routed: &Routed<'_>) -> String {
    match routed {
        Routed::Rule(rule) => format!("rule {}", rule.index),
        Routed::MethodNotAllowed { allow } => format!("allow {allow:?}"),
        Routed::None => "none".to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_index_finds_what_asking_one_by_one_finds((rules, requests) in any_case()) {
        let router = Router::new(rules).unwrap();
        for request in &requests {
            let (got, wanted) = (router.route(&request.view()), one_by_one(&router, &request.view()));
            prop_assert_eq!(told(&got), told(&wanted), "{:?}", request);
        }
    }

    #[test]
    fn a_crowd_of_regexes_is_found_as_asking_one_by_one_finds((rules, requests) in any_crowd()) {
        let router = Router::new(rules).unwrap();
        for request in &requests {
            let (got, wanted) = (router.route(&request.view()), one_by_one(&router, &request.view()));
            prop_assert_eq!(told(&got), told(&wanted), "{:?}", request);
        }
        for Shadowed { rule, by } in router.warnings() {
            prop_assert!(by < rule);
        }
    }

    #[test]
    fn an_explanation_says_what_routing_does((rules, requests) in any_case()) {
        let router = Router::new(rules).unwrap();
        for request in &requests {
            let explanation = router.explain(&request.view());
            prop_assert_eq!(told(&explanation.routed), told(&router.route(&request.view())));
            prop_assert_eq!(explanation.rules.len(), router.len());
            let takes = explanation.rules.iter().position(|outcome| *outcome == Outcome::Takes);
            let first_met = explanation.rules.iter().position(|outcome| !matches!(outcome, Outcome::Missed(_)));
            prop_assert_eq!(takes, first_met);
            prop_assert_eq!(
                takes.map_or("rule".to_owned(), |place| format!("rule {place}")) == told(&explanation.routed),
                takes.is_some()
            );
        }
    }

    #[test]
    fn a_shadowed_rule_never_takes_a_request((rules, requests) in any_case()) {
        let router = Router::new(rules).unwrap();
        for Shadowed { rule, by } in router.warnings() {
            prop_assert!(by < rule);
            for request in &requests {
                let method = router.methods.set_of(&request.method);
                let asked = |place: usize| router.rules[place].check(&request.view(), method);
                prop_assert!(asked(rule).is_err() || asked(by).is_ok(), "{:?} by {} instead of {}", request, rule, by);
            }
        }
    }

    #[test]
    fn a_rewritten_path_is_as_safe_as_the_one_matched((rules, requests) in any_case()) {
        let router = Router::new(rules).unwrap();
        for request in &requests {
            if let Routed::Rule(rule) = router.route(&request.view()) {
                let path = rule.rewrite(&request.path);
                let normal = crate::target::normalize_path(&path, false);
                prop_assert_eq!(normal.as_deref(), Ok(&*path), "{:?}", request);
            }
        }
    }
}
