//! What routing costs each request: reading target and host, finding the rule among 10, 1 000 and 10 000, and compiling
//! that many. `cargo xtask bench route` makes tables of it.
//!
//! Requests are drawn at random over all rules, so that large tables pay for their cache misses.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark stops at once where it is wrong"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::header::ACCEPT;
use http::{HeaderMap, Method};
use lb_router::authority::parse_host;
use lb_router::target::normalize_path;
use lb_router::{PathConfig, RequestView, RewriteConfig, RouteConfig, Routed, Router};

/// Requests in one round; a power of two.
const REQUESTS: usize = 1 << 14;

/// A set of rules, and the host and path that the rule of a number takes.
struct Kind {
    name: &'static str,
    rule: fn(usize) -> RouteConfig,
    request: fn(usize) -> (String, String),
}

const KINDS: [Kind; 9] = [
    Kind {
        name: "exact",
        rule: |n| RouteConfig {
            path: PathConfig::Exact(format!("/api/v{}/thing{n}", n % 7)),
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/api/v{}/thing{n}", n % 7)),
    },
    Kind {
        name: "prefix",
        rule: |n| RouteConfig {
            path: PathConfig::Prefix(format!("/api/v{}/service{n}/", n % 7)),
            rewrite: RewriteConfig { strip_prefix: Some("/api".to_owned()), ..RewriteConfig::default() },
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/api/v{}/service{n}/users/42", n % 7)),
    },
    Kind {
        name: "host",
        rule: |n| RouteConfig { hosts: vec![format!("tenant{n}.example.com")], ..RouteConfig::default() },
        request: |n| (format!("tenant{n}.example.com"), "/api/v1/users/42".to_owned()),
    },
    Kind {
        name: "wildcard",
        rule: |n| RouteConfig { hosts: vec![format!("*.tenant{n}.example.com")], ..RouteConfig::default() },
        request: |n| (format!("api.tenant{n}.example.com"), "/api/v1/users/42".to_owned()),
    },
    Kind {
        name: "template",
        rule: |n| RouteConfig {
            path: PathConfig::Template(format!("/api/{{tenant}}/thing{n}/{{id}}")),
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/api/acme/thing{n}/42")),
    },
    Kind {
        name: "regex",
        rule: |n| RouteConfig {
            path: PathConfig::Regex(format!("^/service{n}/v[0-9]+/")),
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/service{n}/v2/users/42")),
    },
    // Nothing to file it by: it is found by the text that it needs.
    Kind {
        name: "regex-inner",
        rule: |n| RouteConfig {
            path: PathConfig::Regex(format!("^/[a-z]{{2}}/thing{n}/(edit|view)$")),
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/en/thing{n}/edit")),
    },
    // Five rules have one path: two ask for another method, two for another header, and the last takes it.
    Kind {
        name: "conditions",
        rule: |n| RouteConfig {
            path: PathConfig::Prefix(format!("/api/service{}", n / 5)),
            methods: if n % 5 < 2 { vec![Method::POST] } else { Vec::new() },
            headers: if matches!(n % 5, 2 | 3) { vec![(ACCEPT, "text/csv".to_owned())] } else { Vec::new() },
            ..RouteConfig::default()
        },
        request: |n| ("example.com".to_owned(), format!("/api/service{}/users", n / 5)),
    },
    Kind {
        name: "mixed",
        rule: |n| {
            let kind = &KINDS[n % 7];
            RouteConfig { hosts: vec![format!("h{}.example.com", n % 50)], ..(kind.rule)(n) }
        },
        request: |n| (format!("h{}.example.com", n % 50), (KINDS[n % 7].request)(n).1),
    },
];

fn routing(criterion: &mut Criterion) {
    let headers = HeaderMap::new();
    for kind in &KINDS {
        let mut group = criterion.benchmark_group(format!("route/{}", kind.name));
        for count in [10, 1_000, 10_000] {
            let router = Router::new((0..count).map(kind.rule)).unwrap();
            // A fixed linear congruential sequence: the same requests in every run.
            let requests: Vec<_> =
                (0..REQUESTS).map(|step| (kind.request)(step.wrapping_mul(2_654_435_761) % count)).collect();
            let mut next = 0;
            group.bench_function(BenchmarkId::from_parameter(count), |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % REQUESTS;
                    let (host, path) = &requests[next];
                    match find(&router, host, path, &headers) {
                        Routed::Rule(rule) => rule.rewrite(path).len(),
                        other => panic!("{other:?}"),
                    }
                });
            });
            let misses: Vec<_> = requests.iter().map(|(host, path)| (missed(host), missed(path))).collect();
            group.bench_function(BenchmarkId::new("miss", count), |bencher| {
                bencher.iter(|| {
                    next = (next + 1) % REQUESTS;
                    let (host, path) = &misses[next];
                    match find(&router, host, path, &headers) {
                        Routed::None => {}
                        other => panic!("{other:?}"),
                    }
                });
            });
        }
        group.finish();
    }
}

/// What looks much the same but is taken by no rule.
fn missed(text: &str) -> String {
    text.replace("example", "sample").replace("/service", "/servant").replace("/thing", "/think")
}

fn find<'r>(router: &'r Router, host: &str, path: &str, headers: &HeaderMap) -> Routed<'r> {
    router.route(&RequestView { method: &Method::GET, host: Some(host), path, query: None, headers })
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for kind in &KINDS {
        let rules: Vec<_> = (0..10_000).map(kind.rule).collect();
        group.bench_function(BenchmarkId::new("router", kind.name), |bencher| {
            bencher.iter(|| Router::new(black_box(&rules)).map(|router| router.len()));
        });
        let router = Router::new(rules).unwrap();
        group.bench_function(BenchmarkId::new("warnings", kind.name), |bencher| {
            bencher.iter(|| router.warnings());
        });
    }
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for path in ["/api/v1/users/424242", "/.well-known/security.txt", "/a%2Fb/c", "/a/../b//c%7e"] {
        group.bench_function(BenchmarkId::new("path", path), |bencher| {
            bencher.iter(|| normalize_path(black_box(path), true).map(|path| path.len()));
        });
    }
    group.bench_function("host", |bencher| bencher.iter(|| parse_host(black_box(b"api.example.com:8080"))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = reading, routing, building
}
criterion_main!(benches);
