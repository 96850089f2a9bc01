//! What requests notice of a gateway with ten thousand backends and rules that is reloaded under load, and whether a
//! hundred reloads leave anything behind.
//!
//! The pool is large enough for a connection to each backend: with the usual 4096 most requests open one, and what that costs hides
//! what a reload does. Load and backends run by real-time priority, as with `open-loop`, and the gateway has a core to itself: what it does
//! beside requests competes with them, and with nothing else. In a row of its own it may have the other core, too, as where nobody pins
//! anything; there nobody has that priority, which would keep everyone else from a core, and latencies are the load's own as well.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::Serialize;

use super::due::{Answer, Answers, Load};
use super::extra::Outcome;
use super::measure::Bench;
use super::open_loop::{self, OF_LOAD, OF_ORIGINS};
use super::ports::Ports;
use super::process::{Core, Running};
use super::stats::Spread;

const BACKENDS: u32 = 10_000;
const RULES: u32 = 10_000;
/// Backends that are others in every second configuration.
const REPLACED: u32 = 1_000;
/// Share of its core that the worker is to have.
const LOAD: f64 = 0.70;
/// How near to it is near enough, and how often it is sought.
const NEAR: f64 = 0.02;
const TRIALS: usize = 4;
const IN_A_ROW: u32 = 100;
/// What latencies are also told of one by one.
const WINDOW: Duration = Duration::from_millis(100);

/// How long it is left alone between two rows.
const SETTLE: Duration = Duration::from_secs(2);

/// How long into a row its first change is: connections of the load's own are new.
const FIRST: Duration = Duration::from_secs(1);

/// Idle connections to backends.
const POOL: u32 = 12_000;

/// Which configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    First,
    /// With other backends and other weights.
    Second,
    /// With other weights alone.
    Weighted,
}

const VARIANTS: [Variant; 3] = [Variant::First, Variant::Second, Variant::Weighted];

/// What goes on beside the requests.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// On the worker's core.
    Reloads,
    /// The same, and no backend is another: none has to be connected to.
    Weights,
    /// On whatever core has time, by the same priority as everybody.
    FreeReloads,
}

const ROWS: [(&str, Beside); 4] = [
    ("nothing else", Beside::Nothing),
    ("a reload a second", Beside::Reloads),
    ("a reload of weights alone", Beside::Weights),
    ("a reload a second, on any core", Beside::FreeReloads),
];

/// One row in one round.
#[derive(Serialize)]
struct Looked {
    row: &'static str,
    /// Requests a second that were answered, and requests that got no answer of 200.
    rate: f64,
    lost: u64,
    /// Latencies of requests that were due while no change went on, and while one did.
    between: Latencies,
    during: Option<Latencies>,
    /// Share of its core that the worker used, and for which it was ready and something else had it.
    core: f64,
    waited: f64,
    /// The median and the most of each tenth of a second.
    windows_us: Vec<(f64, f64)>,
    /// When each change was asked for, in seconds since the begin, and how long it took until it was in force.
    changes: Vec<Change>,
}

/// In µs.
#[derive(Clone, Copy, Serialize)]
struct Latencies {
    p50: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    most: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Change {
    at_s: f64,
    ms: f64,
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
    config: PathBuf,
    /// As [`VARIANTS`] has them.
    variants: [String; 3],
    /// The place of the one that is in force.
    variant: AtomicUsize,
    port: u16,
    admin: u16,
    running: Running,
}

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let program = bench.peers.iter().find(|peer| peer.info.program() == "gatewayd");
    let program =
        program.context("this is about gatewayd: name it with --peer, or no peer at all")?.program();
    let (backend, backends) = start_backends(bench, ports)?;
    let gateway = Gateway::start(bench, program, backend, ports)?;
    let first = backends.run_first(OF_ORIGINS);
    let capacity = open_loop::closed_loop(bench, gateway.port, first)?;
    let time = Duration::from_secs(bench.seconds);
    let priority = first.then_some(OF_LOAD);
    let mut load = Load { port: gateway.port, rate: capacity * LOAD, time, priority };
    load.run(bench.interrupt).context("warming up")?;

