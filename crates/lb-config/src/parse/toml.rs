//! TOML through `toml`'s parser that keeps spans.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{syntax, too_deep};
use crate::diagnostic::Diagnostic;
use crate::node::{DEEPEST, Entry, Node, Value};
use crate::source::{SourceId, SourceMap, Span};

/// Syntax errors reported of one file at most; the first ones explain the others.
const MOST_SYNTAX_ERRORS: usize = 10;

pub(super) fn document(source: SourceId, sources: &SourceMap) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(sources.text(source));
    if !errors.is_empty() {
        return Err(report(&errors, source, sources));
    }
    let mut reader = Reader { source, offset: 0, sources, problems: Vec::new() };
    let span = reader.span(&table.span());
    let node = Node::new(reader.table(table.get_ref(), 0), span);
    if reader.problems.is_empty() { Ok(node) } else { Err(reader.problems) }
}

/// One value, as a list or table in an environment variable is written; `offset` is where it stands in the source.
pub(crate) fn value(text: &str, offset: usize, source: SourceId, sources: &SourceMap) -> Option<Node> {
    let parsed = DeValue::parse(text).ok()?;
    let mut reader = Reader { source, offset, sources, problems: Vec::new() };
    let node = reader.node(&parsed, 0);
    reader.problems.is_empty().then_some(node)
}

fn report(errors: &[toml::de::Error], source: SourceId, sources: &SourceMap) -> Vec<Diagnostic> {
    let mut lines = BTreeSet::new();
    let mut report = Vec::new();
    for error in errors {
        let range = error.span().unwrap_or_default();
        let span = Span { source, range };
        // Recovery inside a broken line reports it more than once.
        if !lines.insert(sources.line(&span)) {
            continue;
        }
        report.push(match error.message() {
            "duplicate key" => Diagnostic::error("this key stands twice in one table")
                .at(sources.excerpt(&span), "the second time")
                .help("keep one of the two; a table is opened by one `[header]` only"),
            message => {
                let problem = syntax(sources, &span, message);
                match remedy(message, &span, sources) {
                    Some(help) => problem.help(help),
                    None => problem,
                }
            }
        });
        if report.len() >= MOST_SYNTAX_ERRORS {
            break;
        }
    }
    report
}

/// What to do about a syntax error, where that can be told from it.
fn remedy(message: &str, span: &Span, sources: &SourceMap) -> Option<&'static str> {
    let text = sources.text(span.source);
    let is_at_end = text.get(span.range.start..).is_some_and(|rest| rest.trim().is_empty());
    if is_at_end && !text.trim().is_empty() {
        return Some("the file ends here; it may have been cut off, or is still being written");
    }
    message.starts_with("string values must be quoted").then_some("put it in quotes: `\"…\"`")
}

struct Reader<'a> {
    source: SourceId,
    offset: usize,
    sources: &'a SourceMap,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn span(&self, range: &Range<usize>) -> Span {
        Span { source: self.source, range: range.start + self.offset..range.end + self.offset }
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>, depth: usize) -> Node {
        let span = self.span(&value.span());
        if depth > DEEPEST {
            self.problems.push(too_deep(self.sources, &span));
            return Node::new(Value::Null, span);
        }
        let value = match value.get_ref() {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    let problem = Diagnostic::error("this number is too large for any key");
                    self.problems.push(problem.at(self.sources.excerpt(&span), "too large"));
                    Value::Null
                }
            },
            DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a number"), Value::Float),
            DeValue::Boolean(switch) => Value::Bool(*switch),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item, depth + 1)).collect())
            }
            DeValue::Table(table) => self.table(table, depth + 1),
        };
        Node::new(value, span)
    }

    fn table(&mut self, table: &DeTable<'_>, depth: usize) -> Value {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_span: self.span(&key.span()),
                node: self.node(value, depth),
            })
            .collect();
        // The parser sorts by name; an operator thinks in the order of the file.
        entries.sort_by_key(|entry| entry.key_span.range.start);
        Value::Table(entries)
    }
}
