//! Environment variables as a layer: `GATEWAYD_SERVER__WORKERS=2` is `server.workers`, `LB_STRATEGY` is the root's
//! `load_balancing`.
//!
//! Some variables begin with `GATEWAYD_` and are no keys: those of the command line, and those that Kubernetes sets
//! for every pod beside a service of that name. All others must name a key, so that a typo is met here as in a file.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Entry, Node, Value};
use crate::parse::toml_value;
use crate::source::{SourceId, SourceKind, SourceMap, Span};

const PREFIX: &str = "GATEWAYD_";

/// Variables of the command line, and what one process tells the next.
const NOT_KEYS: &[&str] = &["TOKEN", "ADMIN", "CONFIG", "LOG", "TAKEOVER"];

/// What the environment says.
#[derive(Debug)]
pub(crate) struct Environment {
    /// Beats the file.
    pub(crate) layer: Node,
    /// Beaten by the file: `LB_HEALTH_CHECK` speaks where nothing is written.
    pub(crate) fallback: Node,
    /// `LB_STATS_ENABLED`.
    pub(crate) statistics: bool,
}

pub(crate) fn read(
    variables: &[(String, String)],
    file: Option<&Node>,
    sources: &mut SourceMap,
    problems: &mut Diagnostics,
) -> Environment {
    let nowhere = Span { source: sources.add(SourceKind::Variable, "environment", ""), range: 0..0 };
    let empty = || Node::new(Value::Table(Vec::new()), nowhere.clone());
    let mut environment = Environment { layer: empty(), fallback: empty(), statistics: true };
    let mut sorted: Vec<&(String, String)> =
        variables.iter().filter(|(_, value)| !value.is_empty()).collect();
    // LB_… after GATEWAYD_…, so that the name that is ours wins: what is set first stays.
    sorted.sort_by_key(|(name, _)| (name.starts_with("LB_"), name.clone()));
    for (name, value) in sorted {
        match name.as_str() {
            "LB_STRATEGY" => {
                let variable = Variable::new(name, value, sources);
                let span = variable.name_span();
                insert(&mut environment.layer, None, &[("load_balancing", span)], variable.node(sources));
            }
            "LB_HEALTH_CHECK" => {
                let variable = Variable::new(name, value, sources);
                if variable.switch(sources, problems) == Some(true) {
                    let path = Node::new(Value::String("/health".into()), variable.value_span());
                    let span = variable.name_span();
                    insert(
                        &mut environment.fallback,
                        None,
                        &[("health_check", span.clone()), ("path", span)],
                        path,
                    );
                }
            }
            "LB_STATS_ENABLED" => {
                let variable = Variable::new(name, value, sources);
                environment.statistics = variable.switch(sources, problems).unwrap_or(true);
            }
            _ if is_key(name) => {
                let variable = Variable::new(name, value, sources);
                let path = variable.path();
                let path: Vec<(&str, Span)> =
                    path.iter().map(|(word, span)| (word.as_str(), span.clone())).collect();
                insert(&mut environment.layer, file, &path, variable.node(sources));
            }
            _ => {}
        }
    }
    environment
}

/// A value that a flag gives to a key: `--workers 2` for `server.workers`.
pub(crate) fn flag(layer: &mut Node, flag: &str, key: &str, value: &str, sources: &mut SourceMap) {
    let source = sources.add(SourceKind::Flag, flag, format!("{flag} {value}"));
    let name = Span { source, range: 0..flag.len() };
    let node = Node::new(
        Value::Loose(value.to_owned()),
        Span { source, range: flag.len() + 1..flag.len() + 1 + value.len() },
    );
    let path: Vec<(&str, Span)> = key.split('.').map(|word| (word, name.clone())).collect();
    insert(layer, None, &path, node);
}

fn is_key(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let kubernetes = rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_");
    !rest.is_empty() && !kubernetes && !rest.starts_with("LOG_") && !NOT_KEYS.contains(&rest)
}

/// One variable, shown as `NAME=value` where something is wrong with it.
struct Variable<'a> {
    name: &'a str,
    value: &'a str,
    source: SourceId,
}

impl<'a> Variable<'a> {
    fn new(name: &'a str, value: &'a str, sources: &mut SourceMap) -> Self {
        Self { name, value, source: sources.add(SourceKind::Variable, name, format!("{name}={value}")) }
    }

    fn name_span(&self) -> Span {
        Span { source: self.source, range: 0..self.name.len() }
    }

    fn value_span(&self) -> Span {
        let start = self.name.len() + 1;
        Span { source: self.source, range: start..start + self.value.len() }
    }

    /// A list or table as TOML writes one, or a bare value whose type is what the key wants.
    fn node(&self, sources: &SourceMap) -> Node {
        let written = self.value.trim();
        let structured = written.starts_with(['[', '{']).then(|| {
            let offset = self.value_span().range.start + (self.value.len() - self.value.trim_start().len());
            toml_value(written, offset, self.source, sources)
        });
        structured
            .flatten()
            .unwrap_or_else(|| Node::new(Value::Loose(self.value.to_owned()), self.value_span()))
    }

    fn path(&self) -> Vec<(String, Span)> {
        let mut start = PREFIX.len();
        let mut path = Vec::new();
        for word in self.name.get(start..).unwrap_or_default().split("__") {
            path.push((word.to_lowercase(), Span { source: self.source, range: start..start + word.len() }));
            start += word.len() + 2;
        }
        path
    }

    fn switch(&self, sources: &SourceMap, problems: &mut Diagnostics) -> Option<bool> {
        match self.value.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => {
                let message = format!("`{}` is a switch: expected `true` or `false`", self.name);
                problems.push(Diagnostic::error(message).at(sources.excerpt(&self.value_span()), "neither"));
                None
            }
        }
    }
}

/// Sets a value unless something stands there; names in `like` that differ in case or by `-` for `_` are taken as
/// they are written there, as a variable cannot spell `my-app`.
fn insert(table: &mut Node, like: Option<&Node>, path: &[(&str, Span)], value: Node) {
    let Some(((word, span), rest)) = path.split_first() else { return };
    let written = like.and_then(|like| {
        like.entries().iter().find(|entry| entry.key.to_lowercase().replace('-', "_") == *word)
    });
    let key = written.map_or_else(|| (*word).to_owned(), |entry| entry.key.clone());
    let Value::Table(entries) = &mut table.value else { return };
    let position = entries.iter().position(|entry| entry.key == key).unwrap_or_else(|| {
        let node = Node::new(Value::Null, span.clone());
        entries.push(Entry { key, key_span: span.clone(), node });
        entries.len() - 1
    });
    let Some(entry) = entries.get_mut(position) else { return };
    if rest.is_empty() {
        if matches!(entry.node.value, Value::Null) {
            entry.node = value;
        }
        return;
    }
    if matches!(entry.node.value, Value::Null) {
        entry.node.value = Value::Table(Vec::new());
    }
    insert(&mut entry.node, written.map(|entry| &entry.node), rest, value);
}
