//! JSON (RFC 8259) through `jsonc-parser`, whose tree keeps ranges, with every extension of it turned off.

use jsonc_parser::ast::{ObjectProp, Value as Json};
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{duplicates, syntax, too_deep};
use crate::diagnostic::Diagnostic;
use crate::node::{DEEPEST, Entry, Node, Value};
use crate::source::{SourceId, SourceMap, Span};

pub(super) fn document(source: SourceId, sources: &SourceMap) -> Result<Node, Vec<Diagnostic>> {
    let text = sources.text(source);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &strict()).map_err(|error| {
        let kind = error.kind().to_string();
        let mut message = kind.chars();
        let message = message
            .next()
            .map(|first| first.to_ascii_lowercase())
            .into_iter()
            .chain(message)
            .collect::<String>();
        vec![syntax(sources, &span(source, error.range()), &message)]
    })?;
    let Some(value) = parsed.value else {
        return Ok(Node::new(Value::Null, Span { source, range: 0..text.len() }));
    };
    let mut reader = Reader { source, sources, problems: Vec::new() };
    let node = reader.node(&value, 0);
    if reader.problems.is_empty() { Ok(node) } else { Err(reader.problems) }
}

fn strict() -> ParseOptions {
    ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    }
}

fn span(source: SourceId, range: Range) -> Span {
    Span { source, range: range.start..range.end }
}

struct Reader<'a> {
    source: SourceId,
    sources: &'a SourceMap,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn node(&mut self, value: &Json<'_>, depth: usize) -> Node {
        let span = span(self.source, value.range());
        if depth > DEEPEST {
            self.problems.push(too_deep(self.sources, &span));
            return Node::new(Value::Null, span);
        }
        let value = match value {
            Json::StringLit(text) => Value::String(text.value.to_string()),
            Json::NumberLit(number) => match (number.value.parse(), number.value.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (Err(_), Ok(number)) => Value::Float(number),
                (Err(_), Err(_)) => Value::Other("a number"),
            },
            Json::BooleanLit(switch) => Value::Bool(switch.value),
            Json::NullKeyword(_) => Value::Null,
            Json::Array(list) => {
                Value::List(list.elements.iter().map(|item| self.node(item, depth + 1)).collect())
            }
            Json::Object(object) => {
                let entries: Vec<Entry> =
                    object.properties.iter().map(|property| self.entry(property, depth)).collect();
                duplicates(&entries, self.sources, &mut self.problems);
                Value::Table(entries)
            }
        };
        Node::new(value, span)
    }

    fn entry(&mut self, property: &ObjectProp<'_>, depth: usize) -> Entry {
        // Without the quotes: what is shown is the key.
        let quoted = property.name.range();
        let key_span = Span {
            source: self.source,
            range: quoted.start + 1..quoted.end.saturating_sub(1).max(quoted.start + 1),
        };
        Entry {
            key: property.name.as_str().to_owned(),
            key_span,
            node: self.node(&property.value, depth + 1),
        }
    }
}