    let mut looked = Vec::new();
    for round in 0..bench.rounds as usize {
        for (row, beside) in ROWS.iter().cycle().skip(round % ROWS.len()).take(ROWS.len()) {
            let is_free = *beside == Beside::FreeReloads;
            gateway.let_control_run(is_free)?;
            let first = if is_free { !backends.run_in_turn() } else { backends.run_first(OF_ORIGINS) };
            load.priority = first.then_some(OF_LOAD);
            gateway.put(Variant::First)?;
            bench.interrupt.sleep(SETTLE)?;
            load.rate = gateway.rate_at_load(load, bench)?;
            let one = look(bench, &gateway, (*row, *beside), load)?;
            eprintln!(
                "  changing round {}: {row} {}{} µs, {} lost, {:.0} % of a core, waited {:.1} %, changes {:.0?}",
                round + 1,
                one.between,
                one.during.map(|during| format!(", while changing {during}")).unwrap_or_default(),
                one.lost,
                one.core * 100.0,
                one.waited * 100.0,
                one.changes.iter().map(|change| change.ms).collect::<Vec<_>>()
            );
            looked.push(one);
        }
    }
    // Both configurations have been in force: what they need has been taken.
    let before = gateway.holds()?;
    let mut times = Vec::new();
    for _ in 0..IN_A_ROW {
        bench.interrupt.check()?;
        times.push(gateway.reload(Variant::Second)?);
    }
    bench.interrupt.sleep(Duration::from_secs(5))?;
    let after = gateway.holds()?;
    let times = Spread::of(times).context("it was reloaded")?;
    let notes = vec![
        format!(
            "{BACKENDS} backends and {RULES} rules, one worker; requests at the rate at which it has {:.0} % of its core without reloads ({:.0}/s in the end), whatever the answers do; µs. `core`: the worker's share of its core.",
            LOAD * 100.0,
            load.rate
        ),
        format!(
            "Each reload changes 100 weights and, but in the last row, replaces {REPLACED} backends. A change takes from the request for it (`POST /api/reload`) to the answer that it is in force (goal: a reload < 1000 ms, 0 lost)."
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
    Ok(Outcome {
        scenario: "changing",
        columns: vec![
            "beside requests",
            "p50",
            "while changing",
            "p95",
            "while changing",
            "p99",
            "while changing",
            "max",
            "while changing",
            "core",
            "lost",
            "changes",
            "ms a change",
            "spread",
        ],
        rows: ROWS.iter().filter_map(|(row, _)| table_row(row, &looked)).collect(),
        notes,
        raw: serde_json::to_value(&looked)?,
    })
}

fn table_row(row: &str, looked: &[Looked]) -> Option<Vec<String>> {
    let of_row = || looked.iter().filter(|one| one.row == row);
    let spread = |value: fn(&Looked) -> f64| Spread::of(of_row().map(value).collect());
    let latency = |value: fn(&Latencies) -> f64| {
        let median =
            |all: Vec<f64>| Spread::of(all).map_or("–".to_owned(), |all| format!("{:.0}", all.median));
        [
            median(of_row().map(|one| value(&one.between)).collect()),
            median(of_row().filter_map(|one| one.during.as_ref()).map(value).collect()),
        ]
    };
    let changes: Vec<f64> = of_row().flat_map(|one| one.changes.iter().map(|change| change.ms)).collect();
    let count = changes.len();
    let changes = Spread::of(changes);
    let mut cells = vec![row.to_owned()];
    cells.extend([latency(|one| one.p50), latency(|one| one.p95), latency(|one| one.p99)].concat());
    cells.extend(latency(|one| one.most));
    cells.extend([
        format!("{:.0} %", spread(|one| one.core * 100.0)?.median),
        of_row().map(|one| one.lost).sum::<u64>().to_string(),
        count.to_string(),
        changes.as_ref().map_or_else(|| "–".to_owned(), |changes| format!("{:.0}", changes.median)),
        changes.map_or_else(|| "–".to_owned(), |changes| format!("{:.0}–{:.0}", changes.least, changes.most)),
    ]);
    Some(cells)
}

fn look(
    bench: &Bench<'_>,
    gateway: &Gateway,
    (row, beside): (&'static str, Beside),
    load: Load,
) -> Result<Looked> {
    let is_over = AtomicBool::new(false);
    let before = gateway.running.cpu_time_of(is_worker);
    let began = Instant::now();
    let (answers, changes) = std::thread::scope(|scope| {
        let changes = scope.spawn(|| gateway.keep_changing(beside, began, &is_over));
        let answers = load.run(bench.interrupt);
        is_over.store(true, Ordering::Relaxed);
        let changes = changes.join().map_err(|_| anyhow::anyhow!("changing failed"))??;
        Ok::<_, anyhow::Error>((answers?, changes))
    })?;
    let (after, took) = (gateway.running.cpu_time_of(is_worker), began.elapsed());
    let share = |before: u64, after: u64| after.saturating_sub(before) as f64 / took.as_nanos() as f64;
    let late = answers.began.duration_since(began).as_secs_f64();
    let changes = changes.into_iter().map(|change| Change { at_s: change.at_s - late, ..change }).collect();
    let core = [share(before.ran, after.ran), share(before.waited, after.waited)];
    Looked::of(row, &answers, changes, core)
}

fn is_worker(thread: &str) -> bool {
    thread.starts_with("worker")
}

impl Looked {
    /// Percentiles are of what was due from the first change on.
    fn of(
        row: &'static str,
        answers: &Answers,
        changes: Vec<Change>,
        [core, waited]: [f64; 2],
    ) -> Result<Self> {
        let changing =
            |due: f64| changes.iter().any(|one| (one.at_s..one.at_s + one.ms / 1e3).contains(&due));
        let of_all = answers.all.iter().filter(|answer| answer.due >= FIRST);
        let (during, between): (Vec<&Answer>, Vec<&Answer>) =
            of_all.partition(|answer| changing(answer.due.as_secs_f64()));
        let bad = answers.all.iter().filter(|answer| !answer.good).count() as u64;
        let last = answers.all.iter().map(|answer| answer.due + answer.latency).max().unwrap_or_default();
        Ok(Self {
            row,
            rate: answers.all.len() as f64 / last.as_secs_f64(),
            lost: answers.lost + bad,
            between: Latencies::of(&between).context("too few requests for percentiles")?,
            during: Latencies::of(&during),
            core,
            waited,
            windows_us: windows(answers),
            changes,
        })
    }
}

impl Latencies {
    fn of(answers: &[&Answer]) -> Option<Self> {
        let mut all: Vec<f64> = answers.iter().map(|answer| answer.latency.as_secs_f64() * 1e6).collect();
        all.sort_by(f64::total_cmp);
        let at = |thousandths| percentile(&all, thousandths);
        let is_enough = all.len() > 1000;
        is_enough.then(|| Self { p50: at(500), p95: at(950), p99: at(990), p999: at(999), most: at(1000) })
    }
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p95, p99, most, .. } = self;
        write!(f, "p50 {p50:.0} p95 {p95:.0} p99 {p99:.0} max {most:.0}")
    }
}

fn windows(answers: &Answers) -> Vec<(f64, f64)> {
    let mut windows: Vec<Vec<f64>> = Vec::new();
    for answer in &answers.all {
        let number = (answer.due.as_micros() / WINDOW.as_micros()) as usize;
        if windows.len() <= number {
            windows.resize_with(number + 1, Vec::new);
        }
        windows.get_mut(number).into_iter().for_each(|all| all.push(answer.latency.as_secs_f64() * 1e6));
    }
    let told = windows.into_iter().map(|mut all| {
        all.sort_by(f64::total_cmp);
        (percentile(&all, 500).round(), percentile(&all, 1000).round())
    });
    told.collect()
}

fn percentile(sorted: &[f64], thousandths: usize) -> f64 {
    let place = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(0.0)
}

impl Gateway {
    fn start(bench: &Bench<'_>, program: &Path, backend: u16, ports: &mut Ports) -> Result<Self> {
        let directory = bench.directory.join("changing");
        fs::create_dir_all(&directory)?;
        let (port, admin) = (ports.take()?, ports.take()?);
        let variants = VARIANTS.map(|variant| config((port, admin), backend, variant));
        let file = directory.join("gatewayd.toml");
        fs::write(&file, &variants[0])?;
        let arguments = ["run".to_owned(), "-c".to_owned(), file.display().to_string()];
        let mut running = Running::start("gatewayd", Core::Proxy, program, &arguments, &[], &directory)?;
        running.wait_for_port(port, bench.interrupt)?;
        running.wait_for_port(admin, bench.interrupt)?;
        Ok(Self { config: file, variants, variant: AtomicUsize::new(0), port, admin, running })
    }

