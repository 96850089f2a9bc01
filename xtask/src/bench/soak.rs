//! `bench soak`: mixed load with everything that goes wrong in a day, for as long as `--seconds` says; memory, descriptors and
//! connections must not grow.
//!
//! The load is moderate on purpose (some hundred requests a second): a leak a request shows in an hour, and the machine stays of
//! use to others. A backend is killed and started again every half minute.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use jiff::Zoned;
use serde::Serialize;

use super::gentle;
use super::interrupt::Interrupt;
use super::ports::Ports;
use super::scene::{Scene, connect_from};
use super::{Args, compare, table};

/// How often the gateway is looked at in an hour; shorter runs have as many looks.
const LOOKS: u32 = 60;
const RESTART_INTERVAL: Duration = Duration::from_secs(30);
/// How much the last quarter's median may lie above the second's.
const GROWTH: f64 = 1.10;

/// What the gateway was at one moment.
#[derive(Debug, Clone, Copy, Serialize)]
struct Look {
    seconds: u64,
    resident_kib: u64,
    descriptors: usize,
    /// Client connections, each of which is one task.
    connections: f64,
    requests: f64,
    processor_ms: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let program = match &args.binary {
        Some(file) => file.clone(),
        None => compare::build_gatewayd()?,
    };
    let interrupt = Interrupt::install()?;
    let directory = tempfile::Builder::new().prefix("gatewayd-soak-").tempdir()?;
    let mut ports = Ports::new();
    let listener = "header_timeout = \"2s\"\nkeep_alive_timeout = \"5s\"";
    let mut scene = Scene::start(&program, listener, "", None, directory.path(), &mut ports, &interrupt)?;
    let (stop, address) = (AtomicBool::new(false), scene.address());
    let counters: Vec<Counter> = KINDS.iter().map(|_| Counter::default()).collect();
    let looks = std::thread::scope(|scope| {
        for (kind, counter) in KINDS.iter().zip(&counters) {
            for _ in 0..kind.clients {
                let stop = &stop;
                scope.spawn(move || repeat(kind, address, counter, stop));
            }
        }
        let looks = look_on(&mut scene, Duration::from_secs(args.seconds), &interrupt);
        stop.store(true, Ordering::Relaxed);
        looks
    })?;
    // Everybody has left: what is still there is a leak.
    interrupt.sleep(Duration::from_secs(7))?;
    let left = scene.metric("gatewayd_connections_active").unwrap_or_default();
    let text = report(&looks, &counters, left);
    println!("\n{text}");
    write(args, &text, &looks)?;
    judge(&looks, left)
}

/// Something of a look that must not grow.
type Figure = fn(&Look) -> f64;

/// One way of using a gateway, well or badly.
struct Kind {
    name: &'static str,
    clients: usize,
    rest: Duration,
    once: fn(SocketAddr) -> Result<()>,
}

#[derive(Default)]
struct Counter {
    done: AtomicU64,
    /// How often each reason was met.
    failed: Mutex<BTreeMap<String, u64>>,
}

impl Counter {
    fn fail(&self, error: &anyhow::Error) {
        if let Ok(mut failed) = self.failed.lock() {
            *failed.entry(format!("{error:#}")).or_default() += 1;
        }
    }

    fn failures(&self) -> BTreeMap<String, u64> {
        self.failed.lock().map(|failed| failed.clone()).unwrap_or_default()
    }
}

const fn kind(name: &'static str, clients: usize, rest_ms: u64, once: fn(SocketAddr) -> Result<()>) -> Kind {
    Kind { name, clients, rest: Duration::from_millis(rest_ms), once }
}

const KINDS: &[Kind] = &[
    kind("ten requests on a connection", 4, 50, ten_requests),
    kind("five requests in one write", 2, 100, pipelined),
    kind("uploads of 256 KiB, with a length and in chunks", 2, 100, upload),
    kind("reset while waiting for the answer", 3, 50, abort),
    kind("reset in the middle of an upload", 2, 50, abort_upload),
    kind("half a head, then silence", 4, 200, half_head),
    kind("closed in the middle of an answer", 2, 100, close_early),
    kind("a slow reader of 1 MiB", 6, 10, slow_reader),
    kind("what is no HTTP", 1, 200, garbage),
];

