//! The documents that a repository of this kind has, and what they must say.

use std::path::Path;

use anyhow::Context;

/// Each with words that it cannot do without.
const DOCUMENTS: &[(&str, &[&str])] = &[
    ("README.md", &["cargo xtask test", "MIT", "Apache"]),
    ("ARCHITECTURE.md", &["lb-core", "lb-http", "exchange.rs"]),
    ("CONTRIBUTING.md", &["cargo xtask test", "cargo xtask tidy"]),
    ("CHANGELOG.md", &["## "]),
    ("LICENSE-MIT", &["Permission is hereby granted"]),
    ("LICENSE-APACHE", &["Apache License"]),
    ("deny.toml", &["[licenses]", "[bans]", "[sources]"]),
    ("crates/lb-core/README.md", &["```rust"]),
];

pub(super) fn check() -> anyhow::Result<Vec<String>> {
    let mut breaches = Vec::new();
    for (name, words) in DOCUMENTS {
        let Ok(text) = std::fs::read_to_string(name) else {
            breaches.push(format!("{name}: is missing"));
            continue;
        };
        for word in words.iter().filter(|word| !text.contains(**word)) {
            breaches.push(format!("{name}: does not mention {word:?}"));
        }
        breaches.extend(dead_links(name, &text));
    }
    breaches.extend(unchanged_version()?);
    Ok(breaches)
}

/// Links inside the repository that lead nowhere.
fn dead_links(name: &str, text: &str) -> Vec<String> {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    targets
        .filter(|target| !target.is_empty() && !target.contains(':') && !folder.join(target).exists())
        .map(|target| format!("{name}: the link to {target} leads nowhere"))
        .collect()
}

/// The changelog speaks of the version that the manifests have, or of what is to come.
fn unchanged_version() -> anyhow::Result<Option<String>> {
    let manifest: toml::Table = std::fs::read_to_string("Cargo.toml")?.parse().context("Cargo.toml")?;
    let version = manifest.get("workspace").and_then(|workspace| workspace.get("package")?.get("version"));
    let version = version.and_then(toml::Value::as_str).unwrap_or_default();
    let changes = std::fs::read_to_string("CHANGELOG.md").unwrap_or_default();
    let told = changes.contains(version) || changes.to_lowercase().contains("unreleased");
    Ok((!told).then(|| format!("CHANGELOG.md: neither {version} nor Unreleased")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_the_repository_are_followed() {
        let text = "[here](Cargo.toml) [there](https://x/y) [nowhere](no/such.md#part)";
        assert_eq!(dead_links("README.md", text), ["README.md: the link to no/such.md leads nowhere"]);
    }
}
