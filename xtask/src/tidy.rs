//! `cargo xtask tidy`: the rules of the house that neither rustfmt nor clippy can check.

mod crates;
mod documents;
mod registries;
mod sources;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

/// Nothing to choose.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Report every breach at once, each with its place.
pub(crate) fn run(_: &Args) -> anyhow::Result<()> {
    let files = files()?;
    let mut breaches = sources::check(&files)?;
    breaches.extend(crates::check(&files)?);
    breaches.extend(documents::check()?);
    breaches.extend(registries::check(&files)?);
    breaches.extend(licences()?);
    if breaches.is_empty() {
        println!("tidy: {} files are as they should be", files.len());
        return Ok(());
    }
    breaches.sort();
    for breach in &breaches {
        eprintln!("{breach}");
    }
    bail!("tidy: {} to mend", breaches.len());
}

/// The repository's files, with those not yet added; not those that are ignored.
fn files() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("git does not start")?;
    if !output.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let names = String::from_utf8(output.stdout).context("a file's name is not UTF-8")?;
    // A file that was removed but whose removal is not committed is listed too.
    Ok(names.split_terminator('\0').map(PathBuf::from).filter(|file| file.is_file()).collect())
}

/// `cargo deny`, where it is installed, knows licences, sources, advisories and who may use what.
fn licences() -> anyhow::Result<Vec<String>> {
    let installed = Command::new("cargo").args(["deny", "--version"]).output();
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("tidy: cargo-deny is not installed; deny.toml was not checked");
        return Ok(Vec::new());
    }
    // Advisories need the network and change by themselves, so they are another day's command.
    let output = Command::new("cargo")
        .args(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])
        .output()
        .context("cargo deny does not start")?;
    if output.status.success() {
        return Ok(Vec::new());
    }
    Ok(vec![format!("deny.toml: {}", String::from_utf8_lossy(&output.stderr).trim())])
}
