//! The keys there are, found out from outside: a key that no table has is answered with the keys that it does have.

use lb_config::{Diagnostic, Format, load_str};

/// A key and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// The path of its table, as messages write it: `rules[0].backends[0]`; empty for the root.
    pub(crate) table: String,
    /// JSON with `%` where the table's content goes.
    pub(crate) frame: String,
    pub(crate) name: String,
}

/// A word that is near to no key.
const STRANGE: &str = "zzqqzzqq";

/// Every key of every table.
pub(crate) fn keys() -> Vec<Key> {
    let mut keys = Vec::new();
    collect("", "{%}", &mut keys);
    keys
}

/// Loads a text that has problems.
pub(crate) fn problems(json: &str) -> Vec<Diagnostic> {
    load_str("probe.json", Format::Json, json)
        .map_or_else(|found| found.as_slice().to_vec(), |loaded| loaded.warnings)
}

fn collect(table: &str, frame: &str, keys: &mut Vec<Key>) {
    for name in keys_of(table, frame) {
        keys.push(Key { table: table.to_owned(), frame: frame.to_owned(), name: name.clone() });
        let below = if table.is_empty() { name.clone() } else { format!("{table}.{name}") };
        // A key may hold a table, a list of tables, or tables under names of the user's.
        for (path, inner) in [
            (below.clone(), "{%}".to_owned()),
            (format!("{below}[0]"), "[{%}]".to_owned()),
            (format!("{below}.x"), "{\"x\": {%}}".to_owned()),
        ] {
            let frame = frame.replace('%', &format!("\"{name}\": {inner}"));
            if !keys_of(&path, &frame).is_empty() {
                collect(&path, &frame, keys);
            }
        }
    }
}

fn keys_of(table: &str, frame: &str) -> Vec<String> {
    let path = if table.is_empty() { STRANGE.to_owned() } else { format!("{table}.{STRANGE}") };
    let json = frame.replace('%', &format!("\"{STRANGE}\": 1"));
    let problem = problems(&json)
        .into_iter()
        .find(|problem| problem.path.as_deref() == Some(&path) && problem.message.starts_with("unknown key"));
    let Some(help) = problem.and_then(|problem| problem.help) else { return Vec::new() };
    help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
