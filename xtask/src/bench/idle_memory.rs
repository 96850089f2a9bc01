//! What a connection costs that has asked once and now waits: resident memory of the proxy with many of them, above what it had
//! before. The kernel's own memory for sockets is in no process's figure and the same for all.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::extra::Outcome;
use super::measure::Bench;
use super::peer::Proxy;
use super::ports::Ports;

const CONNECTIONS: u32 = 5_000;

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let (proxies, notes) = bench.start_all(ports)?;
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for proxy in &proxies {
        let before = proxy.running.resident_kib();
        let connections = open_idle(bench, proxy).with_context(|| proxy.name)?;
        bench.interrupt.sleep(Duration::from_secs(2))?;
        let after = proxy.running.resident_kib();
        drop(connections);
        let each = (after as f64 - before as f64) / f64::from(CONNECTIONS);
        eprintln!("  idle-memory: {} {each:.2} KiB", proxy.name);
        rows.push(vec![
            proxy.name.to_owned(),
            format!("{each:.2}"),
            format!("{:.1}", before as f64 / 1024.0),
            format!("{:.1}", after as f64 / 1024.0),
        ]);
        raw.push(json!({ "proxy": proxy.name, "connections": CONNECTIONS, "before_kib": before, "after_kib": after }));
    }
    Ok(Outcome {
        scenario: "idle-memory",
        columns: vec!["proxy", "KiB a connection", "before, MiB", "with 5000, MiB"],
        rows,
        notes,
        raw: raw.into(),
    })
}

/// Connections that each got one whole answer.
fn open_idle(bench: &Bench<'_>, proxy: &Proxy) -> Result<Vec<TcpStream>> {
    // In one write: in pieces it would wait for delayed acknowledgements.
    let request = format!("GET /1k HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", proxy.port);
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        bench.interrupt.check()?;
        let mut stream = TcpStream::connect(("127.0.0.1", proxy.port)).with_context(|| {
            format!("connection {number}; the limit of open files is to be twice the connections")
        })?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = [0; 4096];
        let mut length = 0;
        // 1 KiB of body and a head: whole as soon as a kibibyte follows the blank line.
        while !answer.get(..length).is_some_and(is_whole) {
            let rest = answer.get_mut(length..).filter(|rest| !rest.is_empty()).context("answer too long")?;
            let read = stream.read(rest)?;
            ensure!(read > 0, "connection {number} was closed");
            length += read;
        }
        connections.push(stream);
    }
    Ok(connections)
}

fn is_whole(answer: &[u8]) -> bool {
    let blank = answer.windows(4).position(|window| window == b"\r\n\r\n");
    blank.is_some_and(|head| answer.len() >= head + 4 + 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_a_kibibyte_after_the_blank_line() {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n".to_vec();
        answer.extend([b'x'; 1023]);
        assert!(!is_whole(&answer));
        answer.push(b'x');
        assert!(is_whole(&answer));
    }
}
