//! A whole gateway inside another program: its configuration from a text, what it does told to a recorder of one's own, and
//! a change of configuration that no request notices.
//!
//! `cargo run -p lb-config --example embedded`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lb_config::Format;
use lb_http::config::GatewayConfig;
use lb_http::{Attachments, Gateway};
use lb_observe::{Exchange, Recorder, Registry};
use tokio::task::spawn_blocking;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (first, second) = (backend()?, backend()?);
    let counts = Arc::new(Counts::default());

    // Recorders are called once an exchange, on the worker that served it; pages, health events and dumps are attached alike.
    let recorders: Vec<Arc<dyn Recorder>> = vec![Arc::clone(&counts) as _];
    let attachments = Attachments { recorders, ..Attachments::default() };
    let registry = Arc::new(Registry::default());
    let gateway = Gateway::start(&configuration(first, 1, second, 1)?, &registry, attachments).await?;
    let (_, address) = gateway.addresses().first().ok_or("there is a listener")?.clone();

    spawn_blocking(move || ask(address, 10)).await??;
    println!("one to one: {:?}", counts.take());

    // The same call as a reload of the program makes: connections, health and figures of what stays the same are kept.
    let plan = gateway.reloader().reload(configuration(first, 3, second, 1)?, Instant::now()).await?;
    println!("{plan}");
    spawn_blocking(move || ask(address, 100)).await??;
    println!("three to one: {:?}", counts.take());

    let all_ended = gateway.shut_down(Duration::from_secs(5), Duration::ZERO).await;
    println!("all requests were answered before the end: {all_ended}");
    Ok(())
}

/// The same text as in a file; a program that has its own configuration fills a [`GatewayConfig`] instead.
fn configuration(
    first: SocketAddr,
    weight: u8,
    second: SocketAddr,
    other: u8,
) -> Result<Arc<GatewayConfig>, Box<dyn Error>> {
    let text = format!(
        r#"
        [[listeners]]
        address = "127.0.0.1:0"

        [[rules]]
        load_balancing = {{ strategy = "weighted_round_robin" }}
        backends = [
            {{ url = "http://{first}", weight = {weight} }},
            {{ url = "http://{second}", weight = {other} }},
        ]
        "#
    );
    Ok(lb_config::load_str("embedded", Format::Toml, &text)?.config)
}

/// How many requests each backend has had.
#[derive(Default)]
struct Counts(Mutex<BTreeMap<String, usize>>);

impl Counts {
    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_values().collect()
    }
}

impl Recorder for Counts {
    fn record(&self, exchange: &Exchange<'_>) {
        if let Some(backend) = exchange.backend {
            *self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(backend.backend().to_owned())
                .or_default() += 1;
        }
    }
}

/// Sends as many requests, each on a connection of its own.
fn ask(address: SocketAddr, requests: usize) -> io::Result<()> {
    for _ in 0..requests {
        let mut socket = TcpStream::connect(address)?;
        write!(socket, "GET / HTTP/1.1\r\nHost: embedded\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(answer));
        }
    }
    Ok(())
}

/// A backend that says hello.
fn backend() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || greet(&socket));
        }
    });
    Ok(address)
}

fn greet(mut socket: &TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(socket).lines();
    while let Some(line) = lines.next().transpose()? {
        if line.is_empty() {
            socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
        }
    }
    Ok(())
}

#[test]
fn it_runs_as_shown() {
    main().expect("it runs to its end");
}