fn repeat(kind: &Kind, address: SocketAddr, counter: &Counter, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match (kind.once)(address) {
            Ok(()) => _ = counter.done.fetch_add(1, Ordering::Relaxed),
            Err(error) => counter.fail(&error),
        }
        std::thread::sleep(kind.rest);
    }
}

fn look_on(scene: &mut Scene, time: Duration, interrupt: &Interrupt) -> Result<Vec<Look>> {
    let started = Instant::now();
    let (mut looks, mut restarted) = (Vec::new(), Instant::now());
    let interval = (time / LOOKS).max(Duration::from_secs(1));
    while started.elapsed() < time {
        interrupt.sleep(interval)?;
        if restarted.elapsed() >= RESTART_INTERVAL {
            scene.restart_backend(1, interrupt)?;
            restarted = Instant::now();
        }
        let look = Look {
            seconds: started.elapsed().as_secs(),
            resident_kib: scene.gateway.resident_kib(),
            descriptors: scene.descriptors(),
            connections: scene.metric("gatewayd_connections_active").unwrap_or_default(),
            requests: scene.metric("gatewayd_requests_total").unwrap_or_default(),
            processor_ms: scene.gateway.cpu_time().ran / 1_000_000,
        };
        eprintln!(
            "  {} s: {} KiB, {} descriptors, {} connections, {} requests",
            look.seconds, look.resident_kib, look.descriptors, look.connections, look.requests
        );
        looks.push(look);
    }
    Ok(looks)
}

fn ten_requests(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    for _ in 0..10 {
        stream.write_all(b"GET /soak?bytes=1024 HTTP/1.1\r\nHost: soak\r\n\r\n")?;
        good(gentle::read_answer(&mut stream)?)?;
    }
    Ok(())
}

fn good(status: u16) -> Result<()> {
    ensure!(status == 200, "answered {status}");
    Ok(())
}

