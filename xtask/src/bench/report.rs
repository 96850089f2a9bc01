//! What a run leaves: `README.md` (how it was made), `summary.md` (tables), `raw.json` (every sample) and `chart.svg`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::chart;
use super::extra::{self, Outcome};
use super::machine::Machine;
use super::measure::{Measured, Sample};
use super::peer::CONTROL;
use super::scenario::{self, Scenario};
use super::stats::{self, Row, Spread};
use super::table;

/// A whole run, as `raw.json` has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) benchmark: &'static str,
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) machine: Machine,
    /// Proxies and what they say of their version.
    #[serde(borrow)]
    pub(crate) versions: Vec<(&'static str, String)>,
    /// Proxies that were not there, and why.
    #[serde(borrow)]
    pub(crate) left_out: Vec<(&'static str, String)>,
    pub(crate) measured: Vec<Measured>,
    /// Latency and memory.
    pub(crate) outcomes: Vec<Outcome>,
}

impl Run {
    /// Write everything into a new folder `<date>-<benchmark>` under `out`; gives back its path.
    pub(crate) fn write(&self, out: &Path, json: Option<&Path>) -> Result<PathBuf> {
        let folder = table::new_folder(out, &format!("{}-{}", self.date, self.benchmark))?;
        self.write_into(&folder, json)?;
        Ok(folder)
    }

    /// Write everything into a folder, over what it has of an earlier part of the run.
    pub(crate) fn write_into(&self, folder: &Path, json: Option<&Path>) -> Result<()> {
        let raw = serde_json::to_string_pretty(self)?;
        fs::write(folder.join("raw.json"), &raw)?;
        fs::write(folder.join("summary.md"), self.summary())?;
        fs::write(folder.join("README.md"), self.readme())?;
        fs::write(folder.join("chart.svg"), chart::draw(&self.measured))?;
        if let Some(file) = json {
            fs::write(file, &raw).with_context(|| format!("{}", file.display()))?;
        }
        Ok(())
    }

    /// The run that a folder holds.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("raw.json");
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        // Names are static everywhere else, and a run is read once.
        serde_json::from_str(String::leak(text)).with_context(|| format!("{}", file.display()))
    }

    /// Joins another part of the same run: its scenarios take the place of those of the same name.
    ///
    /// # Errors
    /// It was measured on something else.
    pub(crate) fn join(&mut self, part: Self) -> Result<()> {
        ensure!(self.machine == part.machine, "the machine, its tools or the commit have changed since");
        for (name, version) in part.versions {
            match self.versions.iter().find(|(other, _)| *other == name) {
                Some((_, other)) => ensure!(*other == version, "{name} was another version: {other}"),
                None => self.versions.push((name, version)),
            }
        }
        self.command = format!("{}\n{}", self.command, part.command);
        self.left_out.retain(|(name, _)| part.left_out.iter().all(|(other, _)| other != name));
        self.left_out.extend(part.left_out);
        self.measured.retain(|old| part.measured.iter().all(|new| new.scenario != old.scenario));
        self.measured.extend(part.measured);
        self.measured.sort_by_key(|it| scenario::ALL.iter().position(|row| row.name == it.scenario));
        self.outcomes.retain(|old| part.outcomes.iter().all(|new| new.scenario != old.scenario));
        self.outcomes.extend(part.outcomes);
        self.outcomes.sort_by_key(|it| extra::ALL.iter().position(|row| row.name == it.scenario));
        Ok(())
    }

    /// The tables.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        for measured in &self.measured {
            if let Some(scenario) = scenario::find(measured.scenario) {
                write_scenario(&mut text, scenario, measured);
            }
        }
        for outcome in &self.outcomes {
            write_outcome(&mut text, outcome);
        }
        for (name, reason) in &self.left_out {
            _ = writeln!(text, "Left out: {name}: {reason}.");
        }
        text
    }

    fn readme(&self) -> String {
        let mut text = format!(
            "# {} of {}\n\n```sh\n{}\n```\n\n{}\n\n![processor time a request, as a ratio to nginx](chart.svg)\n\n",
            self.benchmark,
            self.date,
            self.command,
            "Tables: [summary.md](summary.md); every sample: [raw.json](raw.json); \
            method and settings: [benches/README.md](../../README.md)."
        );
        text.push_str(&self.machine.table());
        for (name, version) in &self.versions {
            _ = writeln!(text, "| {name} | {version} |");
        }
        for (name, reason) in &self.left_out {
            _ = writeln!(text, "| {name} | left out: {reason} |");
        }
        text
    }
}

/// Share of the core that other programs may have: more of them and caches are theirs too.
const QUIET: f64 = 0.05;

