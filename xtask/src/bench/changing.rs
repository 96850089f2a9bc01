//! What requests notice of a gateway with ten thousand backends and rules that is reloaded under load, and whether a
//! hundred reloads leave anything behind.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::extra::Outcome;
use super::measure::Bench;
use super::open_loop::{self, Aim, Sample};
use super::ports::Ports;
use super::process::{Core, Running};
use super::stats::Spread;

const BACKENDS: u32 = 10_000;
const RULES: u32 = 10_000;
/// Backends that are others in every second configuration.
const REPLACED: u32 = 1_000;
/// Share of the capacity that is asked for.
const LOAD: f64 = 0.70;
const IN_A_ROW: u32 = 100;

/// What goes on beside the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Reloads,
}

const ROWS: [(&str, Beside); 2] = [("nothing else", Beside::Nothing), ("a reload a second", Beside::Reloads)];

/// One row in one round.
struct Looked {
    row: &'static str,
    sample: Sample,
    /// How long each change took until it was in force.
    changes_ms: Vec<f64>,
}

/// What a process holds.
#[derive(Clone, Copy)]
struct Holds {
    resident_kib: u64,
    descriptors: usize,
    threads: usize,
}

/// The gateway and how to change it.
struct Gateway {
    program: PathBuf,
    config: PathBuf,
    variants: [String; 2],
    port: u16,
    admin: u16,
    running: Running,
}

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let program = bench.peers.iter().find(|peer| peer.info.program() == "gatewayd");
    let program =
        program.context("this is about gatewayd: name it with --peer, or no peer at all")?.program();
    let (backend, _backends) = start_backends(bench, ports)?;
    let gateway = Gateway::start(bench, program, backend, ports)?;
    let aim = |name| Aim { name, port: gateway.port, running: None, first: false };
    let capacity = open_loop::closed_loop(bench, gateway.port, false)?;
    let rate = capacity * LOAD;
    open_loop::sample(bench, aim("warming up"), rate)?;

    let mut looked = Vec::new();
    for round in 0..bench.rounds as usize {
        for (row, beside) in ROWS.iter().cycle().skip(round % ROWS.len()).take(ROWS.len()) {
            let one = look(bench, &gateway, (*row, *beside), aim(row), rate)?;
            eprintln!(
                "  changing round {}: {row} p50 {:.0} p99 {:.0} µs, {} lost, {} changes",
                round + 1,
                one.sample.p50,
                one.sample.p99,
                one.sample.lost,
                one.changes_ms.len()
            );
            looked.push(one);
        }
    }
    // Both configurations have been in force: what they need has been taken.
    let before = gateway.holds()?;
    let mut times = Vec::new();
    for number in 0..IN_A_ROW {
        bench.interrupt.check()?;
        times.push(gateway.reload(number as usize)?);
    }
    bench.interrupt.sleep(Duration::from_secs(5))?;
    let after = gateway.holds()?;
    let times = Spread::of(times).context("it was reloaded")?;
    let notes = vec![
        format!(
            "{BACKENDS} backends and {RULES} rules, one worker; {rate:.0} requests/s, {:.0} % of what it answers in a closed loop, whatever the answers do; µs.",
            LOAD * 100.0
        ),
        format!(
            "Each reload replaces {REPLACED} backends and changes 100 weights. A change takes from `gatewayd reload` to its saying that it is in force (goal: a reload < 1000 ms, 0 lost)."
        ),
        format!(
            "{IN_A_ROW} reloads in a row, {:.0} ms each ({:.0}–{:.0}): resident memory {:.1} to {:.1} MiB, descriptors {} to {}, threads {} to {}.",
            times.median,
            times.least,
            times.most,
            before.resident_kib as f64 / 1024.0,
            after.resident_kib as f64 / 1024.0,
            before.descriptors,
            after.descriptors,
            before.threads,
            after.threads
        ),
    ];
    let raw = looked
        .iter()
        .map(|one| json!({ "row": one.row, "sample": one.sample, "changes_ms": one.changes_ms }))
        .collect::<Vec<_>>();
    Ok(Outcome {
        scenario: "changing",
        columns: vec![
            "beside requests",
            "p50",
            "p99",
            "spread",
            "p99.9",
            "max",
            "lost",
            "changes",
            "ms a change",
            "spread",
        ],
        rows: ROWS.iter().filter_map(|(row, _)| table_row(row, &looked)).collect(),
        notes,
        raw: raw.into(),
    })
}

fn table_row(row: &str, looked: &[Looked]) -> Option<Vec<String>> {
    let of_row = || looked.iter().filter(|one| one.row == row);
    let spread = |value: fn(&Sample) -> f64| Spread::of(of_row().map(|one| value(&one.sample)).collect());
    let p99 = spread(|sample| sample.p99)?;
    let changes: Vec<f64> = of_row().flat_map(|one| one.changes_ms.iter().copied()).collect();
    let count = changes.len();
    let changes = Spread::of(changes);
    Some(vec![
        row.to_owned(),
        format!("{:.0}", spread(|sample| sample.p50)?.median),
        format!("{:.0}", p99.median),
        format!("{:.0}–{:.0}", p99.least, p99.most),
        format!("{:.0}", spread(|sample| sample.p999)?.median),
        format!("{:.0}", spread(|sample| sample.most)?.median),
        format!("{:.0}", of_row().map(|one| one.sample.lost).sum::<f64>()),
        count.to_string(),
        changes.as_ref().map_or_else(|| "–".to_owned(), |changes| format!("{:.0}", changes.median)),
        changes.map_or_else(|| "–".to_owned(), |changes| format!("{:.0}–{:.0}", changes.least, changes.most)),
    ])
}

