//! What every format is read into: a tree of values that know where they stand.

use crate::source::Span;

/// Nesting beyond this is refused in every format: no configuration needs it, and no parser recurses past it.
pub(crate) const DEEPEST: usize = 64;

/// Values one file may hold after its YAML aliases are expanded.
pub(crate) const MOST_NODES: usize = 1_000_000;

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
    /// What was written where `${…}` or `file:` stood; then the value itself is never shown.
    pub(crate) written: Option<String>,
}

/// A value of any format.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    String(String),
    /// Text without a type of its own, from the environment or a placeholder: read as whatever is asked for.
    Loose(String),
    /// Something no key takes, such as a TOML date; in words.
    Other(&'static str),
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key of a table with its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: Value, span: Span) -> Self {
        Self { value, span, written: None }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Table(entries) => entries,
            _ => &[],
        }
    }

    /// Values in this one, itself included.
    pub(crate) fn count(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Value::Table(entries) => 1 + entries.iter().map(|entry| entry.node.count()).sum::<usize>(),
            _ => 1,
        }
    }
}
