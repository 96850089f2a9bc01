//! Lays flags over environment over file, through figment.
//!
//! figment decides which layer speaks for a key; it carries no positions, so what it is handed is the number of an
//! entry, and the merged tree is put together from the entries that won. Lists are taken whole from one layer.

use std::cell::RefCell;
use std::collections::HashMap;

use figment::value::{Dict, Map, Num, Tag, Value as Merged};
use figment::{Error, Figment, Metadata, Profile, Provider};

use crate::node::{Entry, Node, Value};

/// The layers of one load, weakest first.
#[derive(Debug, Clone, Copy)]
struct Layers<'n> {
    /// Speaks where nothing is written.
    fallback: &'n Node,
    file: &'n Node,
    environment: &'n Node,
    flags: &'n Node,
}

/// One tree from a file and what lies above and below it.
pub(crate) fn merged(file: Node, [fallback, environment, flags]: [&Node; 3]) -> Node {
    let is_alone = [fallback, environment, flags].iter().all(|layer| layer.entries().is_empty());
    if is_alone { file } else { merge(Layers { fallback, file: &file, environment, flags }) }
}

fn merge(layers: Layers<'_>) -> Node {
    let numbered = RefCell::new(Vec::new());
    let layer = |name, root| Layer { name, root, numbered: &numbered };
    let figment = Figment::new()
        .merge(layer("fallback", layers.fallback))
        .merge(layer("file", layers.file))
        .merge(layer("environment", layers.environment))
        .merge(layer("flags", layers.flags));
    let merged = figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default));
    // A table that several layers write stands where the file has it.
    let roots = [layers.file, layers.fallback, layers.environment, layers.flags];
    rebuild(&merged.unwrap_or_default(), &roots, &numbered.borrow()).unwrap_or_else(|| layers.file.clone())
}

struct Layer<'a, 'n> {
    name: &'static str,
    root: &'n Node,
    numbered: &'a RefCell<Vec<&'n Entry>>,
}

impl Provider for Layer<'_, '_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.dict(self.root)))
    }
}

impl<'n> Layer<'_, 'n> {
    fn dict(&self, table: &'n Node) -> Dict {
        table.entries().iter().map(|entry| (entry.key.clone(), self.value(entry))).collect()
    }

    fn value(&self, entry: &'n Entry) -> Merged {
        if matches!(entry.node.value, Value::Table(_)) {
            return Merged::Dict(Tag::Default, self.dict(&entry.node));
        }
        let mut numbered = self.numbered.borrow_mut();
        numbered.push(entry);
        Merged::Num(Tag::Default, Num::USize(numbered.len() - 1))
    }
}

/// `tables` are the same table in each layer that has it.
fn rebuild(merged: &Dict, tables: &[&Node], numbered: &[&Entry]) -> Option<Node> {
    let (first, others) = tables.split_first()?;
    if others.is_empty() {
        return Some(Node::clone(first));
    }
    let mut standing: HashMap<&str, Vec<&Entry>> = HashMap::new();
    let mut order = Vec::new();
    for entry in tables.iter().flat_map(|table| table.entries()) {
        let places = standing.entry(&entry.key).or_default();
        if places.is_empty() {
            order.push(entry.key.as_str());
        }
        places.push(entry);
    }
    let entries = order.into_iter().filter_map(|key| {
        let places = standing.remove(key)?;
        match merged.get(key)? {
            Merged::Dict(_, dict) => {
                let is_table = |entry: &&Entry| matches!(entry.node.value, Value::Table(_));
                let below: Vec<&Entry> = places.into_iter().filter(is_table).collect();
                let nodes: Vec<&Node> = below.iter().map(|entry| &entry.node).collect();
                let node = rebuild(dict, &nodes, numbered)?;
                let key_span = below.first()?.key_span.clone();
                Some(Entry { key: key.to_owned(), key_span, node })
            }
            Merged::Num(_, Num::USize(number)) => numbered.get(*number).map(|entry| Entry::clone(entry)),
            _ => None,
        }
    });
    Some(Node::new(Value::Table(entries.collect()), first.span.clone()))
}