fn look(
    bench: &Bench<'_>,
    gateway: &Gateway,
    (row, beside): (&'static str, Beside),
    aim: Aim<'_>,
    rate: f64,
) -> Result<Looked> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| gateway.keep_changing(beside, &is_over));
        let sample = open_loop::sample(bench, aim, rate);
        is_over.store(true, Ordering::Relaxed);
        let changes_ms = changes.join().map_err(|_| anyhow::anyhow!("changing failed"))??;
        Ok(Looked { row, sample: sample?, changes_ms })
    })
}

impl Gateway {
    fn start(bench: &Bench<'_>, program: &Path, backend: u16, ports: &mut Ports) -> Result<Self> {
        let directory = bench.directory.join("changing");
        fs::create_dir_all(&directory)?;
        let (port, admin) = (ports.take()?, ports.take()?);
        let variants = [0, REPLACED].map(|shift| config((port, admin), backend, shift));
        let file = directory.join("gatewayd.toml");
        fs::write(&file, &variants[0])?;
        let arguments = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
        let mut running = Running::start("gatewayd", Core::Proxy, program, &arguments, &[], &directory)?;
        running.wait_for_port(port, bench.interrupt)?;
        running.wait_for_port(admin, bench.interrupt)?;
        Ok(Self { program: program.to_owned(), config: file, variants, port, admin, running })
    }

    /// Makes changes until it is over; how long each took, ms.
    fn keep_changing(&self, beside: Beside, is_over: &AtomicBool) -> Result<Vec<f64>> {
        let mut times = Vec::new();
        if beside == Beside::Nothing {
            return Ok(times);
        }
        loop {
            std::thread::sleep(Duration::from_millis(500));
            if is_over.load(Ordering::Relaxed) {
                return Ok(times);
            }
            times.push(self.reload(times.len())?);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Puts the other configuration in force.
    fn reload(&self, number: usize) -> Result<f64> {
        let other = self.variants.get((number + 1) % 2).context("there are two")?;
        fs::write(&self.config, other)?;
        let started = Instant::now();
        let output = Command::new("taskset")
            .args(["-c", &Core::Load.number().to_string()])
            .arg(&self.program)
            .args(["reload", "--admin", &format!("127.0.0.1:{}", self.admin)])
            .output()?;
        ensure!(
            output.status.success(),
            "gatewayd reload failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(started.elapsed().as_secs_f64() * 1000.0)
    }

    fn holds(&self) -> Result<Holds> {
        let entries = |kind: &str| -> Result<usize> {
            let mut sum = 0;
            for pid in self.running.members() {
                sum += fs::read_dir(format!("/proc/{pid}/{kind}"))?.count();
            }
            Ok(sum)
        };
        Ok(Holds {
            resident_kib: self.running.resident_kib(),
            descriptors: entries("fd")?,
            threads: entries("task")?,
        })
    }
}

/// One nginx on all addresses of this machine.
fn start_backends(bench: &Bench<'_>, ports: &mut Ports) -> Result<(u16, Running)> {
    let port = ports.take()?;
    let directory = bench.directory.join("changing-backends");
    fs::create_dir_all(&directory)?;
    let dir = directory.display();
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let config = format!(
        "daemon off; {user} worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log crit;\n\
         events {{ worker_connections 16384; }}\n\
         http {{ access_log off; keepalive_timeout 1h; keepalive_requests 1000000000;\n\
         server {{ listen 0.0.0.0:{port}; location / {{ return 200 \"{}\"; }} }} }}\n",
        "x".repeat(1024)
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, config)?;
    let arguments = ["-p".to_owned(), dir.to_string(), "-c".to_owned(), file.display().to_string()];
    let mut nginx = Running::start("backends", Core::Load, Path::new("nginx"), &arguments, &[], &directory)?;
    nginx.wait_for_port(port, bench.interrupt)?;
    Ok((port, nginx))
}

/// Backends from 127.1.0.0 on, the last of them further up by `shift`; the load is for the last rule.
fn config((port, admin): (u16, u16), backend: u16, shift: u32) -> String {
    let mut text = format!(
        "[server]\nworkers = 1\n[[listeners]]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstreams.fleet]\nbackends = [\n"
    );
    for number in 0..BACKENDS {
        let place = if number < BACKENDS - REPLACED { number } else { number + shift };
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + place);
        let weight = if shift > 0 && number < 100 { 2 } else { 1 };
        _ = writeln!(text, "{{ url = \"{address}:{backend}\", weight = {weight} }},");
    }
    text.push_str("]\n");
    for number in 1..RULES {
        _ = writeln!(
            text,
            "[[rules]]\nname = \"r{number}\"\npath_prefix = \"/r/{number}/\"\nupstream = \"fleet\""
        );
    }
    text.push_str("[[rules]]\nname = \"all\"\nupstream = \"fleet\"\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_configuration_has_other_backends_in_the_place_of_a_tenth() {
        let urls = |shift| {
            let config = config((1, 2), 3, shift);
            config
                .lines()
                .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
                .filter(|word| word.ends_with(":3"))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (one, other) = (urls(0), urls(REPLACED));
        assert_eq!((one.len(), other.len()), (BACKENDS as usize, BACKENDS as usize));
        assert_eq!(one.difference(&other).count(), REPLACED as usize);
    }
}
