//! OpenSSL's `s_time` as the load generator of full handshakes: wrk resumes its sessions, and cannot be told not to.
//!
//! It has one connection at a time, so the proxy's core is not full; the processor time a request is what it is all the same.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::process::{Core, Running};
use super::scenario::Scenario;
use super::wrk::Count;

/// Starts what [`count`] reads the output of.
pub(super) fn start(scenario: &Scenario, port: u16, seconds: u64, directory: &Path) -> Result<Running> {
    // It writes `GET`, this, ` HTTP/1.0` and an empty line, and has no other way to send a Host.
    let page = format!("{} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nX-Rest:", scenario.path);
    let address = format!("127.0.0.1:{port}");
    let seconds = seconds.to_string();
    let arguments = ["s_time", "-new", "-tls1_3", "-connect", &address, "-www", &page, "-time", &seconds];
    let arguments = arguments.map(str::to_owned);
    Running::start("s_time", Core::Load, Path::new("openssl"), &arguments, &[], directory)
}

/// Reads `1234 connections in 3 real seconds, 1207 bytes read per connection`. It ends at its first failed connection, and knows
/// nothing of statuses: that answers have their length is seen by the caller.
pub(super) fn count(output: &str) -> Result<Count> {
    let line = output.lines().find(|line| line.contains(" real seconds, "));
    let numbers: Vec<u64> =
        line.unwrap_or_default().split(' ').filter_map(|word| word.parse().ok()).collect();
    let [requests, seconds, bytes] = *numbers.as_slice() else { None.context("s_time has not counted")? };
    Ok(Count {
        requests,
        duration_us: seconds * 1_000_000,
        bytes: bytes * requests,
        bad_status: 0,
        socket_errors: 0,
        p50_us: 0,
        p99_us: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_openssl_prints_is_read() {
        let output = "Collecting connection statistics for 1 seconds\n***\n\n\n\
            975 connections in 0.34s; 2867.65 connections/user sec, bytes read 1193400\n\
            975 connections in 2 real seconds, 1224 bytes read per connection\n";
        let count = count(output).unwrap();
        assert_eq!((count.requests, count.duration_us, count.bytes), (975, 2_000_000, 1_193_400));
    }

    #[test]
    fn a_run_that_broke_off_has_no_count() {
        assert!(count("Collecting connection statistics for 1 seconds\nERROR\n").is_err());
    }
}
