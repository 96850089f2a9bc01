//! What the gateway's own features cost: it is its own measure, with as much turned off as can be, and that twice.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::check;
use super::extra::Outcome;
use super::measure::{Bench, Sample};
use super::peer::{COSTS, Proxy};
use super::ports::Ports;
use super::scenario;
use super::stats::{self, Spread};

/// A round counts where the gateway and itself differ by no more than this.
const CONTROL_LIMIT: f64 = 0.05;

/// Processor time a request to reach, as a ratio to everything off.
const GOALS: &[(&str, f64)] =
    &[("gatewayd, default", 1.03), ("gatewayd, access log", 1.08), ("gatewayd, dump", 1.35)];

/// What is written beside the requests, and the counter of what was not: a recorder that drops is cheap.
const RECORDERS: &[(&str, &str)] = &[
    ("gatewayd, access log", "gatewayd_access_log_dropped_total"),
    ("gatewayd, dump", "gatewayd_dump_dropped_total"),
];

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let gatewayd = bench.peers.iter().find(|peer| peer.info.program() == "gatewayd");
    let gatewayd = gatewayd.context("this is about gatewayd: name it with --peer, or no peer at all")?;
    let mut proxies = Vec::new();
    for info in COSTS {
        let (proxy, _) = bench.start(&gatewayd.with(info), &scenario::BASE, ports).context(info.name)?;
        proxies.push(proxy);
    }
    let mut rounds: Vec<(bool, Vec<Sample>)> = Vec::new();
    let kept = |rounds: &[(bool, Vec<Sample>)]| rounds.iter().filter(|(kept, _)| *kept).count();
    while kept(&rounds) < bench.rounds as usize && rounds.len() < bench.most_rounds() {
        let round = one_round(bench, &proxies, rounds.len())?;
        let line: Vec<String> = round.iter().map(Sample::to_string).collect();
        let difference = control_difference(&round).unwrap_or(f64::INFINITY);
        eprintln!(
            "  feature-cost round {}: {}  (control {:.1} %)",
            rounds.len() + 1,
            line.join("  "),
            difference * 100.0
        );
        rounds.push((difference <= CONTROL_LIMIT, round));
    }
    let samples: Vec<&[Sample]> =
        rounds.iter().filter(|(kept, _)| *kept).map(|(_, round)| round.as_slice()).collect();
    let rows = proxies.iter().filter_map(|proxy| row(proxy.name, &samples)).collect();
    let mut notes = Vec::new();
    for (name, metric) in RECORDERS {
        let requests: u64 = rounds
            .iter()
            .flat_map(|(_, round)| round.iter().filter(|sample| sample.proxy == *name))
            .map(|sample| sample.count.requests)
            .sum();
        let proxy = proxies.iter().find(|proxy| proxy.name == *name);
        let text = check::get(proxy.context("it was started")?.port, "/metrics")?;
        let dropped = text.lines().find_map(|line| line.strip_prefix(metric)?.trim().parse::<u64>().ok());
        notes.push(format!(
            "{}: {} of more than {requests} exchanges were dropped instead of written.",
            label(name),
            dropped.with_context(|| format!("no {metric} in its metrics"))?
        ));
    }
    let busy = Spread::of(rounds.iter().flat_map(|(_, round)| round).map(Sample::others).collect());
    notes.extend([
        "Off: no statistics by backend, no passive health, no probes. Default: all that a rule has by itself, and a probe a \
         second. The others have the default and one thing more: admin address keeps the records that `gatewayd why` tells from, dump every \
         exchange with its bodies of 1 KiB."
            .to_owned(),
        "Figures of rules and request ids are always there: what they cost is in every row.".to_owned(),
        format!(
            "{} of {} rounds kept: those in which the two that are alike differ by at most {:.0} %. Other programs had {:.0} % of \
             the core (median).",
            kept(&rounds),
            rounds.len(),
            CONTROL_LIMIT * 100.0,
            busy.map_or(0.0, |it| it.median) * 100.0
        ),
    ]);
    let raw = rounds.iter().map(|(kept, round)| json!({ "kept": kept, "samples": round })).collect();
    Ok(Outcome {
        scenario: "feature-cost",
        columns: vec!["gatewayd with", "CPU µs/request", "÷ off", "spread", "goal"],
        rows,
        notes,
        raw,
    })
}

/// Every one once, the order rotated.
fn one_round(bench: &Bench<'_>, proxies: &[Proxy], number: usize) -> Result<Vec<Sample>> {
    let turn = number % proxies.len().max(1);
    let order = proxies.iter().cycle().skip(turn).take(proxies.len());
    order.map(|proxy| bench.sample(&scenario::BASE, proxy)).collect()
}

/// The two that are alike: the first and the last row.
fn controls(round: &[Sample]) -> Option<(f64, f64)> {
    let (first, last) = (COSTS.first()?, COSTS.last()?);
    Some((stats::nanoseconds(round, first.name)?, stats::nanoseconds(round, last.name)?))
}

fn control_difference(round: &[Sample]) -> Option<f64> {
    controls(round).map(|(first, again)| (first - again).abs() / first.min(again))
}

fn row(name: &'static str, rounds: &[&[Sample]]) -> Option<Vec<String>> {
    let absolute = rounds.iter().filter_map(|round| stats::nanoseconds(round, name)).collect();
    let ratios = rounds.iter().filter_map(|round| {
        let (first, again) = controls(round)?;
        Some(stats::nanoseconds(round, name)? / f64::midpoint(first, again))
    });
    let (absolute, ratio) = (Spread::of(absolute)?, Spread::of(ratios.collect())?);
    let goal =
        GOALS.iter().find(|(of, _)| *of == name).map_or_else(String::new, |(_, goal)| format!("≤ {goal:.2}"));
    Some(vec![
        label(name).to_owned(),
        format!("{:.2}", absolute.median / 1000.0),
        format!("{:.3}", ratio.median),
        format!("{:.3}–{:.3}", ratio.least, ratio.most),
        goal,
    ])
}

fn label(name: &str) -> &str {
    name.trim_start_matches("gatewayd, ")
}
