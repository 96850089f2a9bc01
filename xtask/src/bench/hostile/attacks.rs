//! The attacks, one row each.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::bench::scene::connect_from;

/// One attack: what it does, what holds it, and the doing; it goes on until told to stop, and says what it saw.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) bound: &'static str,
    pub(super) files: Option<u32>,
    pub(super) run: fn(SocketAddr, &AtomicBool) -> Result<String>,
}

const fn attack(
    name: &'static str,
    what: &'static str,
    bound: &'static str,
    run: fn(SocketAddr, &AtomicBool) -> Result<String>,
) -> Attack {
    Attack { name, what, bound, files: None, run }
}

pub(super) const ALL: &[Attack] = &[
    attack("slow-head", "1000 heads, a byte a second", "header_timeout = 10s", slow_head),
    attack("slow-body", "500 uploads, a byte a second", "idle_timeout = 60s, min_rate", slow_body),
    attack(
        "slow-read",
        "200 answers of 16 MiB, 10 bytes a second",
        "idle_timeout = 60s, back-pressure",
        slow_read,
    ),
    attack(
        "byte-a-packet",
        "20 clients, each byte of each request alone",
        "header_timeout = 10s",
        byte_a_packet,
    ),
    attack("connections", "10 000 from one address", "max_connections_per_address = 1024", connections),
    Attack {
        files: Some(256),
        ..attack(
            "descriptors",
            "2000 from many addresses, at 256 open files",
            "max_connections (here 112)",
            many_addresses,
        )
    },
    attack(
        "field-flood",
        "16 clients, fields without end",
        "max_headers = 100, max_header_size = 32KiB",
        field_flood,
    ),
    attack("huge-cookie", "16 clients, a cookie without end", "max_header_size = 32KiB", huge_cookie),
    attack("small-chunks", "16 uploads of one-byte chunks", "16 steps a turn, idle_timeout", small_chunks),
    attack(
        "endless-1xx",
        "8 clients of a backend that sends 103 without end",
        "32 interim answers",
        |at, stop| ask_bad(at, stop, "1xx"),
    ),
    attack(
        "endless-head",
        "8 clients of a backend that sends fields without end",
        "256 fields, 64 KiB",
        |at, stop| ask_bad(at, stop, "head"),
    ),
    attack(
        "endless-trailers",
        "8 clients of a backend that sends trailers without end",
        "64 fields, 8 KiB",
        |at, stop| ask_bad(at, stop, "trailers"),
    ),
    attack("aborts", "16 clients that reset after asking", "499, the backend's connection is closed", aborts),
];

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// As many connections as can be had, each having sent the same; as far as the listener takes them.
fn open(address: SocketAddr, count: usize, bytes: &[u8], stop: &AtomicBool) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let Ok(mut stream) = connect_from(ATTACKER, address, Some(16 << 10)) else { continue };
        let sent = stream.write_all(bytes).and_then(|()| stream.set_nonblocking(true));
        if sent.is_ok() {
            streams.push(stream);
        }
    }
    streams
}

