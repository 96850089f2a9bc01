//! What a figure was measured on and with.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// The machine and the tools of a run.
#[derive(PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) congestion_control: String,
    pub(crate) load_generator: String,
    pub(crate) rustc: String,
    /// The commit of this repository, with `+changes` where files differ from it.
    pub(crate) commit: String,
}

impl Machine {
    /// Look everything up; refuses a machine with fewer than two cores, for which the method does not hold.
    pub(crate) fn look_up(congestion_control: String) -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        ensure!(cores >= 2, "two processors are needed: one for the proxy, one for the load and the origins");
        let changes = first_line("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
        let commit = first_line("git", &["rev-parse", "--short=12", "HEAD"]).unwrap_or_default();
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores,
            memory_mib: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: first_line("uname", &["-sr"]).unwrap_or_default(),
            congestion_control,
            load_generator: first_line("wrk", &["-v"]).unwrap_or_default(),
            rustc: first_line("rustc", &["--version"]).unwrap_or_default(),
            commit: if changes { format!("{commit}+changes") } else { commit },
        })
    }

    /// A Markdown table of two columns, open to more rows.
    pub(crate) fn table(&self) -> String {
        let rows = [
            ("processor", format!("{}, {} cores", self.processor, self.cores)),
            ("memory", format!("{} MiB", self.memory_mib)),
            ("kernel", self.kernel.clone()),
            ("congestion control", self.congestion_control.clone()),
            ("load", self.load_generator.clone()),
            ("compiler", self.rustc.clone()),
            ("commit", self.commit.clone()),
        ];
        let rows: String = rows.iter().map(|(name, value)| format!("| {name} | {value} |\n")).collect();
        format!("| | |\n|---|---|\n{rows}")
    }
}

/// The value of the first `name : value` line of a file.
fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}