    /// The rate at which the worker has as much of its core as it is to have. Ends with the connections that the load wants open.
    fn rate_at_load(&self, load: Load, bench: &Bench<'_>) -> Result<f64> {
        let mut trial = Load { time: Duration::from_secs(1), ..load };
        for _ in 0..TRIALS {
            let (before, began) = (self.running.cpu_time_of(is_worker).ran, Instant::now());
            trial.run(bench.interrupt)?;
            let ran = self.running.cpu_time_of(is_worker).ran.saturating_sub(before);
            let share = ran as f64 / began.elapsed().as_nanos() as f64;
            if (share - LOAD).abs() < NEAR {
                break;
            }
            trial.rate *= LOAD / share.max(0.1);
        }
        Ok(trial.rate)
    }

    /// Makes a change a second until it is over, if this is to be.
    fn keep_changing(&self, beside: Beside, began: Instant, is_over: &AtomicBool) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let other = match beside {
            Beside::Nothing => return Ok(changes),
            Beside::Reloads | Beside::FreeReloads => Variant::Second,
            Beside::Weights => Variant::Weighted,
        };
        std::thread::sleep(FIRST);
        while !is_over.load(Ordering::Relaxed) {
            let at_s = began.elapsed().as_secs_f64();
            changes.push(Change { at_s, ms: self.reload(other)? });
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(changes)
    }

