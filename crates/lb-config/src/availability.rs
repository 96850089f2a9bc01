//! Keys that are read and checked, but whose feature this version does not have.
//!
//! Where leaving such a key out of account would weaken a protection, or change who sees data, the configuration is
//! refused; elsewhere it is taken with one warning a key. A feature that arrives deletes its rows here.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::source::SourceMap;
use crate::tree::{Kind, NodeId, Tree};

/// What happens to a key whose feature is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The configuration is refused.
    Refused,
    /// It is taken, with a warning.
    NotInForce,
}

use Answer::{NotInForce, Refused};

/// A path ends so (`[]` is an item of a list, `*` a name), and what it means, in words.
struct Row(&'static [&'static str], Answer, &'static str);

const ROWS: &[Row] = &[
    Row(&["rate_limit"], Refused, "rate limiting"),
    Row(&["filter"], Refused, "request filtering"),
    Row(&["security"], Refused, "security headers"),
    Row(&["cors"], Refused, "CORS"),
    Row(&["auth"], Refused, "authentication"),
    Row(&["request_limits"], Refused, "request limits"),
    Row(&["compression"], NotInForce, "compression"),
    Row(&["cache"], NotInForce, "cache headers"),
];

/// Tables whose keys are the user's own words and never ours.
const FREE_NAMES: &[&str] = &["headers", "query", "set", "add", "rename", "load_balancing"];

/// Reports every key of the tree that has a row: refused ones each, the others once.
pub(crate) fn check(tree: &Tree, sources: &SourceMap, problems: &mut Diagnostics) {
    let mut inert: Vec<(&Row, Vec<NodeId>)> = Vec::new();
    for id in tree.ids().filter(|id| !tree.is_removed(*id)) {
        let Some(row) = row(tree, id) else { continue };
        if row.1 == Refused {
            problems.push(report(tree, sources, row, &[id]));
        } else if let Some((_, places)) = inert.iter_mut().find(|(known, _)| std::ptr::eq(*known, row)) {
            places.push(id);
        } else {
            inert.push((row, vec![id]));
        }
    }
    problems.extend(inert.iter().map(|(row, places)| report(tree, sources, row, places)));
}

fn row(tree: &Tree, id: NodeId) -> Option<&'static Row> {
    let key = tree.key(id)?;
    if !ROWS.iter().any(|Row(end, ..)| end.last() == Some(&key)) {
        return None;
    }
    let path = tree.pattern(id);
    let (_, parents) = path.split_last()?;
    if parents.iter().any(|step| FREE_NAMES.contains(step)) {
        return None;
    }
    ROWS.iter().find(|Row(end, ..)| path.ends_with(end) && is_meant(tree, id))
}

/// All but `false` and a table with `enabled = false`.
fn is_meant(tree: &Tree, id: NodeId) -> bool {
    match tree.kind(id) {
        Kind::Null | Kind::Bool(false) => false,
        Kind::Loose { text, .. } => text.trim() != "false",
        Kind::Table(_) => tree.child(id, "enabled").is_none_or(|enabled| is_meant(tree, enabled)),
        _ => true,
    }
}

fn report(tree: &Tree, sources: &SourceMap, row: &Row, places: &[NodeId]) -> Diagnostic {
    let Row(_, answer, feature) = row;
    let first = places.first().copied().unwrap_or_default();
    let excerpt = tree.key_span(first).and_then(|span| sources.excerpt(span));
    let key = tree.name(first);
    let more = match places.len() {
        0 | 1 => String::new(),
        2 => " (and at one more place)".to_owned(),
        count => format!(" (and at {} more places)", count - 1),
    };
    match answer {
        Refused => Diagnostic::error(format!("{feature}: not available in this version"))
            .at(excerpt, "not available")
            .help("it is refused rather than ignored, as requests would pass that it keeps out or leads elsewhere: remove it to run without"),
        NotInForce => Diagnostic::warning(format!(
            "`{key}` is accepted, but {feature} is not in force in this version{more}"
        ))
        .at(excerpt, "no effect yet"),
    }
    .path(tree.path(first))
}
