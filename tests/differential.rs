//! Differential: what the gateway lets through, nginx, HAProxy, Python's and Node's servers read alike.
//!
//! About two thousand requests, each a good one with one byte put where it might matter, go through the gateway to a backend
//! that keeps the exact bytes. Whatever passed is then sent to each server. A server may refuse it; those that take it must
//! see one request, with the same body, and the next request behind it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use lb_testkit::{Backend, Client, Conn, Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use crate::support::{gateway, rule};

/// Bytes that some parser skips, trims, ends at, or takes for another.
const BYTES: &[u8] = b"\0\t\n\x0b\x0c\r \"'+,-.0;:\\_/x\x7f\x85\xa0";

/// What follows every request. Enough for a length that grew a digit, and the last closes.
const NEXT: &str = "GET /end HTTP/1.1\r\nHost: x\r\n\r\nGET /end HTTP/1.1\r\nHost: x\r\n\r\nGET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// A message as forwarded, and `METHOD target length` as it was meant.
type Forwarded = BTreeMap<Vec<u8>, String>;

#[test]
fn what_passes_is_framed_alike_by_nginx_haproxy_python_and_node() {
    let kept: Arc<Mutex<Forwarded>> = Arc::default();
    let recorder = {
        let kept = Arc::clone(&kept);
        Backend::scripted(move |conn| answer_all(conn, Some(&kept)))
    };
    let gateway = gateway(&format!(
        "idle_timeout = \"2s\"\n{}[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nheader_timeout = \"2s\"\n",
        rule("", &[&recorder])
    ));
    let requests = obfuscated();
    assert!(requests.len() > 1500, "{}", requests.len());
    send_all(&gateway, &requests);
    let forwarded = std::mem::take(&mut *kept.lock().unwrap());
    println!("{} requests sent, {} different ones forwarded", requests.len(), forwarded.len());
    assert!(forwarded.len() > 20, "something must pass for this to mean anything");

    let behind = Backend::scripted(|conn| answer_all(conn, None));
    let origins = origins(&behind);
    for (bytes, meant) in &forwarded {
        for origin in &origins {
            let expected = [meant.as_str(), "GET /end 0"];
            let seen = origin.reading(bytes);
            let agrees = seen.len() <= 2
                && seen
                    .iter()
                    .zip(expected)
                    .all(|(seen, expected)| seen == expected || seen.starts_with("refused"));
            assert!(agrees, "{} reads {seen:?}, not {expected:?}, in {}", origin.name, bytes.escape_ascii());
        }
    }
}

/// Answers each request with how it was read, and keeps its bytes.
fn answer_all(conn: &mut Conn, kept: Option<&Mutex<Forwarded>>) {
    let mut before = 0;
    while let Some(request) = conn.request() {
        let reading = format!("{} {} {}", request.method, request.target, request.body.len());
        if let Some(kept) = kept {
            kept.lock().unwrap().insert(conn.received()[before..].to_vec(), reading.clone());
            before = conn.received().len();
        }
        let shown = if request.method == "HEAD" { "" } else { &reading };
        if !conn.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{shown}", reading.len())) {
            return;
        }
    }
}

