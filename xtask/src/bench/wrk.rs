//! wrk as the load generator: a script made from the scenario's row, and what it counted.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::interrupt::Interrupt;
use super::process::{Core, Running};
use super::scenario::{Scenario, Transport, Upload};
use super::{full_handshakes, h2load};

/// What wrk counted in one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Completed requests.
    pub(crate) requests: u64,
    /// Length of the run.
    pub(crate) duration_us: u64,
    /// Bytes received, heads included.
    pub(crate) bytes: u64,
    /// Answers with a status of 400 or more.
    pub(crate) bad_status: u64,
    /// Connect, read, write and time-out errors.
    pub(crate) socket_errors: u64,
    /// Closed loop: says little of latency under a given load, kept as a hint.
    pub(crate) p50_us: u64,
    /// As `p50_us`.
    pub(crate) p99_us: u64,
}

/// Run one thread of wrk against `port` for `seconds`.
pub(crate) fn run(
    scenario: &Scenario,
    port: u16,
    seconds: u64,
    directory: &Path,
    interrupt: &Interrupt,
) -> Result<Count> {
    finish(start(scenario, port, seconds, directory)?, scenario, seconds, interrupt)
}

/// Start what [`finish`] waits for.
pub(crate) fn start(scenario: &Scenario, port: u16, seconds: u64, directory: &Path) -> Result<Running> {
    let scheme = match scenario.transport {
        Transport::Clear | Transport::Tcp => "http",
        Transport::Tls => "https",
        Transport::TlsAnew => return full_handshakes::start(scenario, port, seconds, directory),
        Transport::Http2 | Transport::Grpc => return h2load::start(scenario, port, seconds, directory),
    };
    let file = directory.join(format!("{}.lua", scenario.name));
    fs::write(&file, script(scenario, port))?;
    let arguments = [
        "-t1".to_owned(),
        format!("-c{}", scenario.connections),
        format!("-d{seconds}s"),
        "--timeout=10s".to_owned(),
        format!("-s{}", file.display()),
        format!("{scheme}://127.0.0.1:{port}{}", scenario.path),
    ];
    Running::start("wrk", Core::Load, Path::new("wrk"), &arguments, &[], directory)
}

/// Its output goes to a file, which may have been cut off.
fn unfinished(output: &str) -> String {
    let said = if output.trim().is_empty() { "nothing" } else { output.trim() };
    format!("wrk has not printed its count; is there room on the disk that the run is on? It said: {said}")
}

/// Wait for wrk and read what it counted.
pub(crate) fn finish(
    wrk: Running,
    scenario: &Scenario,
    seconds: u64,
    interrupt: &Interrupt,
) -> Result<Count> {
    let output = wrk.output(Duration::from_secs(seconds + 15), interrupt)?;
    let count = match scenario.transport {
        Transport::TlsAnew => full_handshakes::count(&output)?,
        Transport::Http2 | Transport::Grpc => h2load::count(&output, seconds)?,
        Transport::Clear | Transport::Tls | Transport::Tcp => {
            let line = output.lines().find_map(|line| line.strip_prefix("count "));
            serde_json::from_str::<Count>(line.with_context(|| unfinished(&output))?)?
        }
    };
    ensure!(count.requests > 0, "the load completed no request in {seconds} s");
    let answer = count.bytes / count.requests;
    ensure!(answer >= scenario.answer_bytes, "answers are not whole: {answer} bytes on average");
    Ok(count)
}

/// The scenario as a wrk script. Requests are made once, before the run, and sent as they are.
fn script(scenario: &Scenario, port: u16) -> String {
    let mut lua = String::new();
    let mut fields = String::new();
    for (name, value) in scenario.headers {
        _ = writeln!(lua, "wrk.headers[{name:?}] = {value:?}");
        _ = write!(fields, "{name}: {value}\r\n");
    }
    match scenario.upload {
        Upload::None => {}
        Upload::Bytes(bytes) => {
            _ = writeln!(lua, "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", {bytes})");
        }
        Upload::Chunks { chunk_bytes, count } => {
            let head = format!(
                "POST {} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}Transfer-Encoding: chunked\r\n\r\n",
                scenario.path
            );
            _ = write!(
                lua,
                "local chunk = \"{chunk_bytes:x}\\r\\n\" .. string.rep(\"x\", {chunk_bytes}) .. \"\\r\\n\"\n\
                 local raw = {head:?} .. string.rep(chunk, {count}) .. \"0\\r\\n\\r\\n\"\n\
                 function request() return raw end\n"
            );
        }
    }
    lua.push_str(DONE);
    lua
}

/// Prints what was counted as one line of JSON.
const DONE: &str = r#"
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'count {"requests":%d,"duration_us":%d,"bytes":%d,"bad_status":%d,"socket_errors":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::scenario;

    #[test]
    fn a_chunked_upload_is_framed_by_hand() {
        let scenario = scenario::ALL.iter().find(|scenario| scenario.name == "post-chunked").unwrap();
        let lua = script(scenario, 20_000);
        assert!(
            lua.contains(r#""POST /upload HTTP/1.1\r\nHost: 127.0.0.1:20000\r\nTransfer-Encoding"#),
            "{lua}"
        );
        assert!(lua.contains(r#"local chunk = "1000\r\n""#), "{lua}");
    }
}
