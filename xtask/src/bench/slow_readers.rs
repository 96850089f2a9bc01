//! Clients that ask for much and read little: what the proxy holds for each, and what others notice of them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::extra::Outcome;
use super::measure::Bench;
use super::peer::Proxy;
use super::ports::Ports;
use super::scenario::{self, Scenario};
use super::wrk;

const READERS: u32 = 50;
/// What each reads ten times a second: an answer outlasts every run.
const READ_BYTES: usize = 4096;

/// The quick clients beside them.
const QUICK: Scenario = Scenario { name: "quick", connections: 8, ..scenario::BASE };

pub(crate) fn run(bench: &Bench<'_>, ports: &mut Ports) -> Result<Outcome> {
    let (proxies, notes) = bench.start_all(&scenario::BASE, ports)?;
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for proxy in &proxies {
        let seconds = bench.seconds.min(10);
        let alone = wrk::run(&QUICK, proxy.port, seconds, bench.directory, bench.interrupt)?;
        let before = proxy.running.resident_kib();
        let mut readers = open_readers(proxy)?;
        let stop = AtomicBool::new(false);
        let (beside, during) = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    read_a_little(&mut readers);
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            // Until every buffer is full.
            let settled = bench.interrupt.sleep(Duration::from_secs(3));
            let beside = wrk::run(&QUICK, proxy.port, seconds, bench.directory, bench.interrupt);
            let during = proxy.running.resident_kib();
            stop.store(true, Ordering::Relaxed);
            (settled.and(beside), during)
        });
        let beside = beside?;
        let each = (during as f64 - before as f64) / f64::from(READERS);
        eprintln!(
            "  slow-readers: {} {each:.1} KiB each, p99 {} → {} µs",
            proxy.name, alone.p99_us, beside.p99_us
        );
        rows.push(vec![
            proxy.name.to_owned(),
            format!("{each:.1}"),
            alone.p99_us.to_string(),
            beside.p99_us.to_string(),
            (beside.bad_status + beside.socket_errors).to_string(),
        ]);
        raw.push(json!({ "proxy": proxy.name, "before_kib": before, "during_kib": during, "alone": alone, "beside": beside }));
    }
    Ok(Outcome {
        scenario: "slow-readers",
        columns: vec!["proxy", "KiB a slow reader", "p99 without", "p99 beside them", "errors"],
        rows,
        notes,
        raw: raw.into(),
    })
}

/// Each has asked for 16 MiB, more than the kernel's send buffer grows to, and has a small receive buffer: the answer has to wait
/// in the proxy, or the proxy has to let the origin wait.
fn open_readers(proxy: &Proxy) -> Result<Vec<TcpStream>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, proxy.port));
    let open = |_| -> Result<TcpStream> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        // The window that is announced follows from it, so it is set before the connection is made.
        socket.set_recv_buffer_size(16 * 1024)?;
        socket.connect(&address.into())?;
        let mut stream = TcpStream::from(socket);
        stream.write_all(format!("GET /16m HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    (0..READERS).map(open).collect()
}

/// What has not arrived yet is asked for the next time.
fn read_a_little(readers: &mut [TcpStream]) {
    let mut buffer = [0; READ_BYTES];
    for reader in readers {
        drop(reader.read(&mut buffer));
    }
}
