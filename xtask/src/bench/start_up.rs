//! How long a proxy takes from being started to its first answer: what a restart, a new pod or a developer waits.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::check;
use super::extra::Outcome;
use super::measure::Bench;
use super::peer::{HUNDRED_RULES, Peer, Start};
use super::ports::Ports;
use super::scenario::Transport;

/// Starts of each proxy. The first reads the program from disk and is not counted.
const STARTS: usize = 11;
/// Between two tries at asking.
const STEP: Duration = Duration::from_micros(500);
/// Longest start.
const LIMIT: Duration = Duration::from_secs(15);

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let mut peers: Vec<Peer> = Vec::new();
    for peer in bench.proxies(Transport::Clear) {
        peers.push(peer.with(peer.info));
        if peer.info.name == "gatewayd" {
            peers.push(peer.with(&HUNDRED_RULES));
        }
    }
    let (mut rows, mut raw, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for peer in &peers {
        let name = peer.info.name;
        let mut times = match starts(bench, peer, ports) {
            Ok(times) => times,
            Err(error) => {
                bench.interrupt.check()?;
                notes.push(format!("Failed: {name}: {error:#}."));
                continue;
            }
        };
        times.sort_unstable_by(f64::total_cmp);
        let [least, middle, most] = [0, times.len() / 2, times.len().saturating_sub(1)]
            .map(|at| times.get(at).copied().unwrap_or(0.0));
        eprintln!("  start-up: {name} {middle:.1} ms");
        rows.push(vec![name.to_owned(), format!("{middle:.1}"), format!("{least:.1}"), format!("{most:.1}")]);
        raw.push(json!({ "proxy": name, "milliseconds": times }));
    }
    notes.push(format!("The median of {} starts, after one that is not counted.", STARTS - 1));
    Ok(Outcome {
        scenario: "start-up",
        columns: vec!["proxy", "median, ms", "least", "most"],
        rows,
        notes,
        raw: raw.into(),
    })
}

fn starts(bench: &Bench<'_>, peer: &Peer, ports: &mut Ports) -> Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let started = Instant::now();
        let proxy = peer.launch(&Start::CLEAR, bench.directory, bench.origins.ports, ports)?;
        while !check::get(proxy.port, "/1k").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            ensure!(started.elapsed() < LIMIT, "no answer {} s after its start", LIMIT.as_secs());
            bench.interrupt.sleep(STEP)?;
        }
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(times.split_off(1))
}
