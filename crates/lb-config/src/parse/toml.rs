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
        if let Some(open) = open_list(error.message(), &span, sources) {
            // What follows is read as a part of it.
            report.push(open);
            break;
        }
        report.push(match error.message() {
            "duplicate key" => Diagnostic::error("this key stands twice in one table")
                .at(sources.excerpt(&span), "the second time")
                .help(match line_of(&span, sources).trim_start() {
                    line if line.starts_with('[') => {
                        "a table is opened by one `[header]` only; each of several is opened by a `[[header]]`"
                    }
                    _ => "keep one of the two",
                }),
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
    let line = line_of(span, sources).trim();
    let is_yaml = || line.split_once(':').is_some_and(|(key, _)| key.chars().all(is_of_key));
    Some(match message {
        _ if line.contains(['“', '”', '„', '‘', '’']) => "quotes are the plain ones: `\"…\"`",
        _ if message.starts_with("string values must be quoted") => "put it in quotes: `\"…\"`",
        _ if message.starts_with("invalid basic string, expected `\"`") => {
            "a text ends in the line in which it begins: close it with `\"`"
        }
        _ if message.starts_with("missing comma between") => "put a comma behind what stands before it",
        _ if message.starts_with("key with no value") && is_yaml() => {
            "TOML writes `key = value`; YAML is read from files that end in .yaml"
        }
        _ if message.starts_with("key with no value") => "write `key = value`",
        _ => return None,
    })
}

fn is_of_key(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.')
}

/// The line in which it begins.
fn line_of<'a>(span: &Span, sources: &'a SourceMap) -> &'a str {
    let text = sources.text(span.source);
    let before = text.get(..span.range.start).unwrap_or(text);
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or_default()
}

/// A list that goes on into the next keys and tables, as nothing closes it; told by a key, or a header, in the middle of it.
fn open_list(message: &str, span: &Span, sources: &SourceMap) -> Option<Diagnostic> {
    let is_inside = message.contains("array");
    let line = line_of(span, sources).trim();
    let is_key =
        line.split_once('=').is_some_and(|(key, _)| !key.is_empty() && key.trim().chars().all(is_of_key));
    if !is_inside || !(is_key || line.starts_with("[[") || line.starts_with('[') && line.ends_with(']')) {
        return None;
    }
    let opened = last_open(sources.text(span.source).get(..span.range.start)?)?;
    let open = Span { source: span.source, range: opened..opened + 1 };
    (sources.line(&open) != sources.line(span)).then(|| {
        Diagnostic::error("syntax error: this list is not closed")
            .at(sources.excerpt(&open), "opened here")
            .at(sources.excerpt(span), "read as a part of it")
            .help("close it with `]`")
    })
}

/// Where the bracket stands that is open at the end of a text.
fn last_open(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '[' => open.push(at),
            ']' => drop(open.pop()),
            '#' => while letters.next_if(|(_, letter)| *letter != '\n').is_some() {},
            // One that is not closed ends with its line.
            '"' | '\'' => {
                while let Some((_, inner)) = letters.next_if(|(_, inner)| *inner != '\n') {
                    match inner {
                        _ if inner == letter => break,
                        '\\' if letter == '"' => drop(letters.next()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    open.pop()
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
