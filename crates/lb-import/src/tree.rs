//! YAML as a tree whose nodes know their lines.

use saphyr::{LoadableYamlNode, MarkedYamlOwned, ScalarOwned, YamlDataOwned};

use crate::ImportError;
use crate::report::Place;

/// How deep it may nest.
const DEEPEST: usize = 64;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: usize,
    pub(crate) content: Content,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Null,
    Scalar(toml::Value),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// Reads a document.
pub(crate) fn load(file: &str, text: &str) -> Result<Node, ImportError> {
    let failed = |line, message: &str| ImportError::Syntax {
        file: file.to_owned(),
        line,
        message: message.to_owned(),
    };
    let documents =
        MarkedYamlOwned::load_from_str(text).map_err(|error| failed(error.marker().line(), error.info()))?;
    let document = documents.into_iter().next().ok_or_else(|| failed(1, "it is empty"))?;
    Node::of(document, 0).ok_or_else(|| failed(1, "it nests too deep, or has a key that is no text"))
}

impl Node {
    fn of(yaml: MarkedYamlOwned, depth: usize) -> Option<Self> {
        if depth > DEEPEST {
            return None;
        }
        let line = yaml.span.start.line();
        let content = match yaml.data {
            YamlDataOwned::Value(ScalarOwned::Boolean(value)) => Content::Scalar(value.into()),
            YamlDataOwned::Value(ScalarOwned::Integer(value)) => Content::Scalar(value.into()),
            YamlDataOwned::Value(ScalarOwned::FloatingPoint(value)) => {
                Content::Scalar(value.into_inner().into())
            }
            YamlDataOwned::Value(ScalarOwned::String(value)) => Content::Scalar(value.into()),
            YamlDataOwned::Sequence(items) => {
                Content::List(items.into_iter().map(|item| Self::of(item, depth + 1)).collect::<Option<_>>()?)
            }
            YamlDataOwned::Mapping(entries) => {
                let entry = |(key, value): (MarkedYamlOwned, MarkedYamlOwned)| {
                    Some((Self::of(key, depth + 1)?.text()?, Self::of(value, depth + 1)?))
                };
                Content::Table(entries.into_iter().map(entry).collect::<Option<_>>()?)
            }
            _ => Content::Null,
        };
        Some(Self { line, content })
    }

    /// A scalar as text.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.content {
            Content::Scalar(toml::Value::String(text)) => Some(text.clone()),
            Content::Scalar(value) => Some(value.to_string()),
            Content::Null | Content::List(_) | Content::Table(_) => None,
        }
    }

    /// Whether it says no.
    pub(crate) fn is_false(&self) -> bool {
        matches!(self.content, Content::Scalar(toml::Value::Boolean(false)))
    }

    /// What a table has by this name.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        self.entries().iter().find(|(known, _)| known == name).map(|(_, node)| node)
    }

    /// The same, name by name.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    pub(crate) fn entries(&self) -> &[(String, Self)] {
        match &self.content {
            Content::Table(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match &self.content {
            Content::List(items) => items,
            _ => &[],
        }
    }

    /// As it would be written in TOML; `None` for nothing.
    pub(crate) fn value(&self) -> Option<toml::Value> {
        Some(match &self.content {
            Content::Null => return None,
            Content::Scalar(value) => value.clone(),
            Content::List(items) => toml::Value::Array(items.iter().filter_map(Self::value).collect()),
            Content::Table(entries) => {
                let entries = entries.iter().filter_map(|(name, node)| Some((name.clone(), node.value()?)));
                toml::Value::Table(entries.collect())
            }
        })
    }

    /// Where a key of it stands.
    pub(crate) fn place(&self, file: &str, name: &str) -> Place {
        let text = match self.text() {
            Some(value) => format!("{name}: {value}"),
            None => format!("{name}:"),
        };
        Place { file: file.to_owned(), line: self.line, text }
    }
}
