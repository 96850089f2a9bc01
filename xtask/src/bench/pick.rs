//! `bench pick`: what one choice costs. The times are those of lb-core's own criterion benchmark, read from its files; allocations
//! are counted by `benches/allocations.rs`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use super::{Args, table};

/// One figure, as `--json` writes it.
#[derive(Serialize)]
struct Row {
    strategy: String,
    backends: u32,
    threads: u32,
    /// Median nanoseconds: of the strategy's pick alone on one thread, of acquire and drop on several at once.
    ns: f64,
    /// Allocations from acquire to drop.
    allocs: f64,
    /// Median nanoseconds from acquire to drop on one thread alone, by the wall clock, of the row of one thread and as many
    /// backends as the rows of several have: what those are to be held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    round_ns: Option<f64>,
    /// Median nanoseconds of what the strategy does as a request ends, where it learns from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    learn_ns: Option<f64>,
}

/// All that was measured.
struct Figures {
    rows: Vec<Row>,
    /// Median nanoseconds of what precedes every pick: the request's instant becomes a number.
    context_ns: f64,
}

/// What `benches/allocations.rs` prints.
#[derive(Deserialize)]
struct Allocations {
    strategy: String,
    backends: u32,
    allocs: f64,
}

/// Backends of the benchmark on several threads.
const BACKENDS_OF_THREADS: u32 = 100;

pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let allocations = allocations()?;
    let status =
        cargo(&["-p", "lb-core", "--bench", "pick", "--", "--noplot", "^(pick|threads|learn|context)/"])
            .env("CRITERION_HOME", directory.path())
            .stdout(Stdio::null())
            .status()?;
    ensure!(status.success(), "lb-core's benchmark failed ({status})");
    let figures = read(directory.path(), &allocations)?;
    ensure!(!figures.rows.is_empty(), "criterion left no figures");

    let text = summary(&figures);
    println!("{text}");

    let json = serde_json::to_string_pretty(&figures.rows)?;
    if let Some(file) = &args.json {
        fs::write(file, &json).with_context(|| format!("{}", file.display()))?;
    }
    write_folder(&args.out, &text, &json)
}

/// What the Go programs that this project began from take for a choice among three: nanoseconds and allocations.
const SEEDS: &[(&str, f64, u32)] = &[
    ("round_robin", 229.2, 5),
    ("random", 233.6, 5),
    ("least_connections", 318.9, 5),
    ("ip_hash", 271.7, 6),
    ("weighted_round_robin", 394.5, 5),
];

fn summary(figures: &Figures) -> String {
    let rows = &figures.rows;
    let mut text = String::new();
    let headings =
        ["strategy", "backends", "threads", "ns", "allocations", "seeds' ns", "seeds' allocations", "times"];
    let mut cells = vec![headings.map(str::to_owned).to_vec()];
    cells.extend(rows.iter().map(|row| {
        let Row { strategy, backends, threads, ns, allocs, .. } = row;
        let seed = SEEDS.iter().find(|seed| seed.0 == strategy && (*backends, *threads) == (3, 1));
        let seed = seed.map_or_else(Default::default, |(_, theirs, allocs)| {
            [format!("{theirs}"), allocs.to_string(), format!("{:.0}", theirs / ns)]
        });
        let ours = [
            strategy.clone(),
            backends.to_string(),
            threads.to_string(),
            format!("{ns:.1}"),
            allocs.to_string(),
        ];
        ours.into_iter().chain(seed).collect()
    }));
    table::write(&mut text, &cells);
    text.push_str(NOTES);
    table::write(&mut text, &lessons(rows));
    _ = writeln!(
        text,
        "Before a pick the request's instant becomes a number, once for all its picks: {:.1} ns.\n",
        figures.context_ns
    );
    table::write(&mut text, &rounds(rows));
    text.push_str(LOSSES);
    text
}

/// What those that learn do as a request ends.
fn lessons(rows: &[Row]) -> Vec<Vec<String>> {
    let headings = ["learning from an answer, ns", "3", "100", "10000 backends"];
    let mut cells = vec![headings.map(str::to_owned).to_vec()];
    for row in rows.iter().filter_map(|row| Some((row, row.learn_ns?))) {
        let figure = format!("{:.1}", row.1);
        match cells.last_mut() {
            Some(last) if last.first() == Some(&row.0.strategy) => last.push(figure),
            _ => cells.push(vec![row.0.strategy.clone(), figure]),
        }
    }
    cells
}

/// The round on one, two and sixteen threads, and what the second thread costs the first.
fn rounds(rows: &[Row]) -> Vec<Vec<String>> {
    let headings = ["acquire to drop, ns", "1 thread", "2 threads", "16 threads", "2 ÷ 1"];
    let mut cells = vec![headings.map(str::to_owned).to_vec()];
    for (strategy, one) in rows.iter().filter_map(|row| Some((&row.strategy, row.round_ns?))) {
        let of = |threads| {
            rows.iter().find(|row| row.strategy == *strategy && row.threads == threads).map(|row| row.ns)
        };
        let (Some(two), Some(sixteen)) = (of(2), of(16)) else { continue };
        let figures = [one, two, sixteen].map(|ns| format!("{ns:.1}"));
        cells.push(
            [strategy.clone()].into_iter().chain(figures).chain([format!("{:.1}", two / one)]).collect(),
        );
    }
    cells
}

