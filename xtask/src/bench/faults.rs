//! `bench faults`: what clients notice while backends are killed, frozen and made to misbehave. The scenarios are those of
//! `crates/lb-faults`, which the end-to-end tests play short; here they take their time, and what depends on it counts too.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Zoned;
use lb_faults::{Report, Scale, Scenario, scenario};

use super::interrupt::Interrupt;
use super::machine::Machine;
use super::{Args, compare, table};

/// The hidden command that makes this program a backend.
pub(crate) const BACKEND: &str = "fault-backend";

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.seconds > 0, "--seconds is at least 1");
    let scenarios = select(&args.scenario)?;
    let program = match &args.binary {
        Some(file) => file.clone(),
        None => compare::build_gatewayd()?,
    };
    let program = program.to_str().context("the path of gatewayd is not UTF-8")?;
    let scale = Scale { unit: Duration::from_secs(args.seconds), ..Scale::LONG };
    let interrupt = Interrupt::install()?;
    let mut reports = Vec::new();
    for scenario in scenarios {
        interrupt.check()?;
        eprintln!("  {}: {}", scenario.name, scenario.summary);
        reports.push(scenario.run(program, backend, &scale));
    }
    let summary = summary(&reports);
    println!("{summary}");
    write(args, &summary, &reports)?;
    let missed: usize = reports.iter().map(|report| report.unmet(true).len()).sum();
    if missed > 0 {
        bail!("{missed} goals were missed");
    }
    Ok(())
}

fn select(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.is_empty() {
        return Ok(scenario::ALL.iter().collect());
    }
    let find = |name: &String| {
        scenario::find(name).with_context(|| {
            let known: Vec<&str> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
            format!("no scenario `{name}`; there are {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// This program once more, as a backend.
fn backend() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap_or_default());
    command.arg(BACKEND);
    command
}

/// The table, and under it what each scenario set out to show.
fn summary(reports: &[Report]) -> String {
    let mut text = String::new();
    let mut cells = vec![COLUMNS.iter().map(|&heading| heading.to_owned()).collect()];
    cells.extend(reports.iter().map(row));
    table::write(&mut text, &cells);
    text.push_str(LEGEND);
    for report in reports {
        _ = writeln!(text, "\n## {}: {}\n", report.scenario, report.summary);
        for goal in &report.goals {
            let mark = if goal.met { "" } else { "**missed**: " };
            _ = writeln!(text, "- {mark}{}: {} (wanted {})", goal.what, goal.found, goal.wanted);
        }
        if report.honest_errors() > 0 {
            _ = writeln!(text, "\nHonest errors: {}.", errors(&report.honest, report.cut));
        }
        for example in &report.examples {
            _ = writeln!(text, "\n**{example}**");
        }
        if report.lag_p99_ms > LAG_MS {
            _ = writeln!(
                text,
                "\n**Not to be quoted**: requests were sent up to {:.0} ms late (p99); the machine was not quiet.",
                report.lag_p99_ms
            );
        }
    }
    text
}

const COLUMNS: &[&str] = &[
    "scenario",
    "sent",
    "right",
    "honest error",
    "client left",
    "lost or wrong",
    "POST twice",
    "peak in hand",
    "fault → last error",
    "back → first request",
    "p50 ms",
    "p99 ms",
    "goals",
];

const LEGEND: &str = "Sent by schedule, whatever the answers did. An honest error says what it is, or visibly breaks off. \
    Twice: received more than once by backends. Peak: requests that a backend had in hand at once, as it counted itself \
    (and what is allowed). p50 and p99: right answers over the whole scenario, from when they were due.\n";

/// A load later than this is none to measure latencies with.
const LAG_MS: f64 = 20.0;

fn row(report: &Report) -> Vec<String> {
    let millis = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.0} ms"));
    let peak = match report.limit {
        Some(limit) => format!("{} (≤ {limit})", report.peak),
        None => report.peak.to_string(),
    };
    let (met, all) = (report.goals.len() - report.unmet(true).len(), report.goals.len());
    vec![
        report.scenario.to_owned(),
        report.sent.to_string(),
        report.right.to_string(),
        report.honest_errors().to_string(),
        report.left.to_string(),
        report.lost_or_wrong.to_string(),
        report.duplicates.to_string(),
        peak,
        millis(report.fault_to_last_error_ms),
        millis(report.recovery_to_first_request_ms),
        format!("{:.1}", report.p50_ms),
        format!("{:.1}", report.p99_ms),
        if met == all { "all".to_owned() } else { format!("{met} of {all}") },
    ]
}

fn errors(honest: &BTreeMap<String, usize>, cut: usize) -> String {
    let mut parts: Vec<String> = honest.iter().map(|(code, count)| format!("{count} × {code}")).collect();
    if cut > 0 {
        parts.push(format!("{cut} × broken off in the body"));
    }
    parts.join(", ")
}

fn write(args: &Args, summary: &str, reports: &[Report]) -> Result<()> {
    let json = serde_json::to_string_pretty(reports)?;
    if let Some(file) = &args.json {
        fs::write(file, &json).with_context(|| format!("{}", file.display()))?;
    }
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(Path::new(&args.out), &format!("{date}-faults"))?;
    let machine = Machine::look_up("not used".to_owned())?.table();
    let only: String = args.scenario.iter().map(|name| format!(" --scenario {name}")).collect();
    let command = format!("cargo xtask bench faults{only} --seconds {}", args.seconds);
    let readme = format!(
        "# faults of {date}\n\n```sh\n{command}\n```\n\nTable and goals: [summary.md](summary.md); as data: [raw.json](raw.json).\n\n{machine}"
    );
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("summary.md"), summary)?;
    fs::write(folder.join("raw.json"), json)?;
    eprintln!("written to {}", folder.display());
    Ok(())
}
