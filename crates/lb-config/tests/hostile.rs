//! No bytes make a load panic, hang or eat the machine, and no secret comes out of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;

use lb_config::{Format, Sources, load, load_str};
use proptest::prelude::*;

const FORMATS: [Format; 3] = [Format::Toml, Format::Yaml, Format::Json];

/// A file of every kind of value, to be broken.
const TOML: &str = include_str!("../../../config/gatewayd.toml");
const YAML: &str = "proxy: &p\n  enabled: true\n  rules:\n    - name: \"a\"\n      path_prefix: /é/\n      backends:\n        - { url: 'http://h:1', weight: 2 }\n        - url: \"h:2\"\n      headers: { X-A: \"${A:-b}\" }\n      timeout: 30s\nadmin: { token: s3cret }\n";
const JSON: &str = r#"{"rules": [{"name": "é", "backends": ["h:1", {"url": "h:2", "weight": 1.5e0}], "timeout": "3s"}], "admin": {"token": "s3cret"}}"#;

fn any_load(format: Format, text: &str) {
    match load_str("x", format, text) {
        Ok(loaded) => drop(loaded),
        Err(problems) => {
            assert!(!problems.as_slice().is_empty());
            let shown = problems.render(true);
            assert!(!shown.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_text_is_refused_or_taken_but_never_panics(text in "\\PC{0,200}") {
        for format in FORMATS {
            any_load(format, &text);
        }
    }

    #[test]
    fn random_structure_is_refused_or_taken_but_never_panics(
        text in "([a-z_]{1,8}[:=] ?|[\\[\\]{},&*!|>'\"#-]|rules|backends|\n| |[0-9.]{1,4}|<<: ?|é|\t|\r\n|\u{1b}){0,60}"
    ) {
        for format in FORMATS {
            any_load(format, &text);
        }
    }

    #[test]
    fn a_broken_file_is_refused_or_taken_but_never_panics(
        which in 0usize..3,
        cuts in prop::collection::vec((any::<prop::sample::Index>(), "[\\PC\n\t\u{0}]{0,3}", 0usize..4), 1..6),
    ) {
        let (format, text) = [(Format::Toml, TOML), (Format::Yaml, YAML), (Format::Json, JSON)][which];
        let mut text: Vec<char> = text.chars().collect();
        for (at, put_in, taken_out) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + taken_out).min(text.len());
            text.splice(at..end, put_in.chars());
        }
        any_load(format, &text.into_iter().collect::<String>());
    }

    #[test]
    fn random_bytes_in_a_file_are_refused_with_a_place(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["x.toml", "x.yaml", "x.json"] {
            let path = directory.path().join(name);
            fs::write(&path, &bytes).unwrap();
            if let Err(problems) = load(&Sources::file(&path)) {
                prop_assert!(problems.render(false).contains("-->"));
            }
        }
    }

    #[test]
    fn random_variables_never_panic(name in "GATEWAYD_[A-Z_]{0,20}", value in "\\PC{0,40}") {
        let sources = Sources::text("x.toml", Format::Toml, "[[rules]]\nbackends = ['h:1']");
        let _ = load(&sources.environment([(name, value)])).map_err(|problems| problems.render(true));
    }
}

#[track_caller]
fn refused(format: Format, text: &str) -> String {
    load_str("x", format, text).unwrap_err().render(false)
}

#[test]
fn nesting_without_end_is_refused() {
    for (format, open, close) in [
        (Format::Toml, "a = [", "]"),
        (Format::Yaml, "[", "]"),
        (Format::Json, "[", "]"),
        (Format::Yaml, "- ", ""),
    ] {
        for depth in [70, 100_000] {
            let text = format!("{}{}", open, open.trim_start_matches("a = ").repeat(depth));
            refused(format, &format!("{text}{}", close.repeat(depth + 1)));
        }
    }
    let text = "a".to_owned() + &".a".repeat(50_000) + " = 1";
    refused(Format::Toml, &text);
    refused(Format::Json, &r#"{"a":"#.repeat(50_000));
    let text: String = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    refused(Format::Yaml, &text);
}

#[test]
fn aliases_that_expand_without_end_are_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let previous = format!("*a{}, ", level - 1).repeat(10);
        text.push_str(&format!("a{level}: &a{level} [{previous}]\n"));
    }
    assert!(refused(Format::Yaml, &text).contains("the aliases of this file expand to more values"));
    assert!(refused(Format::Yaml, "a: &a [*a]").contains("this alias stands inside what it names"));
}

#[test]
fn a_file_of_nothing_but_problems_is_answered_with_the_first_hundred() {
    let text: String = (0..5000).map(|number| format!("key{number} = 1\n")).collect();
    let problems = load_str("x", Format::Toml, &text).unwrap_err();
    assert_eq!(problems.as_slice().len(), 100);
}