/// Every good request with every byte at every place of the lines that matter.
fn obfuscated() -> Vec<Vec<u8>> {
    let id = "X-Request-Id: same";
    let requests = [
        ("POST /a HTTP/1.1\r\n", format!("Host: x\r\n{id}\r\nContent-Length: 5\r\n\r\nhello")),
        ("Content-Length: 5\r\n", "\r\nhello".to_owned()),
        ("Transfer-Encoding: chunked\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n\r\nhello".to_owned()),
        ("Content-Length: 15\r\n", "X: y\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("5;a=b\r\nhello\r\n0\r\nX-T: u\r\n\r\n", String::new()),
        ("Connection: keep-alive, X\r\n", "Content-Length: 5\r\n\r\nhello".to_owned()),
        ("Expect: 100-continue\r\n", "Content-Length: 5\r\n\r\nhello".to_owned()),
    ];
    let mut all = Vec::new();
    for (number, (line, rest)) in requests.iter().enumerate() {
        let head = match number {
            0 => String::new(),
            5 => format!("POST /a HTTP/1.1\r\nHost: x\r\n{id}\r\nTransfer-Encoding: chunked\r\n\r\n"),
            _ => format!("POST /a HTTP/1.1\r\nHost: x\r\n{id}\r\n"),
        };
        for place in 0..=line.len() {
            for byte in BYTES {
                let (before, behind) = line.split_at(place);
                all.push(
                    [head.as_bytes(), before.as_bytes(), &[*byte], behind.as_bytes(), rest.as_bytes()]
                        .concat(),
                );
            }
        }
    }
    all
}

fn send_all(gateway: &Gateway, requests: &[Vec<u8>]) {
    let queue = Mutex::new(requests.iter());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(request) = next else { return };
                    gateway.raw([request, NEXT.as_bytes()].concat());
                }
            });
        }
    });
}

/// A server that answers each request with `METHOD target length`.
struct Origin {
    name: &'static str,
    port: Port,
    _process: Process,
    _directory: TempDir,
}

impl Origin {
    fn start(
        name: &'static str,
        file: &str,
        text: &str,
        command: impl FnOnce(&Path, u16) -> Command,
    ) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let number = port.address().port();
        let path = directory.path().join(file);
        let text = text
            .replace("{port}", &number.to_string())
            .replace("{dir}", &directory.path().display().to_string());
        std::fs::write(&path, text).unwrap();
        let process = Process::spawn(&mut command(&path, number));
        let origin = Self { name, port, _process: process, _directory: directory };
        eventually(name, PATIENCE, || std::net::TcpStream::connect(origin.port.address()).is_ok());
        origin
    }

    /// How it reads a message and the one behind it.
    fn reading(&self, message: &[u8]) -> Vec<String> {
        let mut client = Client::connect(self.port.address());
        let end = "GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        client.try_send([message, end.as_bytes()].concat()).ok();
        let mut seen = Vec::new();
        while let Ok(response) = client.try_response("GET") {
            match response.status {
                100..200 => {}
                200 => seen.push(response.text()),
                status => seen.push(format!("refused with {status}")),
            }
        }
        seen
    }
}

/// `cargo xtask test` installs them.
fn origins(behind: &Backend) -> Vec<Origin> {
    let address = behind.address();
    let nginx = format!(
        "daemon off; master_process off; pid {{dir}}/nginx.pid; error_log stderr crit;
         events {{ worker_connections 256; }}
         http {{
           access_log off; client_body_temp_path {{dir}}/b; proxy_temp_path {{dir}}/p; fastcgi_temp_path {{dir}}/f;
           uwsgi_temp_path {{dir}}/u; scgi_temp_path {{dir}}/s;
           server {{ listen 127.0.0.1:{{port}}; location / {{ proxy_pass http://{address}; proxy_http_version 1.1; }} }}
         }}"
    );
    let haproxy = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n\
         frontend f\n bind 127.0.0.1:{{port}}\n default_backend b\nbackend b\n server s {address}\n"
    );
    let sbin = |name: &str| {
        let full = format!("/usr/sbin/{name}");
        Command::new(if Path::new(&full).exists() { full } else { name.to_owned() })
    };
    vec![
        Origin::start("nginx", "nginx.conf", &nginx, |file, _| {
            let mut command = sbin("nginx");
            command.args(["-e", "stderr", "-c"]).arg(file);
            command
        }),
        Origin::start("HAProxy", "haproxy.cfg", &haproxy, |file, _| {
            let mut command = sbin("haproxy");
            command.args(["-db", "-f"]).arg(file);
            command
        }),
        Origin::start("Python", "server.py", include_str!("differential/server.py"), |file, port| {
            let mut command = Command::new("python3");
            command.arg(file).arg(port.to_string());
            command
        }),
        Origin::start("Node", "server.js", include_str!("differential/server.js"), |file, port| {
            let mut command = Command::new("node");
            command.arg(file).arg(port.to_string());
            command
        }),
    ]
}