fn write_scenario(text: &mut String, scenario: &Scenario, measured: &Measured) {
    let rows = stats::rows(measured);
    let kept = measured.rounds.iter().filter(|round| round.kept).count();
    let control = Spread::of(measured.rounds.iter().map(|round| round.control_difference * 100.0).collect());
    let samples = measured.rounds.iter().flat_map(|round| &round.samples);
    let others = Spread::of(samples.map(Sample::others).collect()).map_or(0.0, |it| it.median);
    _ = writeln!(text, "## {}: {}\n", scenario.name, scenario.summary);
    if rows.is_empty() {
        _ = writeln!(text, "**No result**: the two nginx differed by more than 10 % in every round.\n");
    } else {
        let mut cells: Vec<Vec<String>> = vec![COLUMNS.iter().map(|&heading| heading.to_owned()).collect()];
        cells.extend(rows.iter().map(|row| cells_of(row, scenario)));
        table::write(text, &cells);
    }
    if let Some(control) = control {
        let rounds = measured.rounds.len();
        _ = writeln!(
            text,
            "{kept} of {rounds} rounds kept; the two nginx differ by {:.1} % (median; {:.1}–{:.1}); other programs had {:.0} % of the \
             proxy's core (median).",
            control.median,
            control.least,
            control.most,
            others * 100.0
        );
        if others > QUIET || kept * 2 < rounds {
            _ = writeln!(text, "**Not to be quoted**: the machine was not quiet.");
        }
    }
    for row in rows.iter().filter(|row| row.errors > 0) {
        _ = writeln!(
            text,
            "**Not valid: {}** had {} bad answers or broken connections.",
            row.proxy, row.errors
        );
    }
    for (name, missing) in measured.missing_work.iter().filter(|(name, _)| *name != CONTROL) {
        _ = writeln!(text, "{name} does less: no {}.", missing.join(", no "));
    }
    for (name, reason) in &measured.failed {
        _ = writeln!(text, "Failed: {name}: {reason}.");
    }
    for it in &measured.instructions {
        _ = writeln!(
            text,
            "Instructions a request, {}: {:.0} (without the kernel's).",
            it.proxy, it.per_request
        );
    }
    for calls in &measured.system_calls {
        let by_call: Vec<String> =
            calls.by_call.iter().map(|(name, count)| format!("{name} {count:.2}")).collect();
        _ = writeln!(
            text,
            "System calls a request, {}: {:.2} ({}).",
            calls.proxy,
            calls.per_request,
            by_call.join(", ")
        );
    }
    text.push('\n');
}

const COLUMNS: &[&str] =
    &["proxy", "CPU µs/request", "÷ nginx", "spread", "goal", "requests/s", "origin conns/1000", "RSS MiB"];

fn cells_of(row: &Row, scenario: &Scenario) -> Vec<String> {
    let goal = match scenario.goal {
        Some(goal) if row.proxy == "gatewayd" => format!("≤ {goal:.2}"),
        _ => String::new(),
    };
    vec![
        row.proxy.to_owned(),
        format!("{:.2}", row.nanoseconds.median / 1000.0),
        if row.errors > 0 { "not valid".to_owned() } else { format!("{:.2}", row.ratio.median) },
        format!("{:.2}–{:.2}", row.ratio.least, row.ratio.most),
        goal,
        row.requests_per_second.map_or_else(|| "core not full".to_owned(), |rate| format!("{rate:.0}")),
        format!("{:.1}", row.origin_connections_per_thousand),
        format!("{:.1}", row.resident_kib / 1024.0),
    ]
}

fn write_outcome(text: &mut String, outcome: &Outcome) {
    let summary = extra::find(outcome.scenario).map_or("", |info| info.summary);
    _ = writeln!(text, "## {}: {summary}\n", outcome.scenario);
    let mut cells: Vec<Vec<String>> =
        vec![outcome.columns.iter().map(|&heading| heading.to_owned()).collect()];
    cells.extend_from_slice(&outcome.rows);
    table::write(text, &cells);
    for note in &outcome.notes {
        _ = writeln!(text, "{note}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_written_can_be_read_and_joined_and_keeps_the_tables_order() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../benches/runs/2026-11-20-proxy");
        let (mut run, mut part) = (Run::read(&folder).unwrap(), Run::read(&folder).unwrap());
        let before = run.summary();
        let last = run.measured.split_off(1);
        let mut first = run;
        part.measured = last;
        part.join(std::mem::replace(&mut first, Run::read(&folder).unwrap())).unwrap();
        assert_eq!(part.summary(), before);

        first.machine.commit = "another".to_owned();
        assert!(part.join(first).is_err());
    }
}
