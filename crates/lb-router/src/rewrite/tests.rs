//! Tables of rewrites: what becomes of a path, what is borrowed, what is refused.

use super::*;
use crate::config::PathConfig;

fn compile(path: &PathConfig, config: &RewriteConfig) -> (PathPattern, Result<Rewrite, Faults>) {
    let pattern = PathPattern::compile(path).unwrap();
    let rewrite = Rewrite::compile(config, Some(&pattern));
    (pattern, rewrite)
}

fn check(path: &PathConfig, config: &RewriteConfig, from: &str, expect: &str) {
    let (pattern, rewrite) = compile(path, config);
    assert!(pattern.matches(from), "{pattern:?} does not match {from}");
    assert_eq!(rewrite.unwrap().apply(from, &pattern), expect, "{config:?} on {from}");
}

fn prefixes(strip: &str, add: &str) -> RewriteConfig {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    RewriteConfig { strip_prefix: given(strip), add_prefix: given(add), template: None }
}

fn template(template: &str) -> RewriteConfig {
    RewriteConfig { template: Some(template.to_owned()), ..RewriteConfig::default() }
}

#[test]
fn prefixes_are_stripped_and_added_by_segments() {
    for (strip, add, from, expect) in [
        ("/api/v1", "", "/api/v1/users", "/users"),
        ("/api/v1", "", "/api/v1", "/"),
        ("/api/v1", "", "/api/v1/", "/"),
        ("/api/v1/", "", "/api/v1/users/", "/users/"),
        ("/api", "", "/apifoo", "/apifoo"),
        ("/api/v1", "", "/api/v1/a%2Fb", "/a%2Fb"),
        ("/api/v2", "/v2", "/api/v2/users", "/v2/users"),
        ("/api/v2", "/v2", "/api/v2", "/v2"),
        ("/api/v2", "/v2/", "/api/v2/", "/v2/"),
        ("/api", "", "/api/v1/users", "/v1/users"),
        ("", "/v1", "/users", "/v1/users"),
        ("", "/v1", "/", "/v1/"),
        ("/", "/", "/x", "/x"),
        ("/api", "", "/api//x", "//x"),
    ] {
        check(&PathConfig::Any, &prefixes(strip, add), from, expect);
    }
}

#[test]
fn parameters_are_passed_on_as_they_stand() {
    for (path, to, from, expect) in [
        ("/api/users/{id}", "/users/{id}", "/api/users/42", "/users/42"),
        ("/api/users/{id}", "/users/{id}", "/api/users/a%2Fb", "/users/a%2Fb"),
        ("/{a}/{b}", "/{b}/{a}", "/1/2", "/2/1"),
        ("/{a}/{b}", "/{b}-{a}", "/1/2", "/2-1"),
        ("/files/{*rest}", "/{rest}", "/files/a/b/", "/a/b/"),
        ("/files/{*rest}", "/{*rest}", "/files", "/"),
        ("/files/{*rest}", "/x/{rest}/y", "/files/", "/x/y"),
        ("/t/{tenant}/{*rest}", "/{rest}", "/t/acme/x/y", "/x/y"),
        ("/a/{b}", "/fixed", "/a/1", "/fixed"),
        ("/a/{b}", "/caf%c3%a9/{b}", "/a/1", "/caf%C3%A9/1"),
    ] {
        check(&PathConfig::Template(path.to_owned()), &template(to), from, expect);
    }
}

#[test]
fn regex_groups_are_named_or_numbered() {
    for (path, to, from, expect) in [
        ("^/v([0-9]+)/(.*)$", "/{2}/{1}", "/v2/users/7", "/users/7/2"),
        ("^/(?P<lang>de|en)(?P<rest>/.*)?$", "/{rest}", "/de/a", "/a"),
        ("^/(?P<lang>de|en)(?P<rest>/.*)?$", "/x/{lang}{rest}", "/de", "/x/de"),
        ("^/(?P<lang>de|en)", "{0}", "/de/a", ""),
    ] {
        if to.starts_with('/') {
            check(&PathConfig::Regex(path.to_owned()), &template(to), from, expect);
        } else {
            let faults = compile(&PathConfig::Regex(path.to_owned()), &template(to)).1.unwrap_err();
            assert!(matches!(&*faults, [(_, RouteProblem::NoLeadingSlash { .. })]), "{faults:?}");
        }
    }
}

