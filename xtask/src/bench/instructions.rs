//! Instructions a request, counted by callgrind: the same from run to run, and of the program alone, without the kernel's share.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::measure::Bench;
use super::peer::{Peer, Start};
use super::ports::Ports;
use super::scenario::Scenario;
use super::{check, wrk};

/// What one proxy executed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) proxy: &'static str,
    pub(crate) per_request: f64,
    /// Requests it is the mean of.
    requests: u64,
}

/// Run the proxy under callgrind twice, under load for one second and for five: what the longer run has more of, instructions and
/// requests, is free of start and end.
pub(crate) fn count(
    bench: &Bench<'_>,
    peer: &Peer,
    scenario: &Scenario,
    ports: &mut Ports,
) -> Result<Instructions> {
    let (short, few) = run(bench, peer, scenario, 1, ports)?;
    let (long, many) = run(bench, peer, scenario, 5, ports)?;
    ensure!(many > few && long > short, "the longer run did less: {few} requests, then {many}");
    let requests = many - few;
    Ok(Instructions { proxy: peer.info.name, per_request: (long - short) as f64 / requests as f64, requests })
}

/// Instructions and requests of a whole run.
fn run(
    bench: &Bench<'_>,
    peer: &Peer,
    scenario: &Scenario,
    seconds: u64,
    ports: &mut Ports,
) -> Result<(u64, u64)> {
    let out = tempfile::tempdir_in(bench.directory)?;
    // A file a process: %p is its id.
    let file = format!("--callgrind-out-file={}/%p", out.path().display());
    let valgrind = ["valgrind", "-q", "--tool=callgrind", &file].map(str::to_owned);
    let start = Start { wrapper: &valgrind, transport: scenario.transport };
    let proxy = peer.start(&start, bench.directory, bench.origins.ports, ports, bench.interrupt)?;
    check::missing_work(scenario.transport, proxy.port, bench.interrupt)?;
    let load = wrk::run(scenario, proxy.port, seconds, bench.directory, bench.interrupt)?;
    proxy.running.end(Duration::from_secs(20), bench.interrupt)?;

    let mut instructions = 0;
    for entry in fs::read_dir(out.path())? {
        instructions += total(&fs::read_to_string(entry?.path())?).unwrap_or(0);
    }
    ensure!(instructions > 0, "callgrind has left no counts");
    Ok((instructions, load.requests))
}

/// The sum over all threads of a process.
fn total(dump: &str) -> Option<u64> {
    dump.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_from_a_dump() {
        assert_eq!(total("version: 1\nsummary: 12\nfn=(1) main\n3 4\n\ntotals: 1234\n"), Some(1234));
    }
}
