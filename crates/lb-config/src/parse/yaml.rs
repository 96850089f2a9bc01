//! YAML 1.2 through `saphyr`'s event parser; the tree is built here so that keys, duplicates and aliases have places.
//!
//! Aliases are copied where they stand, with a bound on what that makes (`*a` ten deep is a billion values), and
//! `<<` merges a mapping in, as the YAML that Go programs read has it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Parser, Tag};

use super::{duplicates, syntax, too_deep};
use crate::diagnostic::Diagnostic;
use crate::node::{DEEPEST, Entry, MOST_NODES, Node, Value};
use crate::source::{SourceId, SourceMap, Span};

pub(super) fn document(source: SourceId, sources: &SourceMap) -> Result<Node, Vec<Diagnostic>> {
    let text = sources.text(source);
    let mut builder = Builder {
        places: Places::new(text, source),
        sources,
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
        root: None,
        problems: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let (event, range) = event.map_err(|error| {
            let span = builder.places.span(error.marker().index(), error.marker().index() + 1);
            vec![syntax(sources, &span, error.info()).help("YAML counts indentation in spaces, never tabs")]
        })?;
        let span = builder.places.span(range.start.index(), range.end.index());
        builder.event(event, span).map_err(|problem| vec![*problem])?;
    }
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    Ok(builder.root.unwrap_or_else(|| Node::new(Value::Null, Span { source, range: 0..text.len() })))
}

/// saphyr counts characters; everything else here counts bytes.
struct Places {
    source: SourceId,
    /// Byte of each character; empty where the text is ASCII and both counts agree.
    bytes: Vec<usize>,
    length: usize,
}

impl Places {
    fn new(text: &str, source: SourceId) -> Self {
        let bytes =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(byte, _)| byte).collect() };
        Self { source, bytes, length: text.len() }
    }

    fn byte(&self, character: usize) -> usize {
        if self.bytes.is_empty() {
            return character.min(self.length);
        }
        self.bytes.get(character).copied().unwrap_or(self.length)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { source: self.source, range: self.byte(start)..self.byte(end) }
    }
}

/// A collection whose end has not been seen.
struct Open {
    span: Span,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Table { entries: Vec<Entry>, key: Option<(String, Span)> },
}

struct Builder<'a> {
    places: Places,
    sources: &'a SourceMap,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    problems: Vec<Diagnostic>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Diagnostic::error("a configuration is one YAML document, and here a second one begins")
                    .at(self.sources.excerpt(&span), "second document")
                    .help("remove the `---`")
                    .into())
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), &span)?;
                self.finished(Node::new(value, span), anchor, Some(&text))
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(OpenKind::List(Vec::new()), anchor, tag.as_deref(), "seq", span)
            }
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Table { entries: Vec::new(), key: None };
                self.begin(kind, anchor, tag.as_deref(), "map", span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(&span),
            Event::Alias(anchor) => self.alias(anchor, span),
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        span: &Span,
    ) -> Result<Value, Box<Diagnostic>> {
        let tag: Option<Cow<'_, Tag>> = tag.map(Cow::Borrowed);
        let core = tag.as_ref().is_none_or(|tag| tag.is_yaml_core_schema());
        match core.then(|| Scalar::parse_from_cow_and_metadata(text.into(), style, tag.as_ref())).flatten() {
            Some(Scalar::Null) => Ok(Value::Null),
            Some(Scalar::Boolean(switch)) => Ok(Value::Bool(switch)),
            Some(Scalar::Integer(number)) => Ok(Value::Integer(number)),
            Some(Scalar::FloatingPoint(number)) => Ok(Value::Float(number.into_inner())),
            Some(Scalar::String(text)) => Ok(Value::String(text.into_owned())),
            None => Err(syntax(self.sources, span, "this tag cannot be read here").into()),
        }
    }

    fn begin(
        &mut self,
        kind: OpenKind,
        anchor: usize,
        tag: Option<&Tag>,
        expected: &str,
        span: Span,
    ) -> Result<(), Box<Diagnostic>> {
        if self.open.len() >= DEEPEST {
            return Err(too_deep(self.sources, &span).into());
        }
        if tag.is_some_and(|tag| !tag.is_yaml_core_schema() || tag.suffix != expected) {
            return Err(syntax(self.sources, &span, "this tag cannot be read here").into());
        }
        self.open.push(Open { span, anchor, kind });
        Ok(())
    }

    fn end(&mut self, span: &Span) -> Result<(), Box<Diagnostic>> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.kind {
            OpenKind::List(items) => Value::List(items),
            OpenKind::Table { entries, .. } => {
                duplicates(&entries, self.sources, &mut self.problems);
                Value::Table(self.merged(entries)?)
            }
        };
        let range = open.span.range.start..span.range.end.max(open.span.range.end);
        self.finished(Node::new(value, Span { range, ..open.span }), open.anchor, None)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Box<Diagnostic>> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(syntax(self.sources, &span, "this alias stands inside what it names").into());
        };
        self.nodes += target.count();
        if self.nodes > MOST_NODES || self.open.len() + depth(target) > DEEPEST {
            return Err(Diagnostic::error(
                "the aliases of this file expand to more values than a configuration has",
            )
            .at(self.sources.excerpt(&span), "one alias too many")
            .into());
        }
        let node = Node { span, ..target.clone() };
        self.finished(node, 0, None)
    }

    /// Puts a complete value where it belongs; `text` is there for scalars, which may be keys.
    fn finished(&mut self, node: Node, anchor: usize, text: Option<&str>) -> Result<(), Box<Diagnostic>> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(Diagnostic::error("this file holds more values than a configuration has")
                .at(self.sources.excerpt(&node.span), "one value too many")
                .into());
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Table { entries, key }) => match (key.take(), text) {
                (Some((key, key_span)), _) => entries.push(Entry { key, key_span, node }),
                (None, Some(text)) => *key = Some((text.to_owned(), node.span)),
                (None, None) => {
                    return Err(
                        syntax(self.sources, &node.span, "a key is a word, not a list or table").into()
                    );
                }
            },
        }
        Ok(())
    }

    /// Brings the mappings under `<<` in, where the table does not have the key itself.
    fn merged(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, Box<Diagnostic>> {
        if entries.iter().all(|entry| entry.key != "<<") {
            return Ok(entries);
        }
        let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.key == "<<");
        let mut keys: HashSet<String> = own.iter().map(|entry| entry.key.clone()).collect();
        for merge in merges {
            let tables = match merge.node.value {
                Value::List(items) => items,
                _ => vec![merge.node],
            };
            for table in tables {
                let Value::Table(more) = table.value else {
                    return Err(
                        syntax(self.sources, &table.span, "`<<` merges a mapping, and this is none").into()
                    );
                };
                own.extend(more.into_iter().filter(|entry| keys.insert(entry.key.clone())));
            }
        }
        Ok(own)
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Table(entries) => 1 + entries.iter().map(|entry| depth(&entry.node)).max().unwrap_or(0),
        _ => 0,
    }
}
