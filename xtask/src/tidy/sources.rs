//! Source files: each opens by saying what it is, none grows into two, nothing is left for later, nothing tells of
//! one developer's machine.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Past this a file usually is two.
const MOST_LINES: usize = 600;

/// Written apart, so that this file does not hold them.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it or open an issue"),
    (concat!("FIX", "ME"), "fix it or open an issue"),
    (concat!("XX", "X:"), "say what is wrong, or mend it"),
    (concat!("todo", "!("), "no stubs"),
    (concat!("unimplemented", "!("), "no stubs"),
    (concat!("<<<<", "<<< "), "a conflict was left"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
];

/// Files that people write and read.
const TEXT: &[&str] = &["rs", "toml", "md", "yaml", "yml", "json", "html", "css", "js", "sh", "svg"];

pub(super) fn check(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| is_text(file)) {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let name = file.display();
        let Ok(text) = String::from_utf8(bytes) else {
            breaches.push(format!("{name}: not UTF-8"));
            continue;
        };
        if file.extension().is_some_and(|extension| extension == "rs") {
            if !text.starts_with("//!") {
                breaches.push(format!("{name}:1: say what this file is and why it exists, with //!"));
            }
            let lines = text.lines().count();
            if lines > MOST_LINES {
                breaches.push(format!("{name}: {lines} lines, at most {MOST_LINES}; it is two files"));
            }
        }
        if !measured(file) {
            breaches.extend(forbidden(&name.to_string(), &text));
        }
        if !text.is_empty() && !text.ends_with('\n') && !measured(file) {
            breaches.push(format!("{name}: the last line has no end"));
        }
    }
    Ok(breaches)
}

fn is_text(file: &Path) -> bool {
    file.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| TEXT.contains(&extension))
}

/// What programs wrote is kept as they wrote it.
fn measured(file: &Path) -> bool {
    file.starts_with("benches/runs") || file.ends_with("Cargo.lock")
}

fn forbidden(name: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (word, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
            breaches.push(format!("{name}:{}: {word:?}: {why}", number + 1));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_for_later_is_found_with_its_line() {
        let text = format!("fn main() {{}}\n// {}: later\n", concat!("TO", "DO"));
        assert_eq!(forbidden("a.rs", &text).len(), 1);
        assert!(forbidden("a.rs", &text)[0].starts_with("a.rs:2: "));
        assert!(forbidden("a.rs", "let todo = framework();\n").is_empty());
    }
}
