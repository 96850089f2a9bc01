//! System calls a request, counted by strace: a figure without noise, though a traced proxy is slow and so finds more ready at
//! each `epoll_wait` than an untraced one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::interrupt::Interrupt;
use super::peer::Proxy;
use super::process::{Core, Running};
use super::scenario::Scenario;
use super::wrk;

/// What one proxy called.
#[derive(Serialize, Deserialize)]
pub(crate) struct SystemCalls {
    pub(crate) proxy: &'static str,
    /// All calls a completed request.
    pub(crate) per_request: f64,
    /// The same by call, the most frequent first, those below one in a hundred requests left out.
    pub(crate) by_call: Vec<(String, f64)>,
}

/// Trace all threads of a proxy during two seconds of load.
pub(crate) fn count(
    proxy: &Proxy,
    scenario: &Scenario,
    directory: &Path,
    interrupt: &Interrupt,
) -> Result<SystemCalls> {
    let table = directory.join("strace.txt");
    let mut arguments = vec!["-c".to_owned(), "-f".to_owned(), "-o".to_owned(), table.display().to_string()];
    for pid in proxy.running.members() {
        arguments.extend(["-p".to_owned(), pid.to_string()]);
    }
    let mut strace = Running::start("strace", Core::Load, Path::new("strace"), &arguments, &[], directory)?;
    interrupt.sleep(Duration::from_millis(500))?;
    let load = wrk::run(scenario, proxy.port, 2, directory, interrupt)?;
    strace.interrupt()?;
    strace.wait(Duration::from_secs(10), interrupt)?;
    let text = fs::read_to_string(&table).context("strace wrote no table")?;
    Ok(per_request(proxy.name, &text, load.requests))
}

fn per_request(proxy: &'static str, table: &str, requests: u64) -> SystemCalls {
    // `% time  seconds  usecs/call  calls  [errors]  syscall`
    let rows = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let calls: u64 = fields.get(3)?.parse().ok()?;
        let name = *fields.last()?;
        (name != "total").then(|| (name.to_owned(), calls as f64 / requests as f64))
    });
    let mut by_call: Vec<(String, f64)> = rows.collect();
    by_call.sort_by(|a, b| b.1.total_cmp(&a.1));
    let per_request = by_call.iter().map(|(_, calls)| calls).sum();
    by_call.retain(|(_, calls)| *calls >= 0.01);
    SystemCalls { proxy, per_request, by_call }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_and_without_errors() {
        let table = "% time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ----------------\n \
                     60.00    0.046051          12      2000           writev\n \
                     40.00    0.031000          10      2500       500 recvfrom\n\
                     ------ ----------- ----------- --------- --------- ----------------\n\
                     100.00    0.077051          11      4500       500 total\n";
        let calls = per_request("nginx", table, 1000);
        assert_eq!(calls.by_call, [("recvfrom".to_owned(), 2.5), ("writev".to_owned(), 2.0)]);
        assert!((calls.per_request - 4.5).abs() < 1e-9);
    }
}
