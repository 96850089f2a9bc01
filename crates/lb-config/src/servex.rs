//! Servex's spelling: a `proxy:` table is read as if its keys stood at the root.

use crate::diagnostic::Diagnostic;
use crate::node::{Entry, Node, Value};
use crate::source::SourceMap;

/// Lifts `proxy` up and renames what Servex calls otherwise.
pub(crate) fn lift(root: &mut Node, sources: &SourceMap) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let Value::Table(entries) = &mut root.value else { return problems };
    let Some(position) = entries.iter().position(|entry| entry.key == "proxy") else { return problems };
    if !matches!(entries.get(position).map(|entry| &entry.node.value), Some(Value::Table(_))) {
        return problems;
    }
    let proxy = entries.remove(position);
    let Value::Table(lifted) = proxy.node.value else { return problems };
    for mut entry in lifted {
        match entry.key.as_str() {
            "enabled" => {
                if matches!(entry.node.value, Value::Bool(false)) {
                    problems.push(
                        Diagnostic::error("`proxy.enabled` is false, so nothing would be served")
                            .at(sources.excerpt(&entry.node.span), "switched off")
                            .help("write `true`, or leave the key out")
                            .path("proxy.enabled".into()),
                    );
                } else if !matches!(entry.node.value, Value::Bool(true)) {
                    problems.push(
                        Diagnostic::error("`enabled` expects `true` or `false`")
                            .at(sources.excerpt(&entry.node.span), "neither")
                            .path("proxy.enabled".into()),
                    );
                }
                continue;
            }
            "rules" => {
                if let Value::List(rules) = &mut entry.node.value {
                    rules.iter_mut().for_each(rename);
                }
            }
            _ => {}
        }
        if let Some(at_root) = entries.iter().find(|root| root.key == entry.key) {
            problems.push(
                Diagnostic::error(format!("`{}` stands at the root and in `proxy`", entry.key))
                    .at(sources.excerpt(&entry.key_span), "the second time")
                    .at(sources.excerpt(&at_root.key_span), "first here")
                    .help("keep one of the two")
                    .path(format!("proxy.{}", entry.key)),
            );
            continue;
        }
        entries.push(entry);
    }
    problems
}

/// `enable_traffic_dump` and `dump_directory` of a rule are `traffic_dump` here.
fn rename(rule: &mut Node) {
    let Value::Table(entries) = &mut rule.value else { return };
    if entries.iter().any(|entry| entry.key == "traffic_dump") {
        return;
    }
    let mut take = |key: &str| {
        entries.iter().position(|entry| entry.key == key).map(|position| entries.remove(position))
    };
    let (enable, directory) = (take("enable_traffic_dump"), take("dump_directory"));
    let dump = match (enable, directory) {
        (None, None) => return,
        (Some(enable), None) => Entry { key: "traffic_dump".into(), ..enable },
        (enable, Some(mut directory)) => {
            let (key_span, span) = (directory.key_span.clone(), directory.node.span.clone());
            directory.key = "directory".into();
            let mut table = vec![directory];
            table.extend(enable.map(|enable| Entry { key: "enabled".into(), ..enable }));
            Entry { key: "traffic_dump".into(), key_span, node: Node::new(Value::Table(table), span) }
        }
    };
    entries.push(dump);
}
