//! What a connection costs that has asked once and now waits: resident memory of the proxy with many of them, above what it had
//! before. The kernel's own memory for sockets is in no process's figure and the same for all.
//!
//! In the clear, by TLS, and as WebSockets, of which a proxy holds both sides.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::extra::Outcome;
use super::measure::Bench;
use super::peer::{Proxy, Start};
use super::ports::Ports;
use super::process::{Core, Running};
use super::scenario::{BASE, Scenario, Transport};

const CONNECTIONS: u32 = 5_000;

/// In the clear.
pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let (proxies, notes) = bench.start_all(&BASE, ports)?;
    measure(bench, "idle-memory", &proxies, notes, |proxy| open_idle(bench, proxy, &request(proxy), is_whole))
}

/// By TLS.
pub(crate) fn run_tls(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    super::certificate::make(bench.directory)?;
    let by_tls = Scenario { transport: Transport::Tls, ..BASE };
    let (proxies, notes) = bench.start_all(&by_tls, ports)?;
    measure(bench, "idle-tls", &proxies, notes, |proxy| h2load(bench, proxy))
}

/// WebSockets over which nothing passes.
pub(crate) fn run_websockets(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let backends = [ports.take()?, ports.take()?, ports.take()?];
    let switched: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    for port in backends {
        let (backend, switched) = (TcpListener::bind(("127.0.0.1", port))?, Arc::clone(&switched));
        std::thread::spawn(move || switch_all(&backend, &switched));
    }
    let (mut proxies, mut notes) = (Vec::new(), Vec::new());
    for peer in bench.proxies(Transport::Clear) {
        match peer.start(&Start::CLEAR, bench.directory, backends, ports, bench.interrupt) {
            Ok(proxy) => proxies.push(proxy),
            Err(error) => notes.push(format!("Failed: {}: {error:#}.", peer.info.name)),
        }
    }
    let upgrade = |proxy: &Proxy| {
        format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            proxy.port
        )
    };
    let is_switched = |answer: &[u8]| answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n");
    // Not every proxy's settings here let an upgrade pass; those are left out, and said to be.
    let mut switching = Vec::new();
    for proxy in proxies {
        match one(&proxy, &upgrade(&proxy), is_switched) {
            Ok(_) => switching.push(proxy),
            Err(_) => notes.push(format!("{} passes no upgrade on with these settings.", proxy.name)),
        }
    }
    measure(bench, "idle-websockets", &switching, notes, |proxy| {
        // Those of the proxy before.
        switched.lock().unwrap_or_else(PoisonError::into_inner).clear();
        open_idle(bench, proxy, &upgrade(proxy), is_switched)
    })
}

/// Memory before and with the connections that `open` makes, and that end when what it gives is dropped.
fn measure<C>(
    bench: &Bench<'_>,
    scenario: &'static str,
    proxies: &[Proxy],
    notes: Vec<String>,
    open: impl Fn(&Proxy) -> Result<C>,
) -> Result<Outcome> {
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for proxy in proxies {
        let before = proxy.running.resident_kib();
        let connections = open(proxy).with_context(|| proxy.name)?;
        bench.interrupt.sleep(Duration::from_secs(2))?;
        let after = proxy.running.resident_kib();
        drop(connections);
        let each = (after as f64 - before as f64) / f64::from(CONNECTIONS);
        eprintln!("  {scenario}: {} {each:.2} KiB", proxy.name);
        rows.push(vec![
            proxy.name.to_owned(),
            format!("{each:.2}"),
            format!("{:.1}", before as f64 / 1024.0),
            format!("{:.1}", after as f64 / 1024.0),
        ]);
        raw.push(json!({ "proxy": proxy.name, "connections": CONNECTIONS, "before_kib": before, "after_kib": after }));
    }
    Ok(Outcome {
        scenario,
        columns: vec!["proxy", "KiB a connection", "before, MiB", "with 5000, MiB"],
        rows,
        notes,
        raw: raw.into(),
    })
}

/// Switches every connection that asks to be, and keeps it.
fn switch_all(backend: &TcpListener, switched: &Mutex<Vec<TcpStream>>) {
    for mut stream in backend.incoming().flatten() {
        let mut head = [0; 4096];
        // A head of a proxy comes in one piece.
        if stream.read(&mut head).is_ok_and(|count| count > 0) {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes());
            switched.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        }
    }
}

/// h2load with connections that ask once and then wait for longer than anybody looks.
fn h2load(bench: &Bench<'_>, proxy: &Proxy) -> Result<Running> {
    let arguments = [
        "--h1".to_owned(),
        "-t1".to_owned(),
        format!("-c{CONNECTIONS}"),
        format!("-n{}", 2 * CONNECTIONS),
        "-r1000".to_owned(),
        "--rps=0.01".to_owned(),
        format!("https://127.0.0.1:{}/1k", proxy.port),
    ];
    let running =
        Running::start("h2load", Core::Load, Path::new("h2load"), &arguments, &[], bench.directory)?;
    // Five seconds of handshakes, and as much again for what else the core does.
    bench.interrupt.sleep(Duration::from_secs(12))?;
    let open = established(proxy.port)?;
    ensure!(open >= CONNECTIONS as usize, "{open} connections are open, not {CONNECTIONS}");
    Ok(running)
}

/// Connections to a local port.
fn established(port: u16) -> Result<usize> {
    // `sl local_address rem_address st …`, addresses and state in hexadecimal; 01 is ESTABLISHED.
    let to_port = format!(":{port:04X}");
    let is_open = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&to_port)) && fields.nth(1) == Some("01")
    };
    Ok(fs::read_to_string("/proc/net/tcp")?.lines().filter(|line| is_open(line)).count())
}

fn request(proxy: &Proxy) -> String {
    format!("GET /1k HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", proxy.port)
}

/// Connections that each got one whole answer.
fn open_idle(
    bench: &Bench<'_>,
    proxy: &Proxy,
    request: &str,
    is_whole: impl Fn(&[u8]) -> bool,
) -> Result<Vec<TcpStream>> {
    let mut connections = Vec::new();
    for number in 0..CONNECTIONS {
        bench.interrupt.check()?;
        let stream = one(proxy, request, &is_whole).with_context(|| {
            format!("connection {number}; the limit of open files is to be twice the connections")
        })?;
        connections.push(stream);
    }
    Ok(connections)
}

/// One such connection. The request leaves in one write: in pieces it would wait for delayed acknowledgements.
fn one(proxy: &Proxy, request: &str, is_whole: impl Fn(&[u8]) -> bool) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; 4096];
    let mut length = 0;
    while !answer.get(..length).is_some_and(&is_whole) {
        let rest = answer.get_mut(length..).filter(|rest| !rest.is_empty()).context("answer too long")?;
        let read = stream.read(rest)?;
        ensure!(read > 0, "it was closed");
        length += read;
    }
    Ok(stream)
}

/// 1 KiB of body and a head: whole as soon as a kibibyte follows the blank line.
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
