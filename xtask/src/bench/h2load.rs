//! h2load as the load generator of HTTP/2: wrk speaks HTTP/1.1 alone.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::process::{Core, Running};
use super::scenario::{Scenario, Transport, Upload};
use super::wrk::Count;

/// Requests that a connection has under way.
const STREAMS: u32 = 8;

/// Starts what [`count`] reads the output of.
pub(super) fn start(scenario: &Scenario, port: u16, seconds: u64, directory: &Path) -> Result<Running> {
    let mut arguments = vec![
        "-t1".to_owned(),
        format!("-c{}", scenario.connections),
        format!("-m{STREAMS}"),
        format!("-D{seconds}"),
    ];
    for (name, value) in scenario.headers {
        arguments.push(format!("--header={name}: {value}"));
    }
    if let Upload::Bytes(bytes) = scenario.upload {
        let body = directory.join(format!("{}.body", scenario.name));
        fs::write(&body, message(bytes as usize))?;
        arguments.push(format!("--data={}", body.display()));
    }
    let scheme = if scenario.transport == Transport::Grpc { "http" } else { "https" };
    arguments.push(format!("{scheme}://127.0.0.1:{port}{}", scenario.path));
    Running::start("h2load", Core::Load, Path::new("h2load"), &arguments, &[], directory)
}

/// A message of gRPC of so many bytes with its prefix: not compressed, and the length of the rest.
fn message(bytes: usize) -> Vec<u8> {
    let length = u32::try_from(bytes.saturating_sub(5)).unwrap_or(0);
    let mut message = [&[0], length.to_be_bytes().as_slice()].concat();
    message.resize(bytes, b'x');
    message
}

/// Reads what h2load prints in the end.
pub(super) fn count(output: &str, seconds: u64) -> Result<Count> {
    let protocol = after(output, "Application protocol: ").unwrap_or("none");
    ensure!(protocol.starts_with("h2"), "the proxy speaks {protocol}, not HTTP/2");
    let numbers = |line: &str| -> Vec<u64> {
        line.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
    };
    let requests = after(output, "requests: ").map(numbers).unwrap_or_default();
    let [_total, _started, done, _succeeded, failed, ..] = *requests.as_slice() else {
        None.context("h2load has not counted its requests")?
    };
    // `1234 2xx, 0 3xx, 0 4xx, 0 5xx`: every second number is a class's.
    let statuses = after(output, "status codes: ").unwrap_or_default();
    let bad_status = statuses
        .split(", ")
        .filter(|part| part.ends_with("4xx") || part.ends_with("5xx"))
        .filter_map(|part| part.split(' ').next()?.parse::<u64>().ok())
        .sum();
    let bytes = after(output, "traffic: ").and_then(|line| line.split(['(', ')']).nth(1)?.parse().ok());
    Ok(Count {
        requests: done,
        duration_us: seconds * 1_000_000,
        bytes: bytes.context("h2load has not counted bytes")?,
        bad_status,
        socket_errors: failed,
        p50_us: 0,
        p99_us: 0,
    })
}

fn after<'a>(output: &'a str, start: &str) -> Option<&'a str> {
    output.lines().find_map(|line| line.strip_prefix(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Application protocol: h2\n\nfinished in 1.01s, 10484.00 req/s, 1.02MB/s\n\
        requests: 10484 total, 10500 started, 10484 done, 10484 succeeded, 3 failed, 0 errored, 0 timeout\n\
        status codes: 10480 2xx, 0 3xx, 1 4xx, 3 5xx\n\
        traffic: 1.02MB (1070148) total, 102.75KB (105220) headers (space savings 91.97%), 655.25KB (670976) data\n";

    #[test]
    fn what_h2load_prints_is_read() {
        let count = count(PRINTED, 2).unwrap();
        assert_eq!((count.requests, count.duration_us, count.bytes), (10_484, 2_000_000, 1_070_148));
        assert_eq!((count.bad_status, count.socket_errors), (4, 3));
    }

    #[test]
    fn a_proxy_that_speaks_http1_alone_is_not_measured() {
        let output = PRINTED.replace("protocol: h2", "protocol: http/1.1");
        assert!(count(&output, 2).unwrap_err().to_string().contains("http/1.1"));
    }

    #[test]
    fn a_message_has_its_length_in_front() {
        assert_eq!(message(8), [0, 0, 0, 0, 3, b'x', b'x', b'x']);
    }
}
