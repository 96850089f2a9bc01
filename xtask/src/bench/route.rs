//! `bench route`: what finding a rule costs among ten, a thousand and ten thousand, and compiling those. The times are those of
//! lb-router's own criterion benchmark, read from its files; that a lookup allocates nothing is a test beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use jiff::Zoned;
use serde::Serialize;

use super::machine::Machine;
use super::{Args, table};

/// One figure, as `--json` writes it.
#[derive(Serialize)]
struct Row {
    /// What the rules ask for.
    kind: String,
    /// `hit`, `miss`, `build` or `warnings`.
    what: String,
    rules: u32,
    /// Median nanoseconds, by processor time.
    ns: f64,
}

/// Rules of the benchmark for compiling.
const BUILT: u32 = 10_000;

const NOTES: &str = "Processor time of one lookup, median. Requests are drawn over all rules, so that a large table pays for its cache \
misses. A hit ends with the rewritten path; a miss is taken by no rule. `regex` begins with a text of its own, `regex-inner` holds one \
behind a class; `conditions` has five rules a path, which differ by method and header; `mixed` is the first seven by turns, over \
fifty hosts. A lookup allocates nothing (`crates/lb-router/tests/allocations.rs`).\n\n";

pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let status = Command::new("cargo")
        .args(["bench", "--quiet", "-p", "lb-router", "--bench", "route", "--", "--noplot"])
        .args(["--warm-up-time", "0.2", "--measurement-time", "0.4", "^(route|build)/"])
        .env("CRITERION_HOME", directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()?;
    ensure!(status.success(), "lb-router's benchmark failed ({status})");
    let mut rows = Vec::new();
    collect(directory.path(), &mut rows)?;
    ensure!(!rows.is_empty(), "criterion left no figures");
    rows.sort_by(|a, b| (&a.kind, &a.what, a.rules).cmp(&(&b.kind, &b.what, b.rules)));
    let text = summary(&rows);
    println!("{text}");
    let json = serde_json::to_string_pretty(&rows)? + "\n";
    if let Some(file) = &args.json {
        fs::write(file, &json).with_context(|| format!("{}", file.display()))?;
    }
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(&args.out, &format!("{date}-route"))?;
    let machine = Machine::look_up("not used".to_owned())?.table();
    let readme = format!("# Routing, {date}\n\n```sh\ncargo xtask bench route\n```\n\n{text}{machine}");
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("raw.json"), json)?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// Criterion keeps one folder a figure, with `benchmark.json` and `estimates.json` in its `new`.
fn collect(directory: &Path, rows: &mut Vec<Row>) -> Result<()> {
    let read = |file: &str| -> Option<serde_json::Value> {
        serde_json::from_str(&fs::read_to_string(directory.join("new").join(file)).ok()?).ok()
    };
    if let Some(row) =
        read("benchmark.json").zip(read("estimates.json")).and_then(|(name, it)| row(&name, &it))
    {
        rows.push(row);
    }
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, rows)?;
        }
    }
    Ok(())
}

fn row(name: &serde_json::Value, estimates: &serde_json::Value) -> Option<Row> {
    let ns = estimates.pointer("/median/point_estimate")?.as_f64()?;
    let function = name.get("function_id").and_then(serde_json::Value::as_str);
    let value = name.get("value_str")?.as_str()?;
    Some(match name.get("group_id")?.as_str()?.split_once('/') {
        Some((_, kind)) => Row {
            kind: kind.to_owned(),
            what: function.unwrap_or("hit").to_owned(),
            rules: value.parse().ok()?,
            ns,
        },
        None => Row {
            kind: value.to_owned(),
            what: if function? == "router" { "build" } else { "warnings" }.to_owned(),
            rules: BUILT,
            ns,
        },
    })
}

fn summary(rows: &[Row]) -> String {
    const COUNTS: [u32; 3] = [10, 1_000, BUILT];
    let mut kinds: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        kinds.entry(&row.kind).or_default().push(row);
    }
    let headings = [
        "rules",
        "hit of 10, ns",
        "1 000",
        "10 000",
        "miss of 10, ns",
        "1 000",
        "10 000",
        "compiling 10 000, ms",
        "warnings, ms",
    ];
    let mut cells = vec![headings.map(str::to_owned).to_vec()];
    for (kind, rows) in kinds {
        let figure = |what, count, unit: f64| {
            let row = rows.iter().find(|row| row.what == what && row.rules == count);
            row.map_or_else(|| "–".to_owned(), |row| format!("{:.1}", row.ns / unit))
        };
        let mut line = vec![kind.to_owned()];
        line.extend(
            ["hit", "miss"].into_iter().flat_map(|what| COUNTS.map(|count| figure(what, count, 1.0))),
        );
        line.extend(["build", "warnings"].map(|what| figure(what, BUILT, 1e6)));
        cells.push(line);
    }
    let mut text = String::new();
    table::write(&mut text, &cells);
    text.push_str(NOTES);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criterions_names_become_rows() {
        let estimates = serde_json::json!({ "median": { "point_estimate": 12.5 } });
        let read = |name| row(&name, &estimates).map(|row| (row.kind, row.what, row.rules));
        let hit = serde_json::json!({ "group_id": "route/exact", "function_id": null, "value_str": "1000" });
        assert_eq!(read(hit), Some(("exact".to_owned(), "hit".to_owned(), 1000)));
        let miss = serde_json::json!({ "group_id": "route/exact", "function_id": "miss", "value_str": "10" });
        assert_eq!(read(miss), Some(("exact".to_owned(), "miss".to_owned(), 10)));
        let build = serde_json::json!({ "group_id": "build", "function_id": "router", "value_str": "host" });
        assert_eq!(read(build), Some(("host".to_owned(), "build".to_owned(), BUILT)));
    }
}
