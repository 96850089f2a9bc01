//! DNS servers for tests: dnsmasq, and one that says what it is told to, over UDP and TCP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use lb_testkit::{PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

/// A real server on a port of its own.
pub(super) struct Dnsmasq {
    process: Option<Process>,
    port: Port,
    directory: TempDir,
}

impl Dnsmasq {
    /// Serves these lines of its configuration.
    pub(super) fn start(lines: &str) -> Self {
        let mut server = Self { process: None, port: Port::free(), directory: TempDir::new().unwrap() };
        server.serve(lines);
        server
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Serves other lines, on the same port.
    pub(super) fn serve(&mut self, lines: &str) {
        self.stop();
        let file: PathBuf = self.directory.path().join("dnsmasq.conf");
        let address = self.address();
        let base = format!(
            "keep-in-foreground\nno-resolv\nno-hosts\nbind-interfaces\nlisten-address=127.0.0.1\nport={}\npid-file=\nuser=\nlog-facility=-\n",
            address.port()
        );
        std::fs::write(&file, format!("{base}{lines}")).unwrap();
        let mut command = Command::new("dnsmasq");
        let sbin = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
        command.env("PATH", sbin).arg(format!("--conf-file={}", file.display()));
        let process = Process::spawn(&mut command);
        eventually("dnsmasq answers", PATIENCE, || std::net::TcpStream::connect(address).is_ok());
        self.process = Some(process);
    }

    pub(super) fn stop(&mut self) {
        self.process = None;
    }
}

/// What is answered to a question.
#[derive(Debug, Clone)]
pub(super) enum Say {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// The name stands for itself.
    Circle,
    /// There is no such name.
    NoName,
    /// The server cannot tell.
    Failure,
    /// Bytes that are no answer.
    Nonsense,
    /// Nothing.
    Silence,
}

/// A server that says what it is told to.
pub(super) struct Scripted {
    address: SocketAddr,
    say: Arc<Mutex<Say>>,
    asked: Arc<Mutex<Vec<(u16, Instant)>>>,
}

impl Scripted {
    pub(super) fn start(say: Say) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            say: Arc::new(Mutex::new(say)),
            asked: Arc::default(),
        };
        let (say, asked) = (Arc::clone(&server.say), Arc::clone(&server.asked));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, peer)) = udp.recv_from(&mut query) {
                asked.lock().unwrap().push((kind_of(&query[..length]), Instant::now()));
                let said = say.lock().unwrap().clone();
                let mut answer = answer(&query[..length], &said);
                if answer.len() > 1232 {
                    // Truncated: ask again over TCP.
                    answer = self::answer(&query[..length], &Say::Addresses(Vec::new(), 0));
                    answer[2] |= 2;
                }
                if !answer.is_empty() {
                    let _ = udp.send_to(&answer, peer);
                }
            }
        });
        let say = Arc::clone(&server.say);
        std::thread::spawn(move || {
            for stream in tcp.incoming() {
                let (Ok(mut stream), said) = (stream, say.lock().unwrap().clone()) else { return };
                std::thread::spawn(move || {
                    let mut length = [0; 2];
                    while stream.read_exact(&mut length).is_ok() {
                        let mut query = vec![0; u16::from_be_bytes(length).into()];
                        stream.read_exact(&mut query).unwrap();
                        let answer = answer(&query, &said);
                        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                        let _ = stream.write_all(&[&length[..], &answer].concat());
                    }
                });
            }
        });
        server
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn say(&self, say: Say) {
        *self.say.lock().unwrap() = say;
    }

    /// Questions so far.
    pub(super) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// When each question for addresses of IPv4 came.
    pub(super) fn asked_at(&self) -> Vec<Instant> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(kind, _)| *kind == 1).map(|(_, at)| *at).collect()
    }
}

/// The type that is asked for.
fn kind_of(query: &[u8]) -> u16 {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
    u16::from_be_bytes([query[end + 1], query[end + 2]])
}

/// The answer to a query of one question (RFC 1035 §4.1). Only addresses of IPv4 are there.
fn answer(query: &[u8], say: &Say) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let question = &query[12..end];
    let is_a = question[question.len() - 4..] == [0, 1, 0, 1];
    let (code, addresses, ttl): (u8, &[Ipv4Addr], u32) = match say {
        Say::Addresses(addresses, ttl) if is_a => (0, addresses, *ttl),
        Say::Addresses(..) | Say::Circle => (0, &[], 0),
        Say::NoName => (3, &[], 0),
        Say::Failure => (2, &[], 0),
        Say::Nonsense => return [&query[..2], &[0xff; 20]].concat(),
        Say::Silence => return Vec::new(),
    };
    let count = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    if matches!(say, Say::Circle) {
        // CNAME, IN, for a second: the name of the question.
        let head = [&query[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
        let record = [0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 12];
        return [&head, question, &record[..]].concat();
    }
    let mut answer = query[..2].to_vec();
    // An answer, with recursion; one question, so many answers.
    answer.extend([0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The name of the question, A, IN, TTL, four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    answer
}
