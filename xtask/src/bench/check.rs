//! One request through each proxy before it is measured: that it forwards, and which of the expected work it does not do.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::interrupt::Interrupt;
use super::scenario::Transport;

/// Fields that every proxy is to give the origin.
const FORWARDED: &[&str] =
    &["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id"];

/// Ask the origin what arrived; gives back what is missing, nothing being right. Some proxies listen before they know their rules,
/// so they have five seconds until they forward.
pub(crate) fn missing_work(transport: Transport, port: u16, interrupt: &Interrupt) -> Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let answer = match transport {
            Transport::Clear | Transport::Tcp => get(port, "/work"),
            Transport::Tls | Transport::TlsAnew | Transport::Http2 => get_by_tls(port, "/work"),
            // The origin echoes and tells nothing; that calls succeed is seen by the load generator.
            Transport::Grpc => return Ok(Vec::new()),
        };
        let answer = answer.context("it does not forward")?;
        if answer.starts_with("HTTP/1.1 200") {
            // Whoever passes connections on adds nothing to what is said on them.
            return Ok(if transport == Transport::Tcp { Vec::new() } else { missing_in(&answer) });
        }
        let status = answer.lines().next().unwrap_or_default();
        ensure!(Instant::now() < deadline, "it answers {status:?}");
        interrupt.sleep(Duration::from_millis(50))?;
    }
}

fn missing_in(answer: &str) -> Vec<String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let mut missing: Vec<String> = FORWARDED
        .iter()
        .filter(|name| {
            let line = body.lines().find_map(|line| line.strip_prefix(**name)?.strip_prefix('='));
            line.is_none_or(str::is_empty)
        })
        .map(|name| (*name).to_owned())
        .collect();
    if !head.to_ascii_lowercase().contains("\r\nx-request-id:") {
        missing.push("x-request-id in the answer".to_owned());
    }
    missing
}

/// A bare GET on a connection of its own; the whole answer as text.
pub(crate) fn get(port: u16, path: &str) -> Result<String> {
    let mut answer = Vec::new();
    get_into(port, path, &mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The same into memory that is there: what taking it costs is not the gateway's.
pub(crate) fn get_into(port: u16, path: &str, answer: &mut Vec<u8>) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request(port, path).as_bytes())?;
    stream.read_to_end(answer)?;
    Ok(())
}

/// The same by TLS 1.3.
fn get_by_tls(port: u16, path: &str) -> Result<String> {
    let address = format!("127.0.0.1:{port}");
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-tls1_3", "-connect", &address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // Held open: the proxy is to end the connection.
    let mut stdin = client.stdin.take();
    if let Some(stdin) = &mut stdin {
        stdin.write_all(request(port, path).as_bytes())?;
    }
    let answer = client.wait_with_output()?.stdout;
    drop(stdin);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn request(port: u16, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "HTTP/1.1 200 OK\r\nX-Request-ID: 1\r\n\r\n";

    #[test]
    fn all_work_done_leaves_nothing_missing() {
        let body: String = FORWARDED.iter().map(|name| format!("{name}=value\n")).collect();
        assert!(missing_in(&format!("{HEAD}{body}")).is_empty());
    }

    #[test]
    fn an_empty_field_counts_as_missing() {
        let body: String = FORWARDED
            .iter()
            .map(|name| format!("{name}={}\n", if *name == "x-real-ip" { "" } else { "v" }))
            .collect();
        assert_eq!(missing_in(&format!("{HEAD}{body}")), ["x-real-ip"]);
    }
}
