//! Which crate may use which: ARCHITECTURE's table, checked against the manifests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

/// What each crate of ours may use of ours. A crate that is not here has no place in the design yet.
const OURS: &[(&str, &[&str])] = &[
    ("lb-core", &[]),
    ("lb-h1", &[]),
    ("lb-h2", &["lb-h1"]),
    ("lb-router", &[]),
    ("lb-policy", &["lb-h1"]),
    ("lb-tls", &[]),
    ("lb-observe", &["lb-h1"]),
    ("lb-import", &[]),
    ("lb-testkit", &[]),
    ("lb-faults", &["lb-testkit"]),
    ("lb-health", &["lb-core"]),
    ("lb-dump", &["lb-h1", "lb-observe"]),
    ("lb-discovery", &["lb-core", "lb-observe", "lb-tls"]),
    ("lb-cache", &["lb-policy"]),
    ("lb-sim", &["lb-core"]),
    ("lb-trace", &["lb-h1", "lb-observe"]),
    ("lb-admin", &["lb-core", "lb-health", "lb-observe"]),
    (
        "lb-http",
        &[
            "lb-core",
            "lb-dump",
            "lb-h1",
            "lb-h2",
            "lb-health",
            "lb-observe",
            "lb-policy",
            "lb-router",
            "lb-tls",
        ],
    ),
    (
        "lb-config",
        &[
            "lb-core",
            "lb-discovery",
            "lb-dump",
            "lb-health",
            "lb-http",
            "lb-observe",
            "lb-policy",
            "lb-router",
            "lb-tls",
        ],
    ),
    (
        "gatewayd",
        &[
            "lb-admin",
            "lb-cache",
            "lb-config",
            "lb-core",
            "lb-discovery",
            "lb-dump",
            "lb-health",
            "lb-http",
            "lb-import",
            "lb-observe",
            "lb-policy",
            "lb-router",
            "lb-sim",
            "lb-tls",
            "lb-trace",
        ],
    ),
    ("xtask", &["lb-core", "lb-faults", "lb-policy", "lb-sim"]),
];

/// Crates of others that belong in few places, with those places and the reason.
const OTHERS: &[(&[&str], &[&str], &str)] = &[
    (
        &["hyper", "hyper-util"],
        &["lb-http", "lb-admin", "lb-discovery", "gatewayd"],
        "HTTP machinery has one seam",
    ),
    (&["quinn", "h3"], &["lb-http"], "HTTP machinery has one seam"),
    (&["quinn-proto"], &["lb-tls"], "TLS is set up in one place"),
    (&["figment"], &["lb-config"], "configuration is read in one place"),
    (
        &["rustls", "tokio-rustls", "rustls-pemfile", "hyper-rustls"],
        // The kit's client is to agree with others, not with us.
        &["lb-tls", "lb-testkit"],
        "TLS is set up in one place",
    ),
    (&["metrics", "metrics-exporter-prometheus"], &["lb-observe"], "figures are kept in one place"),
    (
        &["opentelemetry", "opentelemetry_sdk", "opentelemetry-otlp", "opentelemetry-http"],
        &["lb-trace"],
        "traces leave in one place",
    ),
    (&["anyhow"], &["gatewayd", "xtask"], "libraries have typed errors"),
    (&["clap"], &["gatewayd", "xtask"], "libraries have no command line"),
    (&["tracing-subscriber"], &["gatewayd"], "only the program decides where logs go"),
    (
        &["tokio"],
        &[
            "lb-health",
            "lb-http",
            "lb-admin",
            "lb-tls",
            "lb-trace",
            "lb-discovery",
            "lb-cache",
            "lb-faults",
            "lb-testkit",
            "gatewayd",
            "xtask",
        ],
        "decisions wait for nothing",
    ),
];

pub(super) fn check(files: &[PathBuf]) -> anyhow::Result<Vec<String>> {
    let mut breaches = Vec::new();
    for file in files.iter().filter(|file| is_member(file)) {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let manifest: toml::Table = text.parse().with_context(|| file.display().to_string())?;
        breaches.extend(check_manifest(&file.display().to_string(), &manifest));
    }
    breaches.extend(lb_core_stands_alone()?);
    Ok(breaches)
}

/// A manifest of the workspace: what stands under `crates/`, `bin/` and `xtask/`.
fn is_member(file: &Path) -> bool {
    let depth = file.components().count();
    file.ends_with("Cargo.toml")
        && (depth == 3 && (file.starts_with("crates") || file.starts_with("bin"))
            || depth == 2 && file.starts_with("xtask"))
}

