//! Every kind of message, as an operator sees it: each `golden/NAME.{toml,yaml,json}` with the text beside it in
//! `NAME.….txt`. `UPDATE_GOLDEN=1 cargo test -p lb-config --test golden` writes the texts anew, to be read as a diff.
//!
//! Lines `# env NAME=value` and `# flag --flag key=value` in a file set variables and flags for it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use lb_config::{Diagnostics, Format, Sources, load};

#[test]
fn every_message_is_as_it_was_agreed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for path in cases(&directory) {
        let expected_path = PathBuf::from(format!("{}.txt", path.display()));
        let found = run(&path);
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if update {
            fs::write(&expected_path, &found).unwrap();
        } else if found != expected {
            wrong.push(format!("== {}\n-- expected\n{expected}\n-- found\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 accepts these:\n{}", wrong.join("\n"));
}

fn cases(directory: &Path) -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| Format::from_path(path).is_some())
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn run(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut sources = Sources::text(name, Format::from_path(path).unwrap(), text.clone());
    for line in text.lines() {
        if let Some((name, value)) = line.strip_prefix("# env ").and_then(|rest| rest.split_once('=')) {
            sources = sources.environment([(name.to_owned(), value.to_owned())]);
        }
        if let Some((flag, rest)) = line.strip_prefix("# flag ").and_then(|rest| rest.split_once(' ')) {
            let (key, value) = rest.split_once('=').unwrap();
            sources = sources.flag(flag, key, value);
        }
    }
    let shown = shown(&sources);
    // A new strategy must not change every text.
    let names: Vec<String> = lb_core::strategy::names().map(|name| format!("`{name}`")).collect();
    let (last, others) = names.split_last().unwrap();
    shown
        .replace(&format!("{} and {last}", others.join(", ")), "(every strategy)")
        .replace(env!("CARGO_PKG_VERSION"), "(this version)")
}

fn shown(sources: &Sources) -> String {
    match load(sources) {
        Ok(loaded) => {
            let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
            format!("{}\nloaded\n", warnings.join("\n\n")).trim_start().to_owned()
        }
        Err(problems) => {
            one_place_each(&problems);
            format!("{problems}\n")
        }
    }
}

/// A problem without a place is of no use to anyone.
fn one_place_each(problems: &Diagnostics) {
    for problem in problems {
        let shown = problem.to_string();
        assert!(shown.contains("-->"), "no place: {shown}");
    }
}
