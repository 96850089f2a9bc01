//! `cargo xtask test`: every test of the workspace on a fresh machine.
//!
//! The end-to-end tests drive real servers and tools (nginx, curl, Chromium, …). What is missing is installed where that is
//! possible, as root on Debian, and otherwise named together with the command that installs it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// What to test.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only check what the tests need, and say what is missing.
    #[arg(long)]
    check: bool,
    /// Passed on to the test runner, for instance a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// A program that tests call, and the Debian package it comes from.
const TOOLS: &[(&str, &str)] = &[
    ("chromedriver", "chromium-driver"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("dockerd", "docker.io"),
    ("etcd", "etcd-server"),
    ("h2load", "nghttp2-client"),
    ("haproxy", "haproxy"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("nghttpd", "nghttp2-server"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("openssl", "openssl"),
    ("pg_ctlcluster", "postgresql"),
    ("podman", "podman"),
    ("python3", "python3"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("runc", "runc"),
    ("wrk", "wrk"),
];

/// Check the tools, then run the tests with nextest where it is installed and with cargo otherwise.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    provide_tools()?;
    if args.check {
        println!("everything the tests need is here");
        return Ok(());
    }
    let nextest = runs("cargo", &["nextest", "--version"]);
    let mut steps = vec![if nextest { vec!["nextest", "run"] } else { vec!["test"] }];
    if nextest {
        // nextest does not run the examples in the documentation.
        steps.push(vec!["test", "--doc"]);
    }
    for step in steps {
        let status = Command::new("cargo")
            .args(&step)
            .arg("--workspace")
            .args(&args.arguments)
            .status()
            .context("cargo does not start")?;
        if !status.success() {
            bail!("cargo {} failed ({status})", step.join(" "));
        }
    }
    Ok(())
}

fn provide_tools() -> anyhow::Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let root = std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")));
    if !(root && on_path("apt-get")) {
        bail!("the tests need programs that are not here; on Debian install them with\n  sudo {install}");
    }
    println!("installing what the tests need: {}", missing.join(" "));
    let _nothing_starts = NothingStarts::from_now_on()?;
    for command in ["apt-get update -q", &install] {
        let status = Command::new("sh")
            .args(["-c", command])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .context("sh does not start")?;
        if !status.success() {
            bail!("`{command}` failed ({status})");
        }
    }
    let missing = missing_packages();
    if !missing.is_empty() {
        bail!("still missing after installation: {}", missing.join(" "));
    }
    Ok(())
}

/// Debian's packages start the servers in them unless this program, where there is one, says no. The tests start their own.
struct NothingStarts(Option<&'static Path>);

impl NothingStarts {
    fn from_now_on() -> anyhow::Result<Self> {
        let policy = Path::new("/usr/sbin/policy-rc.d");
        if policy.exists() {
            return Ok(Self(None));
        }
        // 101: the action is forbidden.
        std::fs::write(policy, "#!/bin/sh\nexit 101\n").context("cannot keep servers from starting")?;
        let ours = Self(Some(policy));
        std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755))?;
        Ok(ours)
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if let Some(policy) = self.0 {
            let _ = std::fs::remove_file(policy);
        }
    }
}

fn missing_packages() -> Vec<&'static str> {
    TOOLS.iter().filter(|(tool, _)| !on_path(tool)).map(|(_, package)| *package).collect()
}

/// Whether a program is found; `sbin` is looked at too, where Debian keeps nginx and users' paths do not reach.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}
