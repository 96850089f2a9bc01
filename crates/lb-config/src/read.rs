//! Reads the tree into the typed written form and reports every value that cannot be read, not just the first.
//!
//! Serde stops at a problem. So the problem is noted, its value taken out of the tree, and the tree read again until
//! nothing is left to say; as every key is optional, a value that is gone never causes a second message.

use serde::de::DeserializeOwned;

use crate::de::{Error, Problem, Reader};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::SourceMap;
use crate::suggest;
use crate::tree::{Kind, NodeId, Tree};
use crate::written::{self, root::Root};

/// Reads the whole tree; none where its very root cannot be read.
pub(crate) fn read<T: DeserializeOwned>(
    tree: &mut Tree,
    sources: &SourceMap,
    problems: &mut Diagnostics,
) -> Option<T> {
    while !problems.is_full() {
        let error = match T::deserialize(Reader::root(tree)) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let id = error.at.unwrap_or_default();
        problems.push(diagnostic(tree, sources, &error, id));
        if let Problem::UnknownKey(known) = error.problem {
            let table = tree.parent(id);
            for meant in suggest::nearest(&tree.name(id), known.iter().copied()) {
                tree.note_misspelt(table, meant);
            }
        }
        if id == Tree::ROOT {
            return None;
        }
        tree.remove(id);
    }
    None
}

fn diagnostic(tree: &Tree, sources: &SourceMap, error: &Error, id: NodeId) -> Diagnostic {
    let name = tree.name(id);
    let at = |diagnostic: Diagnostic, label: String| {
        let excerpt = tree.value_span(id).and_then(|span| sources.excerpt(span));
        diagnostic.at(excerpt, label).path(tree.path(id))
    };
    match &error.problem {
        Problem::UnknownKey(known) => unknown_key(tree, sources, id, known),
        Problem::UnknownWord(known) => {
            let word = match tree.kind(id) {
                Kind::String(text) | Kind::Loose { text, .. } => text.as_str(),
                _ => "",
            };
            let help = suggest::did_you_mean(word, known.iter().copied())
                .unwrap_or_else(|| format!("good values are {}", suggest::list(known, "and")));
            let message = format!("`{name}` cannot be {}", tree.quote(id));
            at(Diagnostic::error(message), "not a known value".into()).help(help)
        }
        Problem::Expected(expected) => {
            let found = tree.describe(id);
            let diagnostic = Diagnostic::error(format!("`{name}` expects {expected}, found {found}"));
            let diagnostic = at(diagnostic, format!("expected {expected}"));
            match shape_help(tree, id, expected) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        }
        Problem::Invalid(message) => {
            let (message, help) = message.split_once('\n').unwrap_or((message, ""));
            let diagnostic = at(Diagnostic::error(format!("`{name}`: {message}")), String::new());
            if help.is_empty() { diagnostic } else { diagnostic.help(help) }
        }
    }
}

/// What usually was meant where a value has another shape than it should.
fn shape_help(tree: &Tree, id: NodeId, expected: &str) -> Option<String> {
    match tree.kind(id) {
        Kind::Bool(_) | Kind::Integer(_) | Kind::Float(_) if expected == "a string" => {
            Some("put it in quotes".into())
        }
        Kind::String(text) if expected.contains("number") && text.parse::<f64>().is_ok() => {
            Some("remove the quotes".into())
        }
        Kind::String(_) if expected.contains("number") => {
            Some("write a number without quotes, such as `2`".into())
        }
        Kind::String(text) if expected.contains("`true`") => match text.as_str() {
            "true" | "false" => Some("remove the quotes".into()),
            "yes" | "no" | "on" | "off" => Some("write `true` or `false`, without quotes".into()),
            _ => None,
        },
        Kind::Table(_) if expected == "a list" => {
            let name = tree.name(id);
            Some(format!(
                "in TOML each is headed by `[[{name}]]`, with two brackets; in YAML each begins with `- `"
            ))
        }
        Kind::List(_) if expected.starts_with("a table") => {
            let name = tree.name(id);
            Some(format!("there is one of it: in TOML it is headed by `[{name}]`, with one bracket"))
        }
        Kind::String(_) if expected == "a list" => Some("put it in brackets: `[\"…\"]`".into()),
        Kind::List(_) if expected == "a string" => {
            let several = format!("{}s", tree.name(id));
            Some(match written::owner(&several) {
                Some(_) => format!("write one, without brackets; for several there is `{several}`"),
                None => "write one, without brackets".into(),
            })
        }
        Kind::String(_) | Kind::Integer(_) if expected == "a table" => {
            Some("write its keys, as in `{ key = value }` in TOML, or below it in YAML".into())
        }
        _ => None,
    }
}

fn unknown_key(tree: &Tree, sources: &SourceMap, id: NodeId, known: &[&'static str]) -> Diagnostic {
    let key = tree.name(id);
    let table = tree.parent(id);
    let excerpt = tree.key_span(id).and_then(|span| sources.excerpt(span));
    let is_root_key = table != Tree::ROOT && written::keys::<Root>().contains(&key.as_str());
    if let Some(header) = is_root_key.then(|| toml_header(tree, sources, table)).flatten() {
        let message = format!(
            "`{key}` is a key of the root, but it stands below `{header}`, and TOML gives every key to the table header above it"
        );
        return Diagnostic::error(message)
            .at(excerpt, format!("read as a key of `{}`", tree.path(table)))
            .at(tree.key_span(table).and_then(|span| sources.excerpt(span)), "the header above it")
            .help("move it to the top of the file, above the first line that begins with `[`")
            .path(tree.path(id));
    }
    let place = match table {
        Tree::ROOT => "at the root".to_owned(),
        _ => format!("in `{}`", tree.path(table)),
    };
    let help = suggest::did_you_mean(&key, known.iter().copied())
        .or_else(|| written::owner(&key).map(|owner| format!("`{key}` is a key of {owner}")))
        .unwrap_or_else(|| {
            let version = env!("CARGO_PKG_VERSION");
            format!("gatewayd {version} knows these keys here: {}", suggest::list(known, "and"))
        });
    Diagnostic::error(format!("unknown key `{key}` {place}"))
        .at(excerpt, "unknown key")
        .help(help)
        .path(tree.path(id))
}

/// The `[header]` of a table, where the table was opened by one.
fn toml_header(tree: &Tree, sources: &SourceMap, table: NodeId) -> Option<String> {
    let span = tree.key_span(table)?;
    let line = sources.excerpt(span)?.text;
    let line = line.trim_start();
    line.starts_with('[').then(|| line.split_inclusive(']').take_while(|part| part.ends_with(']')).collect())
}
