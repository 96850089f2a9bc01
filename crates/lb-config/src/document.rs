//! A document that is no configuration, in any of its formats: what discovery reads.

use std::path::Path;

use serde_json::{Map, Number, Value as Json};

use crate::diagnostic::Diagnostics;
use crate::node::{Node, Value};
use crate::parse::{self, Format};
use crate::source::{SourceKind, SourceMap};

/// Reads a text whose format its file's name tells.
///
/// # Errors
/// What is wrong with it, with its place, in a line.
pub fn read_document(path: &Path, text: &str) -> Result<Json, String> {
    let format =
        Format::from_path(path).ok_or("its format is told by its ending: .toml, .yaml, .yml or .json")?;
    let mut sources = SourceMap::default();
    let source = sources.add(SourceKind::File, path.display().to_string(), text);
    match parse::value(format, source, &sources) {
        Ok(node) => Ok(json(&node)),
        Err(found) => {
            let mut problems = Diagnostics::default();
            problems.extend(found);
            Err(problems.as_slice().first().map(ToString::to_string).unwrap_or_default())
        }
    }
}

/// Nesting has a bound, see [`crate::node::DEEPEST`].
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(switch) => Json::Bool(*switch),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Number::from_f64(*number).map_or(Json::Null, Json::Number),
        Value::String(text) | Value::Loose(text) => Json::String(text.clone()),
        Value::Other(what) => Json::String((*what).to_owned()),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Table(entries) => {
            let entry = |entry: &crate::node::Entry| (entry.key.clone(), json(&entry.node));
            Json::Object(entries.iter().map(entry).collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_format_reads_the_same() {
        let expected = json!({ "backends": ["a:1", { "url": "b:2", "weight": 2 }] });
        for (name, text) in [
            ("x.toml", "backends = [\"a:1\", { url = \"b:2\", weight = 2 }]"),
            ("x.yaml", "backends:\n  - a:1\n  - url: b:2\n    weight: 2\n"),
            ("x.json", "{\"backends\": [\"a:1\", {\"url\": \"b:2\", \"weight\": 2}]}"),
        ] {
            assert_eq!(read_document(Path::new(name), text).unwrap(), expected, "{name}");
        }
        assert_eq!(read_document(Path::new("x.yaml"), "- a:1\n").unwrap(), json!(["a:1"]));
    }

    #[test]
    fn what_is_wrong_has_its_place() {
        let said = read_document(Path::new("x.json"), "[\n  \"a:1\",\n  \"b").unwrap_err();
        assert!(said.contains("x.json:3"), "{said}");
        assert!(read_document(Path::new("x.txt"), "[]").unwrap_err().contains("its ending"));
    }
}
