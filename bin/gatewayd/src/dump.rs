//! `gatewayd dump`: reads what a gateway has dumped.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use anyhow::Context;
use lb_dump::{Entry, Filter, Part, Summary, export};

use crate::cli::{Dump, DumpExport, DumpShow, DumpSource, ExportForm};
use crate::{Outcome, exit};

/// Unreadable lines that are named each; the others are counted.
const NAMED: usize = 10;

/// `gatewayd dump show`, `stats` and `export`.
pub(crate) fn dump(command: &Dump) -> Outcome {
    let out = BufWriter::new(io::stdout().lock());
    let done = match command {
        Dump::Show(show) => self::show(show, out),
        Dump::Stats(stats) => self::stats(stats, out),
        Dump::Export(DumpExport { form: ExportForm::Har, source, .. }) => har(source, out),
        Dump::Export(DumpExport { form: ExportForm::Curl, source, base }) => {
            curl(source, base.as_deref(), out)
        }
    };
    match done {
        // Whoever reads has seen enough.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(is_broken_pipe) => Ok(()),
        done => Ok(done?),
    }
}

fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

fn show(show: &DumpShow, mut out: impl Write) -> anyhow::Result<()> {
    each(&show.source, |entry| match show.json {
        true => writeln!(out, "{}", serde_json::to_string(entry).unwrap_or_default()),
        false => {
            let Entry { timestamp, status_code, duration, method, rule, backend, request_id, .. } = entry;
            let target = entry.target();
            let backend = if backend.is_empty() { "-" } else { backend };
            let line = format!(
                "{timestamp} {status_code} {duration:>7} {method} {target} {rule} {backend} {request_id}"
            );
            writeln!(out, "{}", printable(&line))
        }
    })?;
    Ok(out.flush()?)
}

/// A file may hold anything: nothing of it steers the terminal.
fn printable(line: &str) -> Cow<'_, str> {
    if !line.contains(char::is_control) {
        return Cow::Borrowed(line);
    }
    let shown = line.chars().map(|letter| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    });
    Cow::Owned(shown.collect())
}

fn stats(stats: &DumpShow, mut out: impl Write) -> anyhow::Result<()> {
    let mut summary = Summary::default();
    each(&stats.source, |entry| {
        summary.add(entry);
        Ok(())
    })?;
    let summary = summary.finish();
    if stats.json {
        writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    } else {
        text(&summary, &mut out)?;
    }
    Ok(out.flush()?)
}

fn text(summary: &Summary, out: &mut impl Write) -> io::Result<()> {
    let none = "-".to_owned();
    let (first, last) = (summary.first.as_ref().unwrap_or(&none), summary.last.as_ref().unwrap_or(&none));
    writeln!(out, "{} entries from {first} to {last}\n", summary.entries)?;
    writeln!(
        out,
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "entries", "errors", "p50 ms", "p95 ms", "p99 ms", "max ms"
    )?;
    for (name, Part { entries, errors, duration_ms: d, .. }) in summary.rules.iter().chain(&summary.backends)
    {
        let (p50, p95, p99, max) = (d.p50, d.p95, d.p99, d.max);
        writeln!(
            out,
            "{entries:>9} {errors:>9} {p50:>9.1} {p95:>9.1} {p99:>9.1} {max:>9.1}  {}",
            printable(name)
        )?;
    }
    writeln!(out)?;
    summary.statuses.iter().try_for_each(|(status, entries)| writeln!(out, "{entries:>9}  {status}"))
}

fn har(source: &DumpSource, out: impl Write) -> anyhow::Result<()> {
    let mut archive = export::har::Archive::begin(out)?;
    each(source, |entry| archive.add(entry))?;
    Ok(archive.end()?)
}

fn curl(source: &DumpSource, base: Option<&str>, mut out: impl Write) -> anyhow::Result<()> {
    each(source, |entry| writeln!(out, "{}", export::curl::command(entry, base)))?;
    Ok(out.flush()?)
}

/// Does something with each entry that is meant; says at the end what could not be read.
fn each(source: &DumpSource, mut with: impl FnMut(&Entry) -> io::Result<()>) -> anyhow::Result<()> {
    let filter = Filter {
        rule: source.rule.clone(),
        backend: source.backend.clone(),
        method: source.method.clone(),
        path: source.path.clone(),
        status: source.status,
        since: source.since,
    };
    let directory = &source.directory;
    let entries = lb_dump::read(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut unreadable = 0;
    for entry in entries {
        match entry {
            Ok(entry) if filter.takes(&entry) => with(&entry)?,
            Ok(_) => {}
            Err(error) => {
                unreadable += 1;
                if unreadable <= NAMED {
                    exit::say(&format!("skipped: {error}"));
                }
            }
        }
    }
    if unreadable > NAMED {
        exit::say(&format!("skipped: {} more that are no entries", unreadable - NAMED));
    }
    Ok(())
}