/// Whether the other side has not closed.
fn is_open(stream: &mut TcpStream, most: usize) -> bool {
    let mut piece = [0; 4096];
    match stream.read(piece.get_mut(..most).unwrap_or_default()) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Keeps this many connections busy: each sends `piece` once an interval, and a closed one is replaced.
fn drip(
    address: SocketAddr,
    stop: &AtomicBool,
    (count, interval): (usize, Duration),
    begin: &[u8],
    piece: &[u8],
    read: usize,
) -> String {
    let (mut streams, mut closed) = (open(address, count, begin, stop), 0);
    let opened = streams.len();
    while !stop.load(Ordering::Relaxed) {
        streams.retain_mut(|stream| {
            let wrote = piece.is_empty() || stream.write(piece).is_ok_or_would_block();
            wrote && is_open(stream, read)
        });
        closed += count - streams.len().min(count);
        streams.extend(open(address, count - streams.len().min(count), begin, stop));
        std::thread::sleep(interval);
    }
    format!("{opened} opened, {closed} closed by the gateway and opened anew")
}

/// Attackers share a core with the client that behaves; what it waits for them there is not the gateway's doing.
pub(super) fn yield_to_others() {
    // On Linux this is about the calling thread alone.
    _ = rustix::process::nice(15);
}

trait Written {
    fn is_ok_or_would_block(&self) -> bool;
}

impl Written for std::io::Result<usize> {
    fn is_ok_or_would_block(&self) -> bool {
        self.as_ref().map_or_else(|error| error.kind() == ErrorKind::WouldBlock, |_| true)
    }
}

fn slow_head(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    Ok(drip(address, stop, (1000, Duration::from_secs(1)), b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x", 1))
}

fn slow_body(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    let begin = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
    Ok(drip(address, stop, (500, Duration::from_secs(1)), begin, b"x", 1))
}

fn slow_read(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    let begin = b"GET /?bytes=16777216 HTTP/1.1\r\nHost: x\r\n\r\n";
    Ok(drip(address, stop, (200, Duration::from_millis(100)), begin, b"", 1))
}

/// This many attackers side by side until told to stop; each round of one is counted.
fn side_by_side(count: usize, stop: &AtomicBool, round: impl Fn() -> Result<()> + Sync) -> String {
    let (good, refused) = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    yield_to_others();
                    let (mut good, mut refused) = (0, 0);
                    while !stop.load(Ordering::Relaxed) {
                        match round() {
                            Ok(()) => good += 1,
                            Err(_) => refused += 1,
                        }
                    }
                    (good, refused)
                })
            })
            .collect();
        attackers
            .into_iter()
            .filter_map(|it| it.join().ok())
            .fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1))
    });
    format!("{good} rounds to their end, {refused} cut")
}

fn byte_a_packet(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    Ok(side_by_side(20, stop, || {
        let mut stream = connect_from(ATTACKER, address, None)?;
        for byte in b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: slow\r\n\r\n" {
            stream.write_all(&[*byte])?;
            std::thread::sleep(Duration::from_millis(1));
        }
        crate::bench::gentle::read_answer(&mut stream).map(drop)
    }))
}

fn connections(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    let mut streams = open(address, 10_000, b"", stop);
    let opened = streams.len();
    std::thread::sleep(Duration::from_millis(200));
    streams.retain_mut(|stream| is_open(stream, 1));
    let kept = streams.len();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("{opened} opened, {kept} kept"))
}

fn many_addresses(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    let mut streams = Vec::new();
    for number in 0..2000_u16 {
        let [high, low] = number.to_be_bytes();
        if let Ok(stream) = connect_from(Ipv4Addr::new(127, 1, high, low.max(1)), address, None) {
            streams.push(stream);
        }
    }
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(format!("{} connections, most of them in the system's queue", streams.len()))
}

/// Sends a beginning and then the same without end, until it is cut.
fn flood(address: SocketAddr, stop: &AtomicBool, begin: &[u8], more: &[u8]) -> Result<()> {
    let mut stream = connect_from(ATTACKER, address, None)?;
    stream.write_all(begin)?;
    let more = more.repeat(64);
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&more)?;
    }
    Ok(())
}

fn field_flood(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    Ok(side_by_side(16, stop, || {
        flood(address, stop, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Filler: xxxxxxxxxxxxxxxxxxx\r\n")
    }))
}

fn huge_cookie(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    Ok(side_by_side(16, stop, || {
        flood(address, stop, b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ", b"a=bbbbbbbbbbbbbbbbbbbbbbb; ")
    }))
}

fn small_chunks(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    let begin = b"POST /?status=200 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    Ok(side_by_side(16, stop, || flood(address, stop, begin, b"1\r\nx\r\n")))
}

fn ask_bad(address: SocketAddr, stop: &AtomicBool, what: &str) -> Result<String> {
    Ok(side_by_side(8, stop, || {
        let mut stream = connect_from(ATTACKER, address, None)?;
        stream.write_all(
            format!("GET /bad/{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut piece = [0; 4096];
        while stream.read(&mut piece)? > 0 {}
        Ok(())
    }))
}

fn aborts(address: SocketAddr, stop: &AtomicBool) -> Result<String> {
    Ok(side_by_side(16, stop, || {
        let mut stream = connect_from(ATTACKER, address, None)?;
        stream.write_all(b"GET /?delay=50ms HTTP/1.1\r\nHost: x\r\n\r\n")?;
        std::thread::sleep(Duration::from_millis(5));
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        Ok(())
    }))
}
