//! Every row of a registry is told to users: a strategy or policy that no document names does not exist for them.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// Folders of one file a row, the type of a row, and the documents that must name each.
const REGISTRIES: &[(&str, &str, &[&str])] = &[
    ("crates/lb-core/src/strategy", "StrategyInfo", &["crates/lb-core/README.md", "config/gatewayd.toml"]),
    ("crates/lb-policy/src/policy", "PolicyInfo", &["config/gatewayd.toml"]),
];

pub(super) fn check(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut breaches = Vec::new();
    for (folder, row, documents) in REGISTRIES {
        let rows = rows(files, folder, row)?;
        if rows.is_empty() {
            breaches.push(format!("{folder}: no {row} is found here (xtask/src/tidy/registries.rs)"));
        }
        for document in *documents {
            let text = std::fs::read_to_string(document).unwrap_or_default();
            for (file, name) in rows.iter().filter(|(_, name)| !text.contains(name)) {
                breaches.push(format!("{file}: {name} is not documented in {document}"));
            }
        }
    }
    Ok(breaches)
}

/// The names of a folder's rows, each with its file.
fn rows(files: &[PathBuf], folder: &str, row: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut rows = Vec::new();
    for file in files.iter().filter(|file| file.parent() == Some(Path::new(folder))) {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        // The row itself, not a mention of its type.
        let Some((_, body)) = text.split_once(&format!("{row} = {row} {{")) else { continue };
        let name = body.lines().find_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","));
        if let Some(name) = name {
            rows.push((file.display().to_string(), name.to_owned()));
        }
    }
    Ok(rows)
}
