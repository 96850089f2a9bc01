//! No lookup allocates, whatever the rules ask for, found or not.

use http::{HeaderMap, Method};
use lb_router::{PathConfig, RequestView, RouteConfig, Router};

#[test]
fn nothing_is_allocated_to_find_a_rule() {
    let paths = [
        PathConfig::Exact("/exact/{n}".to_owned()),
        PathConfig::Prefix("/prefix/{n}".to_owned()),
        PathConfig::Template("/template/{id}/t{n}".to_owned()),
        PathConfig::Regex("^/service{n}/v[0-9]+/".to_owned()),
        PathConfig::Regex("/t{n}/(edit|view)$".to_owned()),
        PathConfig::Regex("(?i)^/[a-z]{2}/CASE{n}(/|$)".to_owned()),
    ];
    let numbered = |path: &PathConfig, n: usize| {
        let number = |text: &String| text.replace("{n}", &n.to_string());
        match path {
            PathConfig::Any => PathConfig::Any,
            PathConfig::Exact(text) => PathConfig::Exact(number(text)),
            PathConfig::Prefix(text) => PathConfig::Prefix(number(text)),
            PathConfig::Template(text) => PathConfig::Template(number(text)),
            PathConfig::Regex(text) => PathConfig::Regex(number(text)),
        }
    };
    let rule = |n: usize| RouteConfig {
        hosts: match n % 3 {
            0 => Vec::new(),
            1 => vec!["api.example.com".to_owned()],
            _ => vec!["*.example.com".to_owned()],
        },
        path: numbered(&paths[n % paths.len()], n / paths.len()),
        methods: vec![Method::GET],
        ..RouteConfig::default()
    };
    let router = Router::new((0..6_000).map(rule)).unwrap();
    let requests: Vec<String> = (0..1_000)
        .flat_map(|n| {
            [
                format!("/exact/{n}"),
                format!("/prefix/{n}/x"),
                format!("/template/a/t{n}"),
                format!("/service{n}/v2/x"),
                format!("/x/t{n}/edit"),
                format!("/en/case{n}"),
                format!("/nothing/{n}"),
            ]
        })
        .collect();
    let headers = HeaderMap::new();
    let counted = allocation_counter::measure(|| {
        for (n, path) in requests.iter().enumerate() {
            let host = ["api.example.com", "other.test", "x.y.example.com"][n % 3];
            let request =
                RequestView { method: &Method::GET, host: Some(host), path, query: None, headers: &headers };
            _ = router.route(&request);
        }
    });
    assert_eq!(counted.count_total, 0);
}
