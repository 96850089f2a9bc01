//! A log that nobody reads: a pipe whose reader stands still, as a stopped pager's or a stuck log collector's. Nothing else waits for it.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lb_testkit::{Backend, Client, PATIENCE, eventually, fetch};

use crate::support::{launch, rule};

/// A process that is ended when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks the admin address to read the file again; what it answers, unless it takes too long.
fn reload(admin: SocketAddr) -> Option<u16> {
    let mut client = Client::connect(admin);
    client.send(format!("POST /api/reload HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\n\r\n"));
    client.try_response("POST").ok().map(|response| response.status)
}

#[test]
fn nothing_waits_for_a_log_that_nobody_reads() {
    let backend = Backend::echo("a");
    let launch = launch();
    let config = launch.directory().join("gatewayd.toml");
    let (admin, listen) = (launch.address("admin"), launch.address("listen"));
    let text = |rule: &str| {
        format!(
            "[server]\nworkers = 1\nshutdown_timeout = \"1s\"\n[access_log]\nenabled = true\n[admin]\naddress = \"{admin}\"\n\
             [[listeners]]\naddress = \"{listen}\"\nmax_connections_per_address = 4\n{rule}"
        )
    };
    std::fs::write(&config, text(&rule("", &[&backend]))).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatewayd"));
    command.args(["--log-format", "json", "run", "-c"]).arg(&config).stderr(writer).stdout(Stdio::null());
    let mut running = Running(command.spawn().unwrap());
    drop(command);
    eventually("it serves", PATIENCE, || TcpStream::connect(listen).is_ok());

    // Twice what the pipe holds.
    let mut client = Client::connect(listen);
    let long = "x".repeat(1000);
    for _ in 0..130 {
        assert_eq!(client.get(&format!("/{long}")).backend(), "a");
    }
    // A worker has something to say of the fifth.
    let _connections: Vec<_> = (0..8).map(|_| TcpStream::connect(listen)).collect();
    assert_eq!(client.get("/").backend(), "a", "the worker still serves");
    // And so has the control side of a reload, good or bad.
    std::fs::write(&config, "[[rules]]\nupstream = 7\n").unwrap();
    assert_eq!(reload(admin), Some(422));
    let elsewhere = Backend::echo("b");
    std::fs::write(&config, text(&rule("", &[&elsewhere]))).unwrap();
    assert_eq!(reload(admin), Some(200));
    assert_eq!(client.get("/").backend(), "b");
    assert_eq!(fetch(admin, "GET", "/health", &[]).status, 200);

    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let asked = Instant::now();
    while running.0.try_wait().unwrap().is_none() {
        assert!(asked.elapsed() < PATIENCE, "it cannot end either");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains("\"listening\""), "{said}");
}

#[test]
fn the_last_words_of_a_process_are_read() {
    let backend = Backend::echo("a");
    let mut gateway = launch().config(&rule("", &[&backend])).start();
    gateway.sigterm();
    assert_eq!(gateway.wait_exit(PATIENCE), Some(0));
    assert!(
        gateway
            .log()
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|said| said.starts_with("draining")))
    );
}
