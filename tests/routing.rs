//! Which rule takes a request, and with which path the backend is asked.

use lb_testkit::{Backend, Gateway};

use crate::support::{echoed_target, gateway, rule};

/// A gateway whose rules, each with an echo backend of its own name, stand in this order.
fn rules(root: &str, rules: &[(&str, &str)]) -> (Gateway, Vec<Backend>) {
    let backends: Vec<Backend> = rules.iter().map(|(name, _)| Backend::echo(name)).collect();
    let config = rules
        .iter()
        .zip(&backends)
        .map(|((name, lines), backend)| rule(&format!("name = \"{name}\"\n{lines}"), &[backend]));
    let config = format!("{root}\n{}", config.collect::<String>());
    (gateway(&config), backends)
}

/// Which rule answers; `none` where none does.
#[track_caller]
fn taker(gateway: &Gateway, method: &str, target: &str, fields: &[(&str, &str)]) -> String {
    let response = gateway.fetch(method, target, fields);
    match response.status {
        404 => {
            assert_eq!(response.problem(), "no_rule");
            "none".to_owned()
        }
        _ => response.backend(),
    }
}

#[test]
fn a_prefix_ends_on_a_segment_boundary() {
    let (gateway, _backends) =
        rules("", &[("v1", "path_prefix = \"/api/v1/\""), ("api", "path_prefix = \"/api\"")]);
    for (target, expected) in [
        ("/api/v1/users", "v1"),
        ("/api/v1/", "v1"),
        ("/api/v1", "v1"),
        ("/api/v10", "api"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api?x=/other", "api"),
        ("/apifoo", "none"),
        ("/API/x", "none"),
        ("/", "none"),
    ] {
        assert_eq!(taker(&gateway, "GET", target, &[]), expected, "{target}");
    }
}

#[test]
fn exact_paths_regexes_and_templates_match_what_they_say() {
    let (gateway, _backends) = rules(
        "",
        &[
            ("exact", "path = \"/only/this\""),
            ("regex", "path_regex = \"^/v[0-9]+/\""),
            ("template", "path_template = \"/users/{id}/orders\""),
        ],
    );
    for (target, expected) in [
        ("/only/this", "exact"),
        ("/only/this/x", "none"),
        ("/v1/x", "regex"),
        ("/v12/", "regex"),
        ("/vx/", "none"),
        ("/x/v1/", "none"),
        ("/users/42/orders", "template"),
        ("/users//orders", "none"),
        ("/users/42/orders/7", "none"),
    ] {
        assert_eq!(taker(&gateway, "GET", target, &[]), expected, "{target}");
    }
}

#[test]
fn hosts_match_in_any_case_with_any_port_and_by_wildcard() {
    let (gateway, _backends) = rules(
        "",
        &[
            ("api", "host = \"api.example.com\""),
            ("wild", "host = \"*.example.com\""),
            ("two", "hosts = [\"one.test\", \"two.test\"]"),
        ],
    );
    for (host, expected) in [
        ("api.example.com", "api"),
        ("API.Example.COM", "api"),
        ("api.example.com:8080", "api"),
        ("www.example.com", "wild"),
        ("example.com", "none"),
        ("evilexample.com", "none"),
        ("two.test", "two"),
        ("127.0.0.1", "none"),
    ] {
        assert_eq!(taker(&gateway, "GET", "/", &[("Host", host)]), expected, "{host}");
    }
}

#[test]
fn the_host_of_an_absolute_target_beats_the_host_field() {
    let (gateway, _backends) = rules("", &[("a", "host = \"a.test\""), ("b", "host = \"b.test\"")]);
    let fields = [("Host", "b.test")];
    let response = gateway.fetch("GET", "http://a.test/x?y", &fields);
    // RFC 9112 §3.2.2: the field is ignored; a refusal of the contradiction is right as well.
    if response.status != 400 {
        assert_eq!((response.backend().as_str(), echoed_target(&response).as_str()), ("a", "/x?y"));
        assert_eq!(crate::support::echoed(&response, "host"), ["a.test"]);
    }
    assert_eq!(taker(&gateway, "GET", "http://b.test/x", &fields), "b");
}

#[test]
fn headers_and_query_parameters_must_have_their_values() {
    let (gateway, _backends) = rules(
        "",
        &[
            ("header", "headers = { X-API-Version = \"v2\" }"),
            ("query", "query = { debug = \"1\" }"),
            ("rest", ""),
        ],
    );
    let version = |value| [("x-api-version", value)];
    assert_eq!(taker(&gateway, "GET", "/", &version("v2")), "header");
    assert_eq!(taker(&gateway, "GET", "/", &version("v3")), "rest");
    assert_eq!(taker(&gateway, "GET", "/?a=b&debug=1", &[]), "query");
    assert_eq!(taker(&gateway, "GET", "/?debug=10", &[]), "rest");
    assert_eq!(taker(&gateway, "GET", "/?debug", &[]), "rest");
    assert_eq!(taker(&gateway, "GET", "/", &[]), "rest");
}

#[test]
fn another_method_falls_through_to_the_next_rule() {
    let (gateway, _backends) =
        rules("", &[("read", "path_prefix = \"/x\"\nmethods = [\"GET\", \"HEAD\"]"), ("rest", "")]);
    assert_eq!(taker(&gateway, "GET", "/x", &[]), "read");
    assert_eq!(taker(&gateway, "POST", "/x", &[("Content-Length", "0")]), "rest");
}

#[test]
fn where_only_the_method_differs_the_answer_is_405_with_allow() {
    let (gateway, backends) = rules("", &[("read", "path_prefix = \"/x\"\nmethods = [\"GET\", \"HEAD\"]")]);
    let response = gateway.fetch("DELETE", "/x", &[]);
    assert_eq!((response.status, response.problem().as_str()), (405, "method_not_allowed"));
    let mut allow: Vec<_> = response.header("allow").unwrap().split(", ").collect();
    allow.sort_unstable();
    assert_eq!(allow, ["GET", "HEAD"]);
    assert_eq!(gateway.fetch("DELETE", "/y", &[]).status, 404, "there the path differs too");
    assert_eq!(backends[0].accepted(), 0);
}

#[test]
fn the_first_rule_that_matches_takes_the_request() {
    let (gateway, _backends) =
        rules("", &[("first", "path_prefix = \"/a\""), ("longer", "path_prefix = \"/a/b\""), ("last", "")]);
    assert_eq!(taker(&gateway, "GET", "/a/b", &[]), "first");
    assert_eq!(taker(&gateway, "GET", "/b", &[]), "last");
}

#[test]
fn without_a_rule_the_answer_is_a_404_problem_document() {
    let (gateway, backends) = rules("", &[("a", "path_prefix = \"/a\"")]);
    let response = gateway.get("/nothing/here");
    assert_eq!((response.status, response.problem().as_str()), (404, "no_rule"));
    let mut client = gateway.client();
    client.send("HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n");
    let response = client.try_response("HEAD").unwrap();
    assert_eq!((response.status, response.body.len()), (404, 0));
    assert_eq!(client.get("/a").status, 200, "the connection goes on");
    assert_eq!(backends[0].hits(), 1);
}

#[test]
fn prefixes_are_stripped_and_added_and_the_rest_passes_as_it_was() {
    let (gateway, _backends) = rules(
        "",
        &[
            ("both", "path_prefix = \"/api/v1/\"\nstrip_prefix = \"/api/v1\"\nadd_prefix = \"/v1\""),
            ("strip", "path_prefix = \"/strip\"\nstrip_prefix = \"/strip\""),
            ("add", "path_prefix = \"/add\"\nadd_prefix = \"/more\""),
            ("rest", ""),
        ],
    );
    for (sent, received) in [
        ("/api/v1/users", "/v1/users"),
        ("/api/v1/users?a=1&a=2&b=%20+c", "/v1/users?a=1&a=2&b=%20+c"),
        ("/api/v1/a%2Fb", "/v1/a%2Fb"),
        ("/api/v1/a%2fb", "/v1/a%2Fb"),
        ("/strip", "/"),
        ("/strip/", "/"),
        ("/strip?x", "/?x"),
        ("/strip/strip/x", "/strip/x"),
        ("/add/x", "/more/add/x"),
        ("/a?q=//x/../y#".trim_end_matches('#'), "/a?q=//x/../y"),
        ("/caf%C3%A9;v=1/x,y(z)", "/caf%C3%A9;v=1/x,y(z)"),
    ] {
        assert_eq!(echoed_target(&gateway.get(sent)), received, "{sent}");
    }
}

#[test]
fn the_path_that_was_matched_is_the_path_that_is_forwarded() {
    let (gateway, _backends) = rules("", &[("admin", "path_prefix = \"/admin\""), ("rest", "")]);
    for (sent, taker, received) in [
        ("/x/../admin/y", "admin", "/admin/y"),
        ("/x/./../admin", "admin", "/admin"),
        ("//admin//y", "admin", "/admin/y"),
        ("/%61dmin", "admin", "/admin"),
        ("/../../admin", "admin", "/admin"),
        ("/admin/..", "rest", "/"),
        ("/admin%2Fx", "rest", "/admin%2Fx"),
        ("/~%7e%2d", "rest", "/~~-"),
    ] {
        let response = gateway.get(sent);
        assert_eq!(
            (response.backend().as_str(), echoed_target(&response).as_str()),
            (taker, received),
            "{sent}"
        );
    }
}

#[test]
fn a_templates_parameters_stand_in_the_rewritten_path() {
    let (gateway, _backends) = rules(
        "",
        &[("users", "path_template = \"/api/users/{id}\"\nrewrite = \"/users/{id}\""), ("rest", "")],
    );
    for (sent, received) in [
        ("/api/users/42", "/users/42"),
        ("/api/users/a%2Fb?x=1&x=2", "/users/a%2Fb?x=1&x=2"),
        ("/api/users/42/more", "/api/users/42/more"),
    ] {
        assert_eq!(echoed_target(&gateway.get(sent)), received, "{sent}");
    }
}

#[test]
fn repeated_slashes_are_kept_where_that_is_asked_for() {
    let (gateway, _backends) = rules("merge_slashes = false", &[("rest", "")]);
    assert_eq!(echoed_target(&gateway.get("/a//b///c")), "/a//b///c");
}

#[test]
fn paths_that_hide_something_are_refused() {
    let (gateway, backends) = rules("", &[("rest", "")]);
    for target in [
        "/a/%2e%2e/admin",
        "/a/%2E./admin",
        "/a/..;/admin",
        "/a/..;x=1/admin",
        "/a/..%2fadmin",
        "/a/..%5cadmin",
        "/a/..\\admin",
        "/a\\..\\admin",
        "/a%00b",
        "/a%zz",
        "/a%2",
        "/a%",
    ] {
        let response = gateway.get(target);
        assert_eq!((response.status, response.problem().as_str()), (400, "bad_request"), "{target}");
    }
    assert_eq!(backends[0].bytes_received(), 0);
}

#[test]
fn a_backends_base_path_is_put_in_front() {
    let backend = Backend::echo("a");
    let config = format!("[[rules]]\nstrip_prefix = \"/x\"\nbackends = [\"{}/base/\"]\n", backend.url());
    let gateway = gateway(&config);
    assert_eq!(echoed_target(&gateway.get("/x/y?z")), "/base/y?z");
}

#[test]
fn a_named_upstream_serves_several_rules() {
    let (a, b) = (Backend::echo("a"), Backend::echo("b"));
    let gateway = gateway(&format!(
        "[upstreams.app]\nbackends = [\"{}\", \"{}\"]\n\
         [[rules]]\npath_prefix = \"/one\"\nupstream = \"app\"\n\
         [[rules]]\npath_prefix = \"/two\"\nupstream = \"app\"\n",
        a.url(),
        b.url()
    ));
    let names = ["/one", "/two", "/one", "/two"].map(|path| gateway.get(path).backend());
    assert_eq!(names, ["a", "b", "a", "b"]);
}

#[test]
fn a_gateway_for_services_by_path_and_by_host_routes_each_to_its_own() {
    let (gateway, _backends) = rules(
        "",
        &[
            ("user-service", "path_prefix = \"/api/users/\"\nload_balancing = \"weighted_round_robin\""),
            ("payment-service", "path_prefix = \"/api/payments/\"\nload_balancing = \"least_connections\""),
            ("session-service", "path_prefix = \"/api/sessions/\"\nload_balancing = \"ip_hash\""),
            ("users", "host = \"users.api.com\""),
            ("orders", "host = \"orders.api.com\""),
            ("inventory", "host = \"inventory.api.com\""),
        ],
    );
    for (host, target, expected) in [
        ("gateway.localhost", "/api/users/1", "user-service"),
        ("gateway.localhost", "/api/payments/1", "payment-service"),
        ("gateway.localhost", "/api/sessions/1", "session-service"),
        ("users.api.com", "/", "users"),
        ("orders.api.com", "/1?x", "orders"),
        ("inventory.api.com", "/", "inventory"),
        ("users.api.com", "/api/payments/1", "payment-service"),
        ("other.api.com", "/", "none"),
    ] {
        assert_eq!(taker(&gateway, "GET", target, &[("Host", host)]), expected, "{host}{target}");
    }
}

#[test]
fn a_redirect_keeps_path_and_query_and_applies_the_rewrite() {
    let backend = Backend::echo("a");
    let redirects = "[[rules]]\nhost = \"old.example\"\nredirect = \"https://new.example\"\n\
                     [[rules]]\npath_template = \"/v1/users/{id}\"\nrewrite = \"/people/{id}\"\n\
                     redirect = { status = 307 }\n";
    let gateway = gateway(&format!("{redirects}{}", rule("", &[&backend])));
    let response = gateway.fetch("GET", "/a%2Fb?x=1&x=2", &[("Host", "old.example")]);
    assert_eq!(
        (response.status, response.header("location")),
        (308, Some("https://new.example/a%2Fb?x=1&x=2"))
    );
    let response = gateway.fetch("POST", "/v1/users/42", &[]);
    assert_eq!((response.status, response.header("location")), (307, Some("/people/42")));
    assert_eq!(gateway.fetch("GET", "/", &[]).status, 200);
}