const NOTES: &str = "One thread: the strategy's pick, processor time. Several: acquire to drop on each at once, wall clock, for \
100 backends; it includes the reservation, the counters and two reference counts.\n\n\
The seeds' figures were measured elsewhere, over three backends: factors are rough.\n\n";

const LOSSES: &str = "No lock is taken from acquire to drop, so what is left for the second thread to cost the first is moving cache \
lines between cores. Lines that every round of every thread writes, whatever backend it chose: the turn of a rotation; the \
selection's reference count where the strategy learns; the counts side by side, sixteen to a line, where it scans; the pool of \
`prequal`. Lines that two threads write only when they chose the same of 100 backends at the same time: that one's counters and its \
reference count. So `random` and the hashing strategies lose least, rotations one line's moving, and those that scan or learn two \
or three. `least_response_time` has learnt nothing here, so that each round is a search for one to try. Sixteen threads on fewer cores take their turns: their figure is the time of a round times the threads a core.\n";

fn write_folder(out: &Path, summary: &str, json: &str) -> Result<()> {
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(out, &format!("{date}-pick"))?;
    let machine = Machine::look_up("not used".to_owned())?.table();
    let readme = format!(
        "# pick of {date}\n\n```sh\ncargo xtask bench pick\n```\n\nTable: [summary.md](summary.md); as data: [raw.json](raw.json).\n\n{machine}"
    );
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("summary.md"), summary)?;
    fs::write(folder.join("raw.json"), json)?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// Counts do not depend on the profile, and the development one is already built.
fn allocations() -> Result<HashMap<(String, u32), f64>> {
    let output = cargo(&["-p", "xtask", "--bench", "allocations", "--profile", "dev"]).output()?;
    ensure!(output.status.success(), "benches/allocations.rs failed ({})", output.status);
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| {
            let Allocations { strategy, backends, allocs } = serde_json::from_str(line)?;
            Ok(((strategy, backends), allocs))
        })
        .collect()
}

/// Criterion keeps one folder a figure: `<group>/<parameter>/new/{benchmark,estimates}.json`.
fn read(directory: &Path, allocations: &HashMap<(String, u32), f64>) -> Result<Figures> {
    let (mut rows, mut rounds, mut lessons) = (Vec::new(), HashMap::new(), HashMap::new());
    let mut context_ns = None;
    for parameter in
        folders(directory)?.iter().map(|group| folders(group)).collect::<Result<Vec<_>>>()?.concat()
    {
        let Some((name, value)) = json(&parameter, "benchmark.json").and_then(|it| name_of(&it)) else {
            continue;
        };
        let estimates = json(&parameter, "estimates.json").context("a figure without estimates")?;
        let ns = estimates.pointer("/median/point_estimate").and_then(serde_json::Value::as_f64);
        let ns = ns.context("a figure without a median")?;
        let Some((kind, strategy)) = name.split_once('/') else { continue };
        let strategy = strategy.to_owned();
        let (backends, threads) = match (kind, value) {
            ("pick", backends) => (backends, 1),
            ("threads", 1) => {
                rounds.insert(strategy, ns);
                continue;
            }
            ("threads", threads) => (BACKENDS_OF_THREADS, threads),
            ("learn", backends) => {
                lessons.insert((strategy, backends), ns);
                continue;
            }
            _ => {
                context_ns = Some(ns);
                continue;
            }
        };
        let allocs = allocations.get(&(strategy.clone(), backends)).copied();
        let allocs = allocs.with_context(|| format!("no allocations counted for {strategy}"))?;
        rows.push(Row { strategy, backends, threads, ns, allocs, round_ns: None, learn_ns: None });
    }
    for row in rows.iter_mut().filter(|row| row.threads == 1) {
        row.learn_ns = lessons.get(&(row.strategy.clone(), row.backends)).copied();
        if row.backends == BACKENDS_OF_THREADS {
            row.round_ns = rounds.get(&row.strategy).copied();
        }
    }
    rows.sort_by(|a, b| (&a.strategy, a.threads, a.backends).cmp(&(&b.strategy, b.threads, b.backends)));
    Ok(Figures { rows, context_ns: context_ns.context("no figure of the request's instant")? })
}

fn name_of(benchmark: &serde_json::Value) -> Option<(String, u32)> {
    let name = benchmark.get("group_id")?.as_str()?.to_owned();
    Some((name, benchmark.get("value_str")?.as_str()?.parse().ok()?))
}

fn json(parameter: &Path, file: &str) -> Option<serde_json::Value> {
    serde_json::from_str(&fs::read_to_string(parameter.join("new").join(file)).ok()?).ok()
}

fn folders(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.flatten().map(|entry| entry.path());
    Ok(entries.filter(|path| path.is_dir()).collect())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet"]).args(arguments).stderr(Stdio::inherit());
    command
}
