//! Client-side balancing of plain sockets: no runtime, no HTTP, only `std` and a balancer.
//!
//! Three servers answer a line each, one of them slowly; eight threads send lines through a balancer that learns who is fast.
//! `cargo run -p lb-core --example plain_sockets`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use lb_core::{Backend, BackendOptions, Balancer, Outcome, PickContext, StrategyConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addresses = [
        serve(Duration::from_millis(1))?,
        serve(Duration::from_millis(1))?,
        serve(Duration::from_millis(20))?,
    ];
    let backends = addresses.map(|address| Arc::new(Backend::new(BackendOptions::named(address))));
    let balancer = Balancer::new(StrategyConfig::named("peak_ewma"), backends.to_vec())?;

    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..50).for_each(|n| drop(ask(&balancer, &format!("hello {n}")))));
        }
    });
    for backend in &backends {
        println!("{}: {} requests, {} failed", backend.name(), backend.total(), backend.failed());
    }
    Ok(())
}

/// Sends a line and returns the answer; a backend that fails is not tried again for this line.
fn ask(balancer: &Balancer, line: &str) -> Result<String, Box<dyn std::error::Error>> {
    let mut tried = Vec::new();
    loop {
        let request = PickContext {
            tried: &tried,
            attempt: u32::try_from(tried.len())?,
            ..PickContext::new(Instant::now())
        };
        let lease = balancer.acquire(&request)?;
        match exchange(lease.backend().name(), line) {
            Ok(answer) => {
                lease.record(Outcome { latency: Some(lease.taken().elapsed()), ok: true });
                return Ok(answer);
            }
            Err(_) => {
                lease.failed();
                tried.push(lease.position());
            }
        }
    }
}

fn exchange(address: &str, line: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    writeln!(socket, "{line}")?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    Ok(answer)
}

/// A server that answers every line after `delay`, on a port of its own.
fn serve(delay: Duration) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || -> io::Result<()> {
                let mut line = String::new();
                BufReader::new(&socket).read_line(&mut line)?;
                thread::sleep(delay);
                (&socket).write_all(line.as_bytes())
            });
        }
    });
    Ok(address)
}