#[test]
fn nothing_is_allocated_where_a_slice_is_enough() {
    for (strip, from) in [("", "/a/b"), ("/a", "/a/b"), ("/a", "/a"), ("/x", "/a")] {
        let (pattern, rewrite) = compile(&PathConfig::Any, &prefixes(strip, ""));
        assert!(matches!(rewrite.unwrap().apply(from, &pattern), Cow::Borrowed(_)), "{strip} on {from}");
    }
}

#[test]
fn captured_text_makes_no_dot_segment() {
    for (path, to, from, safe) in [
        ("^/a(.*)$", "/b/{1}", "/a..", false),
        ("^/a(.*)$", "/b/{1}", "/a/x", true),
        ("^/a(.*)$", "/b{1}", "/a/..x", true),
        ("^/a(.*)$", "/b/{1}", "/a..;x", false),
        ("^/a(.*)$", "/b/.{1}", "/a%2Fb", false),
    ] {
        let (pattern, rewrite) = compile(&PathConfig::Regex(path.to_owned()), &template(to));
        assert!(pattern.matches(from));
        assert_eq!(rewrite.unwrap().is_safe(from, &pattern), safe, "{from} to {to}");
    }
    let (pattern, rewrite) = compile(&PathConfig::Template("/f/{*rest}".to_owned()), &template("/.{rest}"));
    let rewrite = rewrite.unwrap();
    assert!(!rewrite.is_safe("/f/", &pattern));
    assert!(rewrite.is_safe("/f/git", &pattern));
}

#[test]
fn only_parameters_that_are_not_whole_segments_are_risky() {
    for (to, expect) in
        [("/{a}", false), ("/{a}/x/{b}", false), ("/x{a}", true), ("/{a}{b}", true), ("/{a}.json", true)]
    {
        let path = PathConfig::Template("/{a}/{b}".to_owned());
        match compile(&path, &template(to)).1 {
            Ok(Rewrite::Template { risky, .. }) => assert_eq!(risky, expect, "{to}"),
            other => panic!("{to}: {other:?}"),
        }
    }
}

#[test]
fn bad_rewrites_say_how_to_mend_them() {
    let path = || PathConfig::Template("/users/{id}".to_owned());
    for (config, field, remedy) in [
        (template("/u/{uid}"), RouteField::RewriteTemplate, "it captures `{id}`"),
        (template("u/{id}"), RouteField::RewriteTemplate, "write `/u/{id}`"),
        (template("/u/{id"), RouteField::RewriteTemplate, "close it"),
        (template("/u/id}"), RouteField::RewriteTemplate, "open it"),
        (template("/u/../{id}"), RouteField::RewriteTemplate, "without `.` and `..`"),
        (template("/u?id={id}"), RouteField::RewriteTemplate, "leave the query out"),
        (prefixes("api", ""), RouteField::StripPrefix, "write `/api`"),
        (prefixes("", "v1"), RouteField::AddPrefix, "write `/v1`"),
        (
            RewriteConfig { template: Some("/x".to_owned()), ..prefixes("/a", "") },
            RouteField::RewriteTemplate,
            "put the prefix into it",
        ),
    ] {
        let faults = compile(&path(), &config).1.unwrap_err();
        let [(got, problem)] = &*faults else { panic!("{faults:?}") };
        assert_eq!(*got, field, "{config:?}");
        assert!(problem.remedy().contains(remedy), "{config:?}: {problem}; {}", problem.remedy());
    }
    let faults = compile(&PathConfig::Any, &template("/u/{id}")).1.unwrap_err();
    assert!(faults[0].1.remedy().contains("use a path template"), "{faults:?}");
    assert_eq!(Rewrite::compile(&prefixes("a", "b"), None).unwrap_err().len(), 2);
}
