//! `bench lb-quality`: how well strategies balance, in virtual time. The figures are those of lb-sim's own long runs, read from what
//! they print; here they become tables, and a chart of p99 over load.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use jiff::Zoned;
use serde::{Deserialize, Serialize};

use super::lines::{self, Line, Panel};
use super::machine::Machine;
use super::{Args, table};

/// What `crates/lb-sim/benches/quality.rs` prints, a line each.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Figure {
    Theory(Theory),
    Situation(Situation),
    Ramp(Ramp),
}

#[derive(Serialize, Deserialize)]
struct Theory {
    theory: f64,
    choices: u32,
    load: f64,
    servers: u32,
    runs: u32,
    requests: u64,
    seed: u64,
    mean: f64,
    half_width: f64,
    holds: bool,
}

#[derive(Serialize, Deserialize)]
struct Situation {
    situation: String,
    summary: String,
    strategy: String,
    runs: u32,
    requests: u64,
    seed: u64,
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    slow_share: f64,
}

#[derive(Serialize, Deserialize)]
struct Ramp {
    ramp: String,
    summary: String,
    load: f64,
    strategy: String,
    runs: u32,
    requests: u64,
    seed: u64,
    mean_ms: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
}

/// Strategies drawn in the chart; what is keyed or random by design would only clutter it.
const DRAWN: &[&str] =
    &["round_robin", "random", "p2c", "least_connections", "peak_ewma", "least_response_time", "prequal"];

pub(crate) fn run(args: &Args) -> Result<()> {
    let output = Command::new("cargo")
        .args(["bench", "--quiet", "--package", "lb-sim", "--bench", "quality"])
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "lb-sim's runs failed ({})", output.status);
    let figures = String::from_utf8(output.stdout)?
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<Result<Vec<Figure>>>()?;

    let summary = summary(&figures);
    println!("{summary}");
    let raw = serde_json::to_string_pretty(&figures)?;
    if let Some(file) = &args.json {
        fs::write(file, &raw).with_context(|| format!("{}", file.display()))?;
    }
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(&args.out, &format!("{date}-lb-quality"))?;
    fs::write(folder.join("README.md"), readme(&date, &Machine::look_up("not used".to_owned())?))?;
    fs::write(folder.join("summary.md"), summary)?;
    fs::write(folder.join("raw.json"), raw)?;
    fs::write(folder.join("chart.svg"), chart(&figures))?;
    eprintln!("written to {}", folder.display());
    let disagrees =
        figures.iter().any(|figure| matches!(figure, Figure::Theory(Theory { holds: false, .. })));
    ensure!(
        !disagrees,
        "the simulator does not agree with queueing theory: no other figure is to be believed"
    );
    Ok(())
}

fn readme(date: &str, machine: &Machine) -> String {
    format!(
        "# lb-quality of {date}\n\n```sh\ncargo xtask bench lb-quality\n```\n\nTables: [summary.md](summary.md); as data: \
         [raw.json](raw.json); what is simulated: [lb-sim](../../../crates/lb-sim). Time is virtual and chance seeded: the machine \
         changes no figure.\n\n![p99 over load, a line a strategy](chart.svg)\n\n{}",
        machine.table()
    )
}

fn summary(figures: &[Figure]) -> String {
    let mut text = String::from("## theory: mean time in the system, in units of a service\n\n");
    let mut rows = vec![cells(["choices", "load", "servers", "theory", "simulated", "± (99 %)", "agrees"])];
    for figure in figures {
        let Figure::Theory(it) = figure else { continue };
        rows.push(vec![
            it.choices.to_string(),
            it.load.to_string(),
            it.servers.to_string(),
            format!("{:.2}", it.theory),
            format!("{:.2}", it.mean),
            format!("{:.2}", it.half_width),
            if it.holds { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table::write(&mut text, &rows);
    text.push_str("Theory is of infinitely many servers where choices are more than one. Runs begin in the state theory expects.\n\n");
    situations(&mut text, figures);
    ramps(&mut text, figures);
    text
}

fn situations(text: &mut String, figures: &[Figure]) {
    let all: Vec<&Situation> = figures
        .iter()
        .filter_map(|figure| if let Figure::Situation(it) = figure { Some(it) } else { None })
        .collect();
    for group in all.chunk_by(|one, other| one.situation == other.situation) {
        let Some(first) = group.first() else { continue };
        _ = writeln!(text, "## {}: {}\n", first.situation, first.summary);
        let mut rows = vec![cells(["strategy", "mean ms", "p50 ms", "p99 ms", "p99.9 ms", "% to the slow"])];
        rows.extend(group.iter().map(|it| {
            let [mean, p50, p99, p999] = [it.mean_ms, it.p50_ms, it.p99_ms, it.p999_ms].map(ms);
            vec![it.strategy.clone(), mean, p50, p99, p999, format!("{:.2}", it.slow_share * 100.0)]
        }));
        table::write(text, &rows);
    }
}

fn ramps(text: &mut String, figures: &[Figure]) {
    for group in ramp_groups(figures) {
        let Some(first) = group.first() else { continue };
        let loads: Vec<f64> =
            group.iter().filter(|it| it.strategy == first.strategy).map(|it| it.load).collect();
        for (name, value) in [("p99", (|it| it.p99_ms) as fn(&Ramp) -> f64), ("p99.9", |it| it.p999_ms)] {
            _ = writeln!(text, "## {}: {}; {name} in ms at each load\n", first.ramp, first.summary);
            let heading = std::iter::once("strategy".to_owned()).chain(loads.iter().map(f64::to_string));
            let mut rows = vec![heading.collect()];
            for line in group.chunk_by(|one, other| one.strategy == other.strategy) {
                let figures = line.iter().map(|it| ms(value(it)));
                rows.push(line.first().map(|it| it.strategy.clone()).into_iter().chain(figures).collect());
            }
            table::write(text, &rows);
        }
    }
}

fn chart(figures: &[Figure]) -> String {
    let panels = ramp_groups(figures).into_iter().map(|group| Panel {
        title: group.first().map_or_else(String::new, |it| format!("{}: {}", it.ramp, it.summary)),
        lines: DRAWN
            .iter()
            .map(|name| Line {
                name,
                points: group
                    .iter()
                    .filter(|it| it.strategy == *name)
                    .map(|it| (it.load, it.p99_ms))
                    .collect(),
            })
            .collect(),
    });
    lines::draw(&panels.collect::<Vec<_>>(), "p99 in ms, over load")
}

fn ramp_groups(figures: &[Figure]) -> Vec<Vec<&Ramp>> {
    let all: Vec<&Ramp> = figures
        .iter()
        .filter_map(|figure| if let Figure::Ramp(it) = figure { Some(it) } else { None })
        .collect();
    all.chunk_by(|one, other| one.ramp == other.ramp).map(<[_]>::to_vec).collect()
}

fn cells<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Three digits that count.
fn ms(ms: f64) -> String {
    match ms {
        _ if ms < 1.0 => format!("{ms:.3}"),
        _ if ms < 10.0 => format!("{ms:.2}"),
        _ if ms < 100.0 => format!("{ms:.1}"),
        _ => format!("{ms:.0}"),
    }
}
