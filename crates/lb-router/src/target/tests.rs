//! Tables of paths, and the laws that hold for any path.

use proptest::prelude::*;

use super::*;

/// `Ok(path)` is the normal form with slashes merged; `Err(kind)` the beginning of the refusal's name.
fn check(raw: &str, expect: Result<&str, &str>) {
    match (normalize_path(raw, true), expect) {
        (Ok(path), Ok(wanted)) => assert_eq!(path, wanted, "{raw:?}"),
        (Err(error), Err(kind)) => assert!(format!("{error:?}").starts_with(kind), "{raw:?}: {error:?}"),
        (got, _) => panic!("{raw:?}: {got:?} instead of {expect:?}"),
    }
}

#[test]
fn paths_have_one_form() {
    for (raw, expect) in [
        ("", "/"),
        ("/", "/"),
        ("/api/v1/users", "/api/v1/users"),
        ("/api/v1/", "/api/v1/"),
        ("//", "/"),
        ("//a///b//", "/a/b/"),
        ("/.", "/"),
        ("/..", "/"),
        ("/../../etc", "/etc"),
        ("/a/./b", "/a/b"),
        ("/a/b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/b/../", "/a/"),
        ("/a//../b", "/b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/...", "/..."),
        ("/a..", "/a.."),
        ("/%7Euser/%41%2d%5F", "/~user/A-_"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%5cb", "/a%5Cb"),
        ("/a%2eb", "/a.b"),
        ("/%2e%2ehidden", "/..hidden"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b%0d%0a", "/a%20b%0D%0A"),
        ("/%252e%252e/", "/%252e%252e/"),
        ("/a;v=1/b;c", "/a;v=1/b;c"),
        ("/;/", "/;/"),
        ("/a..;x/b", "/a..;x/b"),
        ("/a:@!$&'()*+,=~", "/a:@!$&'()*+,=~"),
        ("/a|b[c]{d}^`\"<>", "/a%7Cb%5Bc%5D%7Bd%7D%5E%60%22%3C%3E"),
    ] {
        check(raw, Ok(expect));
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (raw, kind) in [
        ("*", "NotAbsolute"),
        ("a/b", "NotAbsolute"),
        ("/a\0", "Nul { at: 2 }"),
        ("/a%00b", "Nul { at: 2 }"),
        ("/%", "BadPercent { at: 1 }"),
        ("/a%2", "BadPercent"),
        ("/a%g0", "BadPercent"),
        ("/a%2/b0", "BadPercent"),
        ("/%%32e", "BadPercent { at: 1 }"),
        ("/a\\b", "Backslash { at: 2 }"),
        ("/a b", "Forbidden { at: 2, byte: 32 }"),
        ("/a#b", "Forbidden"),
        ("/a?b", "Forbidden"),
        ("/a\tb", "Forbidden"),
        ("/a\u{7f}", "Forbidden"),
        ("/café", "Forbidden"),
        ("/x/%2e/", "HiddenDotSegment { at: 3 }"),
        ("/%2e%2e/x", "HiddenDotSegment"),
        ("/.%2e/x", "HiddenDotSegment"),
        ("/%2E./x", "HiddenDotSegment"),
        ("/..;/x", "HiddenDotSegment"),
        ("/.;v=1/x", "HiddenDotSegment"),
        ("/..%3B/x", "HiddenDotSegment"),
        ("/%2e%2e;a/x", "HiddenDotSegment"),
        ("/%2e%2e%2fx", "HiddenDotSegment"),
        ("/..%2Fx", "HiddenDotSegment"),
        ("/a%2F..", "HiddenDotSegment"),
        ("/a%2f..%2fb", "HiddenDotSegment"),
        ("/a%5c..%5cb", "HiddenDotSegment"),
        ("/..%5Cb", "HiddenDotSegment"),
        ("/a;x%2F..;y%2Fb", "HiddenDotSegment"),
    ] {
        check(raw, Err(kind));
    }
}

#[test]
fn repeated_slashes_stay_where_merging_is_off() {
    for (raw, expect) in
        [("//a//b/", "//a//b/"), ("/a//../b", "/a/b"), ("//..", "/"), ("/a/./", "/a/"), ("///..", "//")]
    {
        assert_eq!(normalize_path(raw, false).as_deref(), Ok(expect), "{raw:?}");
    }
}

#[test]
fn what_is_in_its_form_already_is_borrowed() {
    for raw in ["/", "/a/b.c/d", "/a%2Fb", "/.well-known/", "/a;b=c"] {
        assert!(matches!(normalize_path(raw, true), Ok(Cow::Borrowed(path)) if path == raw), "{raw:?}");
    }
}

/// Paths made of what matters, so that the interesting neighbourhoods are common.
fn any_path() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("/".to_owned()),
        2 => Just(".".to_owned()),
        1 => prop::sample::select(vec!["..", "%2e", "%2E", "%2f", "%5c", "%25", "%3b", ";", "\\", "%", "%0", "%00"])
            .prop_map(str::to_owned),
        2 => "[a-zA-Z0-9~_|é ]{1,3}",
        1 => "\\PC{0,2}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #[test]
    fn a_normal_path_stays_as_it_is(raw in any_path(), merge in any::<bool>()) {
        if let Ok(path) = normalize_path(&raw, merge) {
            let again = normalize_path(&path, merge);
            prop_assert_eq!(again.as_deref(), Ok(&*path));
            prop_assert!(matches!(again, Ok(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn no_reader_finds_a_dot_segment(raw in any_path(), merge in any::<bool>()) {
        if let Ok(path) = normalize_path(&raw, merge) {
            prop_assert!(path.starts_with('/') && path.is_ascii());
            prop_assert!(!merge || !path.contains("//"));
            for read in [path.clone().into_owned(), String::from_utf8_lossy(&crate::percent::decode(path.as_bytes()).collect::<Vec<_>>()).into_owned()] {
                for segment in read.split(['/', '\\']) {
                    let name = segment.split(';').next().unwrap_or_default();
                    prop_assert!(name != "." && name != "..", "{:?} became {:?}", raw, path);
                }
            }
        }
    }

    #[test]
    fn the_table_calls_only_normal_paths_clean(raw in any_path(), merge in any::<bool>()) {
        if is_clean(&raw) {
            let rebuilt = rebuild(raw.strip_prefix('/').unwrap(), merge);
            prop_assert_eq!(rebuilt.as_deref(), Ok(&*raw));
        }
    }
}
