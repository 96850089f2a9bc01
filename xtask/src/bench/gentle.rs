//! A client that behaves: asks, waits for the whole answer, rests a little, and notes how long it took.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::scene::connect_from;

/// What it noted.
#[derive(Debug, Default, Clone)]
pub(crate) struct Notes {
    /// Of each request that was answered well, in µs.
    pub(crate) latencies: Vec<f64>,
    /// Answers other than 200, and requests without one.
    pub(crate) errors: usize,
}

impl Notes {
    /// The latency that this many thousandths of all requests kept to.
    pub(crate) fn percentile(&self, thousandths: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_by(f64::total_cmp);
        let place = sorted.len() * thousandths / 1000;
        sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }
}

/// Ask for a kibibyte again and again, on one connection, until `stop`; what happens before `noting` is not noted.
pub(crate) fn ask(address: SocketAddr, rest: Duration, noting: &AtomicBool, stop: &AtomicBool) -> Notes {
    let mut notes = Notes::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match ask_once(&mut connection, address) {
            Ok(()) if noting.load(Ordering::Relaxed) => {
                notes.latencies.push(begun.elapsed().as_secs_f64() * 1e6);
            }
            Ok(()) => {}
            Err(_) => {
                notes.errors += 1;
                connection = None;
            }
        }
        std::thread::sleep(rest);
    }
    notes
}

fn ask_once(connection: &mut Option<TcpStream>, address: SocketAddr) -> Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(connect_from(Ipv4Addr::LOCALHOST, address, None)?),
    };
    stream.write_all(b"GET /?bytes=1024 HTTP/1.1\r\nHost: gentle\r\n\r\n")?;
    let status = read_answer(stream)?;
    ensure!(status == 200, "answered {status}");
    Ok(())
}

/// Read one answer with a length, and give back its status.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Result<u16> {
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).to_ascii_lowercase();
            let status: u16 =
                text.get(9..12).and_then(|status| status.parse().ok()).context("no status line")?;
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            let mut left = (head + 4 + length).saturating_sub(answer.len());
            while left > 0 {
                let read = stream.read(&mut piece)?;
                ensure!(read > 0, "the answer breaks off");
                left = left.saturating_sub(read);
            }
            return Ok(status);
        }
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the connection was closed");
        answer.extend_from_slice(piece.get(..read).unwrap_or_default());
    }
}
