//! The README's example as a stranger would use it: in a project of its own, outside this workspace.

#![expect(clippy::unwrap_used, reason = "a test that goes wrong fails")]

use std::fs;
use std::path::Path;
use std::process::Command;

/// The first Rust block, with the lines that rustdoc hides.
fn example() -> String {
    let readme = include_str!("../README.md");
    let block = readme.split("```rust\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_readmes_example_is_short() {
    let written = include_str!("../README.md").split("```").nth(1).unwrap();
    let lines = written.lines().skip(1).filter(|line| !line.is_empty() && !line.starts_with("# "));
    assert!(lines.count() <= 15);
}

#[test]
fn the_readmes_example_runs_in_a_project_outside_the_workspace() {
    let project = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Path::new(env!("CARGO_MANIFEST_DIR")), project.path());
    let manifest = format!(
        "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nlb-core = {{ path = '{}' }}\n",
        ours.display()
    );
    fs::write(theirs.join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(theirs.join("src")).unwrap();
    let main = format!("fn main() -> Result<(), Box<dyn std::error::Error>> {{\n{}\n}}\n", example());
    fs::write(theirs.join("src/main.rs"), main).unwrap();
    // The versions that the workspace has been tested with, which are here already: nothing is fetched.
    fs::copy(ours.join("../../Cargo.lock"), theirs.join("Cargo.lock")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline"])
        .current_dir(theirs)
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside"))
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{wrong}");
    assert!(told.starts_with("send it to 10.0.0."), "{told}{wrong}");
}
