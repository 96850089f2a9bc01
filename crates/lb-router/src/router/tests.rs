//! Whole rule sets against whole requests, in the form an operator thinks of them.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::config::{PathConfig, RewriteConfig};
use crate::error::RouteField;

/// A rule named after its path prefix.
fn prefix(path: &str) -> RouteConfig {
    RouteConfig { name: path.to_owned(), path: PathConfig::Prefix(path.to_owned()), ..RouteConfig::default() }
}

fn methods(names: &str) -> Vec<Method> {
    names.split(',').map(|name| Method::from_bytes(name.as_bytes()).unwrap()).collect()
}

fn stripped(path: &str, strip: &str, add: Option<&str>) -> RouteConfig {
    let rewrite = RewriteConfig {
        strip_prefix: Some(strip.to_owned()),
        add_prefix: add.map(str::to_owned),
        ..RewriteConfig::default()
    };
    RouteConfig { rewrite, ..prefix(path) }
}

/// `request` is `METHOD [//HOST]PATH[?QUERY] [Name: value]…`; the answer is `INDEX PATH`, `405 ALLOW` or `404`.
fn check(rules: &[RouteConfig], request: &str, expect: &str) {
    let router = Router::new(rules.to_vec()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let mut parts = request.splitn(3, ' ');
    let method = Method::from_bytes(parts.next().unwrap().as_bytes()).unwrap();
    let target = parts.next().unwrap();
    let mut headers = HeaderMap::new();
    for field in parts.next().into_iter().flat_map(|fields| fields.split("; ")) {
        let (name, value) = field.split_once(": ").unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    let (host, target) = match target.strip_prefix("//") {
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/').unwrap());
            (Some(host), path)
        }
        None => (None, target),
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let path = crate::target::normalize_path(path, true).unwrap();
    let view = RequestView { method: &method, host, path: &path, query, headers: &headers };
    let got = match router.route(&view) {
        Routed::Rule(rule) => format!("{} {}", rule.index, rule.rewrite(&path)),
        Routed::MethodNotAllowed { allow } => format!("405 {}", allow.to_str().unwrap()),
        Routed::None => "404".to_owned(),
    };
    assert_eq!(got, expect, "{request}");
}

#[test]
fn the_first_rule_that_matches_takes_the_request() {
    let rules = [prefix("/api"), prefix("/api/v1"), prefix("/")];
    check(&rules, "GET /api/v1/x", "0 /api/v1/x");
    check(&rules, "GET /apifoo", "2 /apifoo");
    check(&rules[..2], "GET /other", "404");
    check(&[], "GET /", "404");
}

#[test]
fn a_regex_rule_takes_only_what_its_regex_matches() {
    let regex =
        RouteConfig { path: PathConfig::Regex("^/api/v[0-9]+/".to_owned()), ..RouteConfig::default() };
    let rules = [regex, prefix("/api")];
    check(&rules, "GET /api/v7/x", "0 /api/v7/x");
    check(&rules, "GET /api/vx/x", "1 /api/vx/x");
    check(&rules, "GET /x", "404");
}

#[test]
fn stripping_keeps_encoded_slashes_and_segment_boundaries() {
    let rules = [stripped("/api/v1/", "/api/v1", None), stripped("/api", "/api", None)];
    check(&rules, "GET /api/v1/a%2Fb", "0 /a%2Fb");
    check(&rules, "GET /api/v1/a%2fb", "0 /a%2Fb");
    check(&rules, "GET /api/v1", "0 /");
    check(&rules, "GET /api/v1?x=/../y", "0 /");
    check(&rules, "GET /api//v1///users/", "0 /users/");
    check(&rules, "GET /api/v2/../v1/x", "0 /x");
    check(&rules, "GET /api/v10/x", "1 /v10/x");
    check(&rules, "GET /apifoo", "404");
}

#[test]
fn hosts_split_what_paths_do_not() {
    let hosts = |hosts: &[&str]| RouteConfig {
        hosts: hosts.iter().map(ToString::to_string).collect(),
        ..prefix("/")
    };
    let rules = [hosts(&["api.example.com", "api.test"]), hosts(&["*.example.com"]), hosts(&["*"])];
    check(&rules, "GET //API.example.COM/x", "0 /x");
    check(&rules, "GET //api.test./x", "0 /x");
    check(&rules, "GET //a.b.example.com/x", "1 /x");
    check(&rules, "GET //example.com/x", "2 /x");
    check(&rules, "GET /x", "2 /x");
    check(&rules[..2], "GET //example.com/x", "404");
}

#[test]
fn headers_and_query_must_be_there_with_their_value() {
    let version = RouteConfig {
        headers: vec![(HeaderName::from_static("x-api-version"), "v2".to_owned())],
        ..prefix("/")
    };
    let debug = RouteConfig { query: vec![("debug".to_owned(), "1".to_owned())], ..prefix("/") };
    let rules = [version, debug, prefix("/")];
    check(&rules, "GET /x X-API-Version: v2", "0 /x");
    check(&rules, "GET /x X-API-Version: v1; X-API-Version: v2", "0 /x");
    check(&rules, "GET /x X-API-Version: V2", "2 /x");
    check(&rules, "GET /x X-API-Version: v1, v2", "2 /x");
    check(&rules, "GET /x?a=b&debug=1", "1 /x");
    check(&rules, "GET /x?debug=10", "2 /x");
}

#[test]
fn a_method_that_no_rule_takes_is_answered_with_those_that_are() {
    let only = |path: &str, names: &str| RouteConfig { methods: methods(names), ..prefix(path) };
    let rules =
        [only("/static", "HEAD,GET"), only("/static/x", "PURGE"), only("/api", "GET"), prefix("/api/v2")];
    check(&rules, "GET /static/a", "0 /static/a");
    check(&rules, "POST /static/a", "405 GET, HEAD");
    check(&rules, "POST /static/x", "405 GET, HEAD, PURGE");
    check(&rules, "PURGE /static/x", "1 /static/x");
    check(&rules, "ODD /static/a", "405 GET, HEAD");
    check(&rules, "POST /api/v2", "3 /api/v2");
    check(&rules, "POST /api/v1", "405 GET");
    check(&rules, "POST /other", "404");
    let and_header =
        RouteConfig { headers: vec![(http::header::ACCEPT, "a/b".to_owned())], ..only("/static", "GET") };
    check(std::slice::from_ref(&and_header), "POST /static", "404");
    check(&[and_header], "POST /static Accept: a/b", "405 GET");
}

#[test]
fn templates_carry_their_parameters_over() {
    let users = RouteConfig {
        path: PathConfig::Template("/api/users/{id}".to_owned()),
        rewrite: RewriteConfig { template: Some("/users/{id}".to_owned()), ..RewriteConfig::default() },
        ..RouteConfig::default()
    };
    check(std::slice::from_ref(&users), "GET /api/users/42?full=1", "0 /users/42");
    check(std::slice::from_ref(&users), "GET /api/users/a%2fb", "0 /users/a%2Fb");
    check(&[users], "GET /api/users/", "404");
}

#[test]
fn a_rewrite_that_would_climb_leaves_the_request_to_other_rules() {
    let climbing = RouteConfig {
        path: PathConfig::Regex("^/a(.*)$".to_owned()),
        rewrite: RewriteConfig { template: Some("/b/{1}".to_owned()), ..RewriteConfig::default() },
        ..RouteConfig::default()
    };
    let rules = [climbing, prefix("/")];
    check(&rules, "GET /a/x", "0 /b/x");
    check(&rules, "GET /a..", "1 /a..");
}

/// The rules of the tutorial that the demo shows.
fn tutorial() -> Vec<RouteConfig> {
    let with = |rule: RouteConfig, names: &str| RouteConfig { methods: methods(names), ..rule };
    vec![
        with(stripped("/api/v1/", "/api/v1", None), "GET,POST,PUT,DELETE"),
        with(stripped("/api/v2/", "/api/v2", Some("/v2")), "GET,POST"),
        with(stripped("/auth/", "/auth", None), "POST,GET"),
        with(stripped("/static/", "/static", None), "GET,HEAD"),
    ]
}

#[test]
fn the_tutorial_routes_as_it_says() {
    let rules = tutorial();
    check(&rules, "GET /api/v1/users", "0 /users");
    check(&rules, "DELETE /api/v1/users/7", "0 /users/7");
    check(&rules, "GET /api/v2/products?page=2", "1 /v2/products");
    check(&rules, "PUT /api/v2/products", "405 GET, POST");
    check(&rules, "POST /auth/login", "2 /login");
    check(&rules, "HEAD /static/css/main.css", "3 /css/main.css");
    check(&rules, "POST /static/css/main.css", "405 GET, HEAD");
    check(&rules, "GET /", "404");
}

#[test]
fn every_fault_of_every_rule_is_told_at_once() {
    let bad = RouteConfig {
        name: "bad".to_owned(),
        hosts: vec!["ok.example".to_owned(), "a.example:80".to_owned()],
        path: PathConfig::Regex("^/api/(v1".to_owned()),
        headers: vec![(http::header::ACCEPT, "a\n".to_owned()), (http::header::ACCEPT, " a".to_owned())],
        query: vec![(String::new(), "1".to_owned())],
        rewrite: RewriteConfig { strip_prefix: Some("api".to_owned()), ..RewriteConfig::default() },
        ..RouteConfig::default()
    };
    let errors = Router::new(vec![prefix("/"), bad, prefix("api/v1")]).unwrap_err();
    let fields: Vec<_> = errors.iter().map(|error| (error.rule, error.field)).collect();
    assert_eq!(
        fields,
        [
            (1, RouteField::Host(1)),
            (1, RouteField::Path),
            (1, RouteField::Header(0)),
            (1, RouteField::Header(1)),
            (1, RouteField::Query(0)),
            (1, RouteField::StripPrefix),
            (2, RouteField::Path),
        ]
    );
    assert_eq!(
        errors[6].to_string(),
        "rule 3 (`api/v1`): path: `api/v1` does not begin with a slash; write `/api/v1`"
    );
    assert_eq!(
        errors[1].to_string(),
        "rule 2 (`bad`): path: `^/api/(v1` is no regular expression: unclosed group at byte 6; \
         see docs.rs/regex for the syntax"
    );
    assert_eq!(errors[1].problem.span(), Some(6..7));
}

#[test]
fn a_rule_that_can_never_match_is_told_with_the_one_that_takes_all() {
    let at = |path: PathConfig| RouteConfig { path, ..RouteConfig::default() };
    let below = |path: &str| at(PathConfig::Prefix(path.to_owned()));
    let exact = |path: &str| at(PathConfig::Exact(path.to_owned()));
    let regex = |path: &str| at(PathConfig::Regex(path.to_owned()));
    let template = |path: &str| at(PathConfig::Template(path.to_owned()));
    let host = |host: &str, rule: RouteConfig| RouteConfig { hosts: vec![host.to_owned()], ..rule };
    let only = |names: &str, rule: RouteConfig| RouteConfig { methods: methods(names), ..rule };
    let header =
        |rule: RouteConfig| RouteConfig { headers: vec![(http::header::ACCEPT, "a/b".to_owned())], ..rule };
    let query = |rule: RouteConfig| RouteConfig { query: vec![("a".to_owned(), "b".to_owned())], ..rule };
    let climbing = RouteConfig {
        rewrite: RewriteConfig { template: Some("/b/{1}".to_owned()), ..RewriteConfig::default() },
        ..regex("^/a(.*)$")
    };
    for (first, second, expect) in [
        (climbing, regex("^/a(.*)$"), false),
        (below("/api"), below("/api/v1"), true),
        (below("/api"), below("/api/"), true),
        (below("/api/v1"), below("/api"), false),
        (below("/api"), below("/apifoo"), false),
        (at(PathConfig::Any), regex("x"), true),
        (below("/"), host("a.test", exact("/x")), true),
        (exact("/x"), exact("/x"), true),
        (exact("/x"), below("/x"), false),
        (regex("^/v[0-9]+$"), exact("/v1"), true),
        (regex("^/v[0-9]+$"), exact("/vx"), false),
        (regex("^/v[0-9]+$"), regex("^/v[0-9]+$"), true),
        (below("/api"), regex("^/api/v[0-9]+"), true),
        (below("/api"), regex("^/api"), false),
        (template("/users/{id}"), exact("/users/1"), true),
        (template("/users/{id}"), template("/users/{name}"), true),
        (template("/users/{*rest}"), template("/users/{name}/x"), true),
        (template("/users/{id}"), below("/users"), false),
        (host("*.a.test", below("/")), host("x.a.test", below("/x")), true),
        (host("*.a.test", below("/")), host("*.x.a.test", below("/x")), true),
        (host("*.a.test", below("/")), host("a.test", below("/x")), false),
        (host("a.test", below("/")), below("/x"), false),
        (host("*", below("/")), below("/x"), true),
        (only("GET,HEAD", below("/")), only("GET", below("/x")), true),
        (only("GET", below("/")), only("GET,HEAD", below("/x")), false),
        (only("GET", below("/")), below("/x"), false),
        (header(below("/")), header(below("/x")), true),
        (below("/"), header(below("/x")), true),
        (header(below("/")), below("/x"), false),
        (query(below("/")), header(query(below("/x"))), true),
        (query(below("/")), below("/x"), false),
    ] {
        let names = format!("{first:?} before {second:?}");
        let warnings = Router::new(vec![below("/other"), first, second]).unwrap().warnings();
        let wanted = if expect { vec![Shadowed { rule: 2, by: 1 }] } else { Vec::new() };
        assert_eq!(warnings, wanted, "{names}");
    }
    let rules = vec![prefix("/a"), prefix("/a/b"), prefix("/a/b/c")];
    assert_eq!(
        Router::new(rules).unwrap().warnings(),
        [Shadowed { rule: 1, by: 0 }, Shadowed { rule: 2, by: 0 }]
    );
    assert_eq!(Router::new(tutorial()).unwrap().warnings(), []);
}

#[test]
fn an_explanation_says_what_each_rule_missed() {
    let rules = vec![
        RouteConfig { hosts: vec!["a.test".to_owned()], ..prefix("/") },
        prefix("/api/v2"),
        RouteConfig { headers: vec![(http::header::ACCEPT, "a/b".to_owned())], ..prefix("/api") },
        RouteConfig { query: vec![("debug".to_owned(), "1".to_owned())], ..prefix("/api") },
        RouteConfig { methods: methods("POST,PUT"), ..prefix("/api") },
        prefix("/api/v1"),
        prefix("/"),
    ];
    let router = Router::new(rules.clone()).unwrap();
    let headers = HeaderMap::new();
    let request =
        RequestView { method: &Method::GET, host: None, path: "/api/v1/x", query: None, headers: &headers };
    let explanation = router.explain(&request);
    assert!(matches!(explanation.routed, Routed::Rule(rule) if rule.index == 5));
    let said: Vec<String> = explanation
        .rules
        .iter()
        .zip(&rules)
        .map(|(outcome, rule)| match outcome {
            Outcome::Missed(miss) => miss.describe(rule),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            "the host is not `a.test`",
            "the path is not `/api/v2` nor below it",
            "no header `accept: a/b`",
            "no query parameter `debug=1`",
            "the method is not `POST` or `PUT`",
            "Takes",
            "ComesLater",
        ]
    );
}
