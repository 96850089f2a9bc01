//! Resident memory under steady load: what a proxy has after a while it is to keep.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::extra::Outcome;
use super::measure::Bench;
use super::ports::Ports;
use super::{scenario, wrk};

/// How often memory is looked at.
const LOOKS: u32 = 20;

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let (proxies, notes) = bench.start_all(&scenario::BASE, ports)?;
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for proxy in &proxies {
        let load = wrk::start(&scenario::BASE, proxy.port, bench.seconds, bench.directory)?;
        let step = Duration::from_secs(bench.seconds) / LOOKS;
        let started = Instant::now();
        let mut looks = Vec::new();
        for look in 1..=LOOKS {
            bench.interrupt.sleep((step * look).saturating_sub(started.elapsed()))?;
            looks.push(proxy.running.resident_kib());
        }
        let count = wrk::finish(load, &scenario::BASE, bench.seconds, bench.interrupt)?;
        let early = looks.get(1).copied().unwrap_or_default() as f64 / 1024.0;
        let end = looks.last().copied().unwrap_or_default() as f64 / 1024.0;
        eprintln!("  rss-over-time: {} {early:.1} → {end:.1} MiB", proxy.name);
        rows.push(vec![
            proxy.name.to_owned(),
            format!("{early:.1}"),
            format!("{end:.1}"),
            format!("{:+.1} %", (end / early - 1.0) * 100.0),
            count.requests.to_string(),
        ]);
        raw.push(
            json!({ "proxy": proxy.name, "seconds": bench.seconds, "resident_kib": looks, "count": count }),
        );
    }
    Ok(Outcome {
        scenario: "rss-over-time",
        columns: vec!["proxy", "after a tenth, MiB", "at the end, MiB", "change", "requests"],
        rows,
        notes,
        raw: raw.into(),
    })
}