#[test]
fn problems_in_one_long_line_are_shown_by_their_surroundings() {
    let text =
        format!("{{{}\"rules\": []}}", (0..100_000).map(|n| format!("\"key{n}\": 1, ")).collect::<String>());
    let problems = load_str("x", Format::Json, &text).unwrap_err();
    let last = problems.as_slice().last().unwrap();
    assert!(last.column.unwrap() > 1000 && last.to_string().len() < 1200, "{last}");
}

#[test]
fn ten_thousand_rules_load() {
    let text: String = (0..10_000)
        .map(|n| {
            format!("[[rules]]\npath_prefix = \"/r{n}/\"\nbackends = [\"10.0.0.1:80\", \"10.0.0.2:80\"]\n")
        })
        .collect();
    assert_eq!(load_str("x", Format::Toml, &text).unwrap().config.rules.len(), 10_000);
}

#[test]
fn files_that_are_no_text_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], expected: &str| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let shown = load(&Sources::file(&path)).unwrap_err().render(false);
        assert!(shown.contains(expected) && shown.contains(name), "{shown}");
    };
    check("latin.toml", b"a = 1\nb = \"caf\xe9\"\n", "this file is not UTF-8 text");
    check("latin.toml", b"a = 1\nb = \"caf\xe9\"\n", "latin.toml:2:9");
    check("wide.toml", b"\xff\xfea\0", "this file is UTF-16");
    check("gatewayd.conf", b"", "name it .toml, .yaml, .yml or .json");
    check("nul.yaml", b"rules:\0", "nul.yaml:1");
    let shown = load(&Sources::file(directory.path().join("none.toml"))).unwrap_err().render(false);
    assert!(shown.contains("cannot read the configuration: no such file or directory"), "{shown}");
    fs::create_dir(directory.path().join("directory.toml")).unwrap();
    let shown = load(&Sources::file(directory.path().join("directory.toml"))).unwrap_err().render(false);
    assert!(shown.contains("is a directory"), "{shown}");
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    for (format, text) in [
        (Format::Toml, "\u{feff}[[rules]]\nbackends = ['h:1']"),
        (Format::Yaml, "\u{feff}rules:\n  - backends: ['h:1']"),
        (Format::Json, "\u{feff}{\"rules\": [{\"backends\": [\"h:1\"]}]}"),
    ] {
        assert!(load_str("x", format, text).is_ok());
    }
}

#[test]
fn no_secret_is_ever_shown() {
    let variables = [("TOKEN", "s3cret-variable"), ("GATEWAYD_ADMIN__TOKEN", "")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for text in [
        "[admin]\ntoken = [\"s3cret\"]",
        "[admin]\ntoken = \"s3cret",
        "admin = { token = \"s3cret\", adress = 1 }",
        "admin = { tokn = 1, token = \"s3cret\" } x",
        "rules = [{ backends = [\"http://me:s3cret@h\"] }]",
        "rules = [{ backends = [\"ftp://${TOKEN}\", \"${TOKEN} \"] , host = \"${TOKEN}!\", name = \"a\", path = \"${TOKEN}\" }]",
        "[server]\nworkers = \"${TOKEN}\"",
        "load_balancing = \"${TOKEN}\"",
        "[listeners]\naddress = \"${TOKEN}\"",
    ] {
        let sources = Sources::text("x.toml", Format::Toml, text).environment(variables.clone());
        let problems = load(&sources).unwrap_err();
        let machine = serde_json::to_string(&problems).unwrap();
        let shown = problems.render(false) + &machine;
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    let sources = Sources::text(
        "x.toml",
        Format::Toml,
        "rules = [{ backends = ['h:1'] }]\n[admin]\ntoken = \"s3cret\"",
    );
    let loaded = load(&sources).unwrap();
    assert_eq!(loaded.admin.as_ref().unwrap().token.as_ref().unwrap().expose(), "s3cret");
    assert!(!format!("{loaded:?}").contains("s3cret"));
}

#[test]
fn what_a_merge_has_left_is_told_once() {
    // Not written out, as no file here may have any.
    let [ours, theirs] = ["<", ">"].map(|sign| sign.repeat(7));
    let toml =
        format!("[[rules]]\n{ours} HEAD\ntimeout = \"1s\"\n=======\ntimeout = \"2s\"\n{theirs} other\n");
    let yaml = format!("{ours} HEAD\nrules: []\n=======\nrules: {{}}\n{theirs} other\n");
    for (format, text, places) in
        [(Format::Toml, toml, ["x:2:1", "x:6:1"]), (Format::Yaml, yaml, ["x:1:1", "x:5:1"])]
    {
        let said = load_str("x", format, &text).unwrap_err().render(false);
        assert!(said.contains("a merge has left a conflict") && said.ends_with("1 error"), "{said}");
        assert!(places.iter().all(|place| said.contains(place)), "{said}");
    }
}