/// The answers come one behind the other, so they are read to the end.
fn pipelined(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    let request = "GET /soak HTTP/1.1\r\nHost: soak\r\n\r\n".repeat(4);
    stream.write_all(
        format!("{request}GET /soak HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut all = String::new();
    stream.read_to_string(&mut all)?;
    let answers = all.matches("HTTP/1.1 200 ").count();
    ensure!(answers == 5, "{answers} of 5 answered");
    Ok(())
}

fn upload(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    let body = vec![b'x'; 256 << 10];
    stream.write_all(
        format!("POST /soak HTTP/1.1\r\nHost: soak\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
    )?;
    stream.write_all(&body)?;
    good(gentle::read_answer(&mut stream)?)?;
    stream.write_all(b"POST /soak HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    for piece in body.chunks(16 << 10) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        stream.write_all(piece)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")?;
    good(gentle::read_answer(&mut stream)?)
}

fn reset(stream: &std::net::TcpStream) -> Result<()> {
    Ok(socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}

fn abort(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    stream.write_all(b"GET /soak?delay=200ms HTTP/1.1\r\nHost: soak\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(20));
    reset(&stream)
}

fn abort_upload(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    stream.write_all(b"POST /soak HTTP/1.1\r\nHost: soak\r\nContent-Length: 1000000\r\n\r\n")?;
    stream.write_all(&vec![b'x'; 64 << 10])?;
    std::thread::sleep(Duration::from_millis(20));
    reset(&stream)
}

/// The gateway has the last word: 408, or nothing.
fn half_head(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    stream.write_all(b"GET /soak HTTP/1.1\r\nHost: soak\r\nX-Half: ")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn close_early(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, Some(16 << 10))?;
    stream.write_all(b"GET /soak?bytes=4194304 HTTP/1.1\r\nHost: soak\r\n\r\n")?;
    stream.read_exact(&mut [0; 10_000])?;
    Ok(())
}

fn slow_reader(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, Some(16 << 10))?;
    stream.write_all(b"GET /soak?bytes=1048576 HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")?;
    let mut piece = [0; 32 << 10];
    while stream.read(&mut piece)? > 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn garbage(address: SocketAddr) -> Result<()> {
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, address, None)?;
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The medians of the second and the last quarter: the first is for warming up.
fn quarters(looks: &[Look], value: impl Fn(&Look) -> f64) -> (f64, f64) {
    let median = |part: &[Look]| {
        let mut values: Vec<f64> = part.iter().map(&value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let quarter = looks.len() / 4;
    (
        median(looks.get(quarter..quarter * 2).unwrap_or_default()),
        median(looks.get(quarter * 3..).unwrap_or_default()),
    )
}

fn report(looks: &[Look], counters: &[Counter], left: f64) -> String {
    let mut text = String::new();
    let mut rows = vec![["", "second quarter", "last quarter", "change"].map(str::to_owned).to_vec()];
    let figures: [(&str, Figure); 3] = [
        ("resident memory, MiB", |look| look.resident_kib as f64 / 1024.0),
        ("descriptors", |look| look.descriptors as f64),
        ("client connections (tasks)", |look| look.connections),
    ];
    for (name, value) in figures {
        let (early, late) = quarters(looks, value);
        let change = format!("{:+.1} %", (late / early.max(1e-9) - 1.0) * 100.0);
        rows.push(vec![name.to_owned(), format!("{early:.1}"), format!("{late:.1}"), change]);
    }
    table::write(&mut text, &rows);
    _ = writeln!(
        text,
        "Client connections seven seconds after everybody left: {left} (the one that asks is one).\n"
    );
    let mut rows = vec![["what clients did", "done", "failed", "why"].map(str::to_owned).to_vec()];
    for (kind, counter) in KINDS.iter().zip(counters) {
        let failures = counter.failures();
        let why: Vec<String> = failures.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        rows.push(vec![
            kind.name.to_owned(),
            counter.done.load(Ordering::Relaxed).to_string(),
            failures.values().sum::<u64>().to_string(),
            why.join("; "),
        ]);
    }
    table::write(&mut text, &rows);
    let mut rows = vec![
        ["seconds", "MiB", "descriptors", "connections", "requests", "core, %"].map(str::to_owned).to_vec(),
    ];
    let mut before = None;
    for look in looks {
        let busy = before.map_or(0.0, |before: Look| {
            (look.processor_ms - before.processor_ms) as f64
                / (look.seconds - before.seconds).max(1) as f64
                / 10.0
        });
        rows.push(vec![
            look.seconds.to_string(),
            format!("{:.1}", look.resident_kib as f64 / 1024.0),
            look.descriptors.to_string(),
            look.connections.to_string(),
            look.requests.to_string(),
            format!("{busy:.0}"),
        ]);
        before = Some(*look);
    }
    table::write(&mut text, &rows);
    text
}

fn write(args: &Args, text: &str, looks: &[Look]) -> Result<()> {
    let date = Zoned::now().strftime("%Y-%m-%d").to_string();
    let folder = table::new_folder(&args.out, &format!("{date}-soak"))?;
    let machine = super::machine::Machine::look_up(String::new())?.table();
    let readme = format!(
        "# Soak, {date}\n\n```sh\ncargo xtask bench soak --seconds {}\n```\n\n{text}{machine}",
        args.seconds
    );
    fs::write(folder.join("README.md"), readme)?;
    fs::write(folder.join("raw.json"), serde_json::to_string_pretty(looks)? + "\n")?;
    eprintln!("written to {}", folder.display());
    Ok(())
}

/// Too short a run says nothing, and is not judged.
fn judge(looks: &[Look], left: f64) -> Result<()> {
    if looks.len() < 20 {
        return Ok(());
    }
    let (early, late) = quarters(looks, |look| look.resident_kib as f64);
    if late > early * GROWTH && late - early > 4096.0 {
        bail!("resident memory grew from {early:.0} to {late:.0} KiB");
    }
    let (early, late) = quarters(looks, |look| look.descriptors as f64);
    if late > early * GROWTH + 8.0 {
        bail!("descriptors grew from {early:.0} to {late:.0}");
    }
    ensure!(left <= 2.0, "{left} client connections were left when everybody had gone");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_between_the_second_and_the_last_quarter_is_found() {
        let look = |seconds, resident_kib| Look {
            seconds,
            resident_kib,
            descriptors: 100,
            connections: 20.0,
            requests: 0.0,
            processor_ms: 0,
        };
        let flat: Vec<Look> = (0..40).map(|n| look(n, 20_000 + n % 3)).collect();
        assert!(judge(&flat, 1.0).is_ok());
        assert!(judge(&flat, 9.0).is_err(), "connections were left");
        let grows: Vec<Look> = (0..40).map(|n| look(n, 20_000 + n * 500)).collect();
        assert!(judge(&grows, 1.0).is_err());
    }
}