fn check_manifest(file: &str, manifest: &toml::Table) -> Vec<String> {
    let mut breaches = Vec::new();
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
    let name = name.unwrap_or_default();
    let used = dependencies(manifest);
    match OURS.iter().find(|(crate_name, _)| *crate_name == name) {
        None => {
            breaches.push(format!("{file}: {name} is not in the table of crates (xtask/src/tidy/crates.rs)"));
        }
        Some((_, allowed)) => {
            for edge in used.iter().filter(|used| OURS.iter().any(|(ours, _)| ours == *used)) {
                if !allowed.contains(&edge.as_str()) {
                    breaches.push(format!("{file}: {name} must not depend on {edge}"));
                }
            }
        }
    }
    for (crates, places, why) in OTHERS {
        for other in crates.iter().filter(|other| used.contains(**other)) {
            if !places.contains(&name) {
                breaches.push(format!("{file}: {other} belongs in {} alone: {why}", places.join(", ")));
            }
        }
    }
    let workspace = |key: &str| {
        let table = manifest.get(key).or_else(|| manifest.get("package")?.get(key));
        table.and_then(|table| table.get("workspace")).and_then(toml::Value::as_bool) == Some(true)
    };
    for key in ["lints", "license", "edition", "rust-version"] {
        if !workspace(key) {
            breaches.push(format!("{file}: {key}.workspace = true is missing"));
        }
    }
    breaches
}

/// What a crate uses outside its tests, on any target.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    tables
        .chain(std::iter::once(manifest))
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|key| table.get(key)))
        .flatten()
        .filter_map(toml::Value::as_table)
        .flat_map(toml::Table::keys)
        .cloned()
        .collect()
}

/// Crates that lb-core may bring with it at most, its dependencies' own among them; what only the compiler runs is not counted.
const HANDFUL: usize = 5;

/// Not by its manifest alone: nothing that lb-core uses may bring a runtime with it either.
fn lb_core_stands_alone() -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["tree", "--package", "lb-core", "--edges", "normal,no-proc-macro"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .context("cargo does not start")?;
    let tree = String::from_utf8_lossy(&output.stdout);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut breaches = what_lb_core_brings(&names);
    if !output.status.success() {
        breaches.push(format!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(breaches)
}

fn what_lb_core_brings(names: &BTreeSet<&str>) -> Vec<String> {
    let manifest = "crates/lb-core/Cargo.toml";
    let mut breaches: Vec<String> = ["tokio", "hyper", "mio", "futures"]
        .iter()
        .filter(|name| names.contains(**name))
        .map(|name| format!("{manifest}: {name} comes with a dependency"))
        .collect();
    let others: Vec<&str> = names.iter().copied().filter(|name| *name != "lb-core").collect();
    if others.len() > HANDFUL {
        breaches.push(format!("{manifest}: more than a handful of crates: {}", others.join(", ")));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(manifest: &str) -> String {
        check_manifest("Cargo.toml", &manifest.parse().unwrap()).join("\n")
    }

    #[test]
    fn an_edge_against_the_design_is_found_on_any_target() {
        let head = "[package]\nname = \"lb-core\"\nlicense.workspace = true\nedition.workspace = true\n\
                    rust-version.workspace = true\n[lints]\nworkspace = true\n";
        assert_eq!(breaches(head), "");
        assert_eq!(breaches(&format!("{head}[dev-dependencies]\nlb-testkit.workspace = true\n")), "");
        assert!(breaches(&format!("{head}[dependencies]\nlb-http.workspace = true\n")).contains("lb-http"));
        let target = format!("{head}[target.'cfg(unix)'.dependencies]\ntokio.workspace = true\n");
        assert!(breaches(&target).contains("tokio belongs in"));
        assert!(breaches("[package]\nname = \"lb-new\"\n").contains("not in the table"));
    }

    #[test]
    fn lb_core_brings_a_handful_of_crates_and_no_runtime() {
        let brought = |names: &[&str]| what_lb_core_brings(&names.iter().copied().collect()).join("\n");
        assert_eq!(brought(&["lb-core", "arc-swap", "fastrand"]), "");
        assert!(brought(&["lb-core", "tokio"]).contains("tokio comes with"));
        assert!(brought(&["lb-core", "a", "b", "c", "d", "e", "f"]).contains("a, b, c, d, e, f"));
    }
}
