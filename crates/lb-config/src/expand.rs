//! Puts values in where `${NAME}`, `${NAME:-default}` and `file:/run/secrets/x` stand.
//!
//! What is put in may be a secret, so it is never shown: messages name what was written.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Node, Value};
use crate::source::SourceMap;
use crate::{suggest, unreadable};

/// Bytes read of a `file:` value at most.
const LARGEST_VALUE: u64 = 64 << 10;

/// Expands every string of the tree in place; the files that it names for values are added to `files`, readable or not.
pub(crate) fn expand(
    node: &mut Node,
    variables: &HashMap<&str, &str>,
    sources: &SourceMap,
    problems: &mut Diagnostics,
    files: &mut Vec<PathBuf>,
) {
    match &mut node.value {
        Value::List(items) => {
            for item in items {
                expand(item, variables, sources, problems, files);
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                expand(&mut entry.node, variables, sources, problems, files);
            }
        }
        Value::String(text) | Value::Loose(text) if stands_for_another(text) => {
            let written = text.clone();
            let value = substitute(&written, variables).and_then(|text| match text.strip_prefix("file:") {
                Some(path) => {
                    let path = path.strip_prefix("//").unwrap_or(path);
                    files.push(PathBuf::from(path));
                    contents(path)
                }
                None => Ok(text),
            });
            node.value = match value {
                Ok(value) => Value::Loose(value),
                Err(problem) => {
                    let problem = problem.at(sources.excerpt(&node.span), "no value");
                    problems.push(problem);
                    // Taken for unwritten, so that nothing else is said about it.
                    Value::Null
                }
            };
            node.written = Some(written);
        }
        _ => {}
    }
}

/// Almost no text does, and every text is asked.
fn stands_for_another(text: &str) -> bool {
    text.starts_with("file:") || text.as_bytes().contains(&b'$') && text.contains("${")
}

fn substitute(text: &str, variables: &HashMap<&str, &str>) -> Result<String, Box<Diagnostic>> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, placeholder) =
            (rest.get(..start).unwrap_or_default(), rest.get(start + 2..).unwrap_or_default());
        if let Some(before) = before.strip_suffix('$') {
            // `$${` stands for `${` itself.
            out.push_str(before);
            out.push_str("${");
            rest = placeholder;
            continue;
        }
        out.push_str(before);
        let Some((inside, after)) = placeholder.split_once('}') else {
            return Err(Diagnostic::error("a `${` is not closed by `}`")
                .help("write `$${` for the characters themselves")
                .into());
        };
        rest = after;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        if !is_name(name) {
            return Err(Diagnostic::error(format!("`{name}` cannot be the name of an environment variable"))
                .help("write `$${` for the characters themselves")
                .into());
        }
        // As in a shell, `:-` also stands in for a variable that is empty.
        match (variables.get(name).filter(|value| default.is_none() || !value.is_empty()), default) {
            (Some(value), _) => out.push_str(value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => return Err(unset(name, variables).into()),
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn unset(name: &str, variables: &HashMap<&str, &str>) -> Diagnostic {
    let near = suggest::did_you_mean(name, variables.keys().copied());
    let help = near.unwrap_or_else(|| format!("set it, or write `${{{name}:-default}}`"));
    Diagnostic::error(format!("environment variable `{name}` is not set")).help(help)
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn contents(path: &str) -> Result<String, Box<Diagnostic>> {
    let refused = |reason: String| {
        let problem = Diagnostic::error(format!("cannot read `{path}`: {reason}"));
        Box::new(match unreadable::remedy(Path::new(path)) {
            Some(help) => problem.help(help),
            None => problem,
        })
    };
    let mut text = String::new();
    open(Path::new(path))
        .and_then(|file| {
            file.take(LARGEST_VALUE + 1).read_to_string(&mut text).map_err(|error| reason(&error))
        })
        .map_err(refused)?;
    if text.len() as u64 > LARGEST_VALUE {
        return Err(refused(format!("it is larger than {LARGEST_VALUE} bytes")));
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Opens a regular file: a pipe could keep a load waiting.
pub(crate) fn open(path: &Path) -> Result<File, String> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err("it is a directory".into()),
        Ok(found) if !found.is_file() => Err("it is not a regular file".into()),
        Ok(_) => File::open(path).map_err(|error| reason(&error)),
        Err(error) => Err(reason(&error)),
    }
}

/// The system's reason without Rust's `(os error 2)`, in the case of our other messages.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_home(text: &str) -> Result<String, String> {
        let variables = HashMap::from([("HOME", "/root"), ("EMPTY", "")]);
        substitute(text, &variables).map_err(|problem| problem.message)
    }

    #[test]
    fn placeholders_take_the_variable_or_the_default() {
        assert_eq!(with_home("a${HOME}b${HOME}").unwrap(), "a/rootb/root");
        assert_eq!(with_home("${NONE:-x:-y}").unwrap(), "x:-y");
        assert_eq!(with_home("${NONE:-}").unwrap(), "");
        assert_eq!(with_home("${EMPTY:-x}${EMPTY}").unwrap(), "x");
        assert_eq!(with_home("$${HOME} $x {y}").unwrap(), "${HOME} $x {y}");
    }

    #[test]
    fn a_placeholder_without_a_value_is_an_error() {
        assert_eq!(with_home("${NONE}").unwrap_err(), "environment variable `NONE` is not set");
        assert_eq!(with_home("${HOME").unwrap_err(), "a `${` is not closed by `}`");
        assert!(with_home("${a b}").unwrap_err().contains("cannot be the name"));
    }
}