    /// Whether threads that the gateway starts beside its worker may have the other core, too: they are where its first one is.
    fn let_control_run(&self, anywhere: bool) -> Result<()> {
        let mut cores = CpuSet::new();
        cores.set(usize::from(Core::Proxy.number()));
        if anywhere {
            cores.set(usize::from(Core::Load.number()));
        }
        for pid in self.running.members() {
            let first = i32::try_from(pid).ok().and_then(Pid::from_raw).context("it has a process")?;
            sched_setaffinity(Some(first), &cores)?;
        }
        Ok(())
    }

    /// Puts this configuration in force, or the first where this one is.
    fn reload(&self, other: Variant) -> Result<f64> {
        let is_first = self.variant.load(Ordering::Relaxed) == 0;
        self.put(if is_first { other } else { Variant::First })
    }

    /// Puts a configuration in force. Asked for as `gatewayd reload` does, without a process that has to have its turn first.
    fn put(&self, variant: Variant) -> Result<f64> {
        let place = VARIANTS.iter().position(|known| *known == variant).context("it is one of them")?;
        self.variant.store(place, Ordering::Relaxed);
        fs::write(&self.config, self.variants.get(place).context("there is one of each")?)?;
        let started = Instant::now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.admin))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        stream.write_all(
            b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        ensure!(answer.starts_with("HTTP/1.1 200"), "the reload failed: {}", answer.trim());
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

/// Backends from 127.1.0.0 on, each tenth of them in the second configuration another; the load is for the last rule.
fn config((port, admin): (u16, u16), backend: u16, variant: Variant) -> String {
    let mut text = format!(
        "max_idle_conns = {POOL}\n[server]\nworkers = 1\n[[listeners]]\naddress = \"127.0.0.1:{port}\"\n[admin]\naddress = \"127.0.0.1:{admin}\"\n\
         [upstreams.fleet]\nbackends = [\n"
    );
    for number in 0..BACKENDS {
        let is_other = variant == Variant::Second && number % (BACKENDS / REPLACED) == 0;
        let place = if is_other { number + BACKENDS } else { number };
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 0).to_bits() + place);
        let weight = if variant != Variant::First && number < 100 { 2 } else { 1 };
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
        let urls = |variant| {
            let config = config((1, 2), 3, variant);
            config
                .lines()
                .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
                .filter(|word| word.ends_with(":3"))
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (one, other) = (urls(Variant::First), urls(Variant::Second));
        assert_eq!((one.len(), other.len()), (BACKENDS as usize, BACKENDS as usize));
        assert_eq!(one.difference(&other).count(), REPLACED as usize);
    }
}
