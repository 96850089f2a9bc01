//! The three formats, each read into [`Node`]s with places; syntax errors of all three look the same.

use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::node::{Entry, Node, Value};
use crate::source::{SourceId, SourceMap, Span};

mod json;
mod toml;
mod yaml;

pub(crate) use toml::value as toml_value;

/// A format that a configuration can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

impl Format {
    /// The format that a file's ending stands for.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Reads a whole text.
pub(crate) fn value(format: Format, source: SourceId, sources: &SourceMap) -> Result<Node, Vec<Diagnostic>> {
    match format {
        Format::Toml => toml::document(source, sources),
        Format::Yaml => yaml::document(source, sources),
        Format::Json => json::document(source, sources),
    }
}

/// Reads a whole text; its root is a table.
pub(crate) fn document(
    format: Format,
    source: SourceId,
    sources: &SourceMap,
) -> Result<Node, Vec<Diagnostic>> {
    let node = value(format, source, sources)
        .map_err(|found| conflict(source, sources).map_or(found, |conflict| vec![conflict]))?;
    match node.value {
        Value::Table(_) => Ok(node),
        // An empty YAML file; what it lacks is said later.
        Value::Null => Ok(Node::new(Value::Table(Vec::new()), node.span)),
        _ => Err(vec![
            Diagnostic::error("a configuration is a table of keys, and this file holds something else")
                .at(sources.excerpt(&node.span), "not a table")
                .help("begin with a key, for example `rules:`"),
        ]),
    }
}

/// What a merge has left where two sides disagreed: it explains all that is wrong with the syntax.
fn conflict(source: SourceId, sources: &SourceMap) -> Option<Diagnostic> {
    let text = sources.text(source);
    let begins = |sign: &str| {
        if text.starts_with(sign) { Some(0) } else { text.find(&format!("\n{sign}")).map(|at| at + 1) }
    };
    let (start, end) = (begins("<<<<<<<")?, begins(">>>>>>>")?);
    let place = |at: usize| sources.excerpt(&Span { source, range: at..at + 7 });
    Some(
        Diagnostic::error("a merge has left a conflict in this file")
            .at(place(start), "it begins here")
            .at(place(end), "and ends here")
            .help("keep one of the two sides, and remove the lines of `<`, `=` and `>`"),
    )
}

/// A syntax error at some bytes of the text.
fn syntax(sources: &SourceMap, span: &Span, message: &str) -> Diagnostic {
    Diagnostic::error(format!("syntax error: {message}")).at(sources.excerpt(span), "here")
}

fn too_deep(sources: &SourceMap, span: &Span) -> Diagnostic {
    Diagnostic::error(format!("tables and lists are nested more than {} deep", crate::node::DEEPEST))
        .at(sources.excerpt(span), "here")
}

/// Reports keys that stand twice in one table, which a format's parser let pass.
fn duplicates(entries: &[Entry], sources: &SourceMap, found: &mut Vec<Diagnostic>) {
    let mut seen = ahash::HashMap::default();
    for entry in entries {
        if let Some(first) = seen.insert(entry.key.as_str(), &entry.key_span) {
            found.push(
                Diagnostic::error(format!("key `{}` stands twice in one table", entry.key))
                    .at(sources.excerpt(&entry.key_span), "the second time")
                    .at(sources.excerpt(first), "first here")
                    .help("keep one of the two"),
            );
        }
    }
}
