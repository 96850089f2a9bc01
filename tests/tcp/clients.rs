//! Real clients and servers at both ends of a TCP listener: Redis, PostgreSQL, OpenSSL, HAProxy.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lb_testkit::{Authority, Backend, Client, Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use super::{backend_status, connect, failed, gateway, tcp, urls};
use crate::proxy_protocol::Peer;

/// Runs a program to its end with this input; what it said.
#[track_caller]
fn said(command: &mut Command, input: &str) -> String {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

struct Redis {
    port: Port,
    process: Process,
    _directory: TempDir,
}

impl Redis {
    fn start() -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let number = port.address().port().to_string();
        let mut command = Command::new("redis-server");
        command.args(["--port", &number, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.arg("--dir").arg(directory.path());
        let process = Process::spawn(&mut command);
        eventually("redis listens", PATIENCE, || std::net::TcpStream::connect(port.address()).is_ok());
        Self { port, process, _directory: directory }
    }

    fn url(&self) -> String {
        format!("tcp://{}", self.port.address())
    }
}

#[track_caller]
fn redis_cli(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let port = address.port().to_string();
    said(Command::new("redis-cli").args(["-h", "127.0.0.1", "-p", &port]).args(arguments), input)
}

#[test]
fn redis_is_spoken_through_it() {
    let redis = Redis::start();
    let gateway = gateway(&tcp("upstream = \"db\"", &format!("backends = [\"{}\"]\n", redis.url())));
    let address = gateway.address_of("listen2");
    assert_eq!(redis_cli(address, &["PING"], ""), "PONG\n");
    let large = "0123456789abcdef".repeat(1 << 17);
    assert_eq!(redis_cli(address, &["-x", "SET", "large"], &large), "OK\n");
    let read = redis_cli(address, &["GET", "large"], "");
    assert!(read.trim_end() == large, "{} bytes came back", read.len());
    let many: String = (0..2000).map(|n| format!("SET key{n} {n}\r\n")).collect();
    let piped = redis_cli(address, &["--pipe"], &many);
    assert!(piped.contains("errors: 0, replies: 2000"), "{piped}");
    assert_eq!(redis_cli(address, &["DBSIZE"], ""), "2001\n");
    // It is killed while a client is connected.
    let mut held = connect(&gateway);
    held.send("PING\r\n");
    assert_eq!(held.read_exact(7).unwrap(), b"+PONG\r\n");
    drop(redis.process);
    assert!(held.closes_within(PATIENCE));
    let refused = redis_cli(address, &["PING"], "");
    assert!(refused.starts_with("Error:") || refused.contains("reset"), "{refused}");
    eventually("it is counted", PATIENCE, || failed(&gateway, "connect_failed") > 0);
}

/// A PostgreSQL cluster of its own, run by someone who is not root, as it wants.
struct Postgres {
    port: Port,
    process: Process,
    _directory: TempDir,
}

impl Postgres {
    fn program(name: &str) -> PathBuf {
        let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
        let mut programs: Vec<_> =
            versions.map(|version| version.unwrap().path().join("bin").join(name)).collect();
        programs.retain(|program| program.exists());
        programs.sort();
        programs.pop().expect("PostgreSQL has its programs")
    }

    fn command(name: &str, directory: &Path) -> Command {
        let is_root =
            Path::new("/proc/self").metadata().is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
        let mut command = match is_root {
            false => Command::new(Self::program(name)),
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(Self::program(name));
                command
            }
        };
        command.current_dir(directory);
        command
    }

    fn start() -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let (root, data) = (directory.path(), directory.path().join("data"));
        std::fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let made = Self::command("initdb", root)
            .args(["--auth=trust", "--username=app", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = Process::spawn(
            Self::command("postgres", root)
                .args(["-F", "-h", "127.0.0.1", "-p", &port.address().port().to_string(), "-k"])
                .arg(root)
                .arg("-D")
                .arg(&data),
        );
        let server = Self { port, process, _directory: directory };
        eventually("PostgreSQL answers", PATIENCE, || psql(server.port.address(), "SELECT 1") == "1\n");
        server
    }
}

fn psql(address: SocketAddr, query: &str) -> String {
    let url = format!("host={} port={} user=app dbname=postgres", address.ip(), address.port());
    said(Command::new("psql").args([&url, "-At", "-v", "ON_ERROR_STOP=1", "-c", query]), "")
}

#[test]
fn postgresql_is_spoken_through_it() {
    let postgres = Postgres::start();
    let gateway = gateway(&tcp(
        "upstream = \"db\"",
        &format!("backends = [\"tcp://{}\"]\nhealth_check = true\n", postgres.port.address()),
    ));
    let address = gateway.address_of("listen2");
    assert_eq!(psql(address, "SELECT 40 + 2"), "42\n");
    let rows = psql(address, "SELECT repeat(md5(n::text), 100) FROM generate_series(1, 2000) n");
    assert_eq!(rows.lines().count(), 2000);
    assert_eq!(
        rows,
        psql(postgres.port.address(), "SELECT repeat(md5(n::text), 100) FROM generate_series(1, 2000) n")
    );
    // The server is told to stop while a query is under way: its last word still comes through.
    let asking = std::thread::spawn(move || psql(address, "SELECT pg_sleep(60)"));
    let status = || backend_status(&gateway, "db", &format!("tcp://{}", postgres.port.address()));
    eventually("it is asked", PATIENCE, || status()["active_connections"] == 1);
    std::thread::sleep(Duration::from_millis(200));
    postgres.process.signal("INT");
    let told = asking.join().unwrap();
    assert!(told.contains("terminating connection due to administrator command"), "{told}");
}

/// `openssl s_client` with this input, to its end.
#[track_caller]
pub(super) fn s_client(address: SocketAddr, arguments: &[&str], input: &str) -> String {
    let address = address.to_string();
    said(Command::new("openssl").args(["s_client", "-connect", &address]).args(arguments), input)
}

#[test]
fn tls_is_ended_here_and_spoken_to_backends() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("test root");
    let ca = directory.path().join("ca.pem");
    authority.write(&ca);
    let pair = authority.issue(&["db.example.com", "127.0.0.1"]).write(directory.path(), "db");
    let redis = Redis::start();
    let inner = gateway(&tcp(
        &format!("upstream = \"db\"\ntls = {{ {pair} }}"),
        &format!("backends = [\"{}\"]\n", redis.url()),
    ));
    let ca = ca.display().to_string();
    let verified =
        ["-CAfile", ca.as_str(), "-servername", "db.example.com", "-verify_return_error", "-quiet"];
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [&verified[..], &[version]].concat();
        let answered = s_client(inner.address_of("listen2"), &arguments, "PING\r\nQUIT\r\n");
        assert!(answered.contains("+PONG\r\n+OK\r\n"), "{answered}");
    }
    let large = "0123456789abcdef".repeat(1 << 16);
    let length = large.len();
    let asked = format!(
        "*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n${length}\r\n{large}\r\n*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n*1\r\n$4\r\nQUIT\r\n"
    );
    let answered = s_client(inner.address_of("listen2"), &verified, &asked);
    assert!(answered.contains(&large), "{} bytes came", answered.len());
    // No HTTP is offered over it.
    let offered = s_client(inner.address_of("listen2"), &["-alpn", "http/1.1,h2"], "QUIT\r\n");
    assert!(offered.contains("No ALPN negotiated"), "{offered}");
    assert!(super::metric(&inner, "gatewayd_tls_handshakes_total{listener=\"db\",kind=\"full\"}") >= 3);

    // A second gateway speaks TLS to the first, and redis-cli knows nothing of it.
    let tls = format!("tls = {{ ca = \"{ca}\", server_name = \"db.example.com\" }}\nhealth_check = true\n");
    let backend = format!("tls://{}", inner.address_of("listen2"));
    let outer = gateway(&tcp("upstream = \"db\"", &format!("backends = [\"{backend}\"]\n{tls}")));
    assert_eq!(redis_cli(outer.address_of("listen2"), &["ECHO", "twice"], ""), "twice\n");
    assert_eq!(backend_status(&outer, "db", &backend)["healthy"], true);
    let stranger = gateway(&tcp("upstream = \"db\"", &format!("backends = [\"{backend}\"]\n")));
    let refused = redis_cli(stranger.address_of("listen2"), &["PING"], "");
    assert!(!refused.contains("PONG"), "a certificate that nobody vouches for: {refused}");
    // It asks once more where it had asked before it was told.
    assert!((1..=2).contains(&failed(&stranger, "connect_failed")));
    assert!(
        backend_status(&stranger, "db", &backend)["error"]
            .as_str()
            .is_some_and(|it| it.contains("certificate"))
    );
}

#[test]
fn tls_is_passed_on_to_the_server_that_its_name_leads_to() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("test root");
    let ca = directory.path().join("ca.pem");
    authority.write(&ca);
    let servers: Vec<(Port, Process)> = ["one.example.com", "two.example.com"]
        .into_iter()
        .map(|name| {
            authority.issue(&[name]).write(directory.path(), name);
            let port = Port::free();
            let mut command = Command::new("openssl");
            command.args(["s_server", "-accept", &port.address().to_string(), "-rev", "-quiet"]);
            command.arg("-cert").arg(directory.path().join(format!("{name}.crt")));
            command.arg("-key").arg(directory.path().join(format!("{name}.key")));
            let process = Process::spawn(&mut command);
            eventually("it listens", PATIENCE, || std::net::TcpStream::connect(port.address()).is_ok());
            (port, process)
        })
        .collect();
    let [one, two] =
        [0, 1].map(|place: usize| format!("backends = [\"tcp://{}\"]\n", servers[place].0.address()));
    let gateway = gateway(&tcp(
        "sni = [{ hosts = [\"one.example.com\"], upstream = \"db\" }, { hosts = [\"two.example.com\"], upstream = \"two\" }]",
        &format!("{one}[upstreams.two]\n{two}"),
    ));
    let ca = ca.display().to_string();
    for name in ["one.example.com", "two.example.com"] {
        // The whole way is one TLS: the client verifies the server's own certificate.
        let verified =
            ["-CAfile", &ca, "-servername", name, "-verify_hostname", name, "-verify_return_error"];
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &gateway.address_of("listen2").to_string()])
            .args(verified)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"olleh\n").unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap() == "hello"), "{name} answers");
        drop(input);
        child.kill().ok();
        child.wait().unwrap();
    }
    let nobody = s_client(gateway.address_of("listen2"), &["-servername", "three.example.com"], "");
    assert!(!nobody.contains("BEGIN CERTIFICATE"), "{nobody}");
    assert_eq!(failed(&gateway, "no_rule"), 1);
}

/// A gateway between two HAProxys, and the first one.
fn between(version: &str, last: &Peer) -> (Gateway, Peer) {
    let gateway = gateway(&tcp(
        "upstream = \"db\"\nproxy_protocol = { from = [\"127.0.0.1\"] }",
        &format!("proxy_protocol = \"{version}\"\nbackends = [\"tcp://{}\"]\n", last.port.address()),
    ));
    let to = gateway.address_of("listen2");
    let first = Peer::haproxy(|address| {
        format!("listen l\n mode tcp\n bind {address}\n server s {to} send-proxy-v2\n")
    });
    (gateway, first)
}

#[test]
fn haproxy_in_front_and_behind_agree_on_who_the_client_is() {
    let last = Peer::haproxy(|address| {
        format!(
            "frontend f\n bind {address} accept-proxy\n http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst_port]\"\n"
        )
    });
    for version in ["v1", "v2"] {
        let (gateway, first) = between(version, &last);
        for source in ["127.0.0.7", "127.0.0.8"] {
            let mut client = Client::connect_from(source.parse().unwrap(), first.port.address());
            let own = client.stream().local_addr().unwrap();
            let expected = format!("{source} {} {}", own.port(), first.port.address().port());
            // One connection all the way, with more than one request on it.
            for _ in 0..3 {
                assert_eq!(client.get("/").text(), expected, "{version}");
            }
        }
        let status = backend_status(&gateway, "db", &format!("tcp://{}", last.port.address()));
        eventually("two connections", PATIENCE, || status["failed_requests"] == 0);
        // A stranger without a header is not passed on.
        let mut stranger = connect(&gateway);
        stranger.try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok();
        assert_eq!(stranger.read_to_close(), b"");
    }
    // Clients are balanced by their own addresses, not by their load balancer's.
    let names = ["a", "b", "c"].map(super::named);
    let all: Vec<_> = names.iter().collect();
    let hashed = gateway(&tcp(
        "upstream = \"db\"\nproxy_protocol = { from = [\"127.0.0.1\"] }",
        &format!("load_balancing = \"ip_hash\"\nbackends = [{}]\n", urls(&all)),
    ));
    let to = hashed.address_of("listen2");
    let front = Peer::haproxy(|address| {
        format!("listen l\n mode tcp\n bind {address}\n server s {to} send-proxy-v2\n")
    });
    let ask = |last: u8| {
        let source = format!("127.0.2.{last}").parse().unwrap();
        let mut client = Client::connect_from(source, front.port.address());
        super::greeted(&mut client)
    };
    let spread: Vec<String> = (1..40).map(ask).collect();
    assert_eq!(crate::support::tally(spread.clone()).len(), 3, "{spread:?}");
    assert_eq!((1..40).map(ask).collect::<Vec<_>>(), spread);
}

/// Closing without a word is all that many clients do by TLS.
#[test]
fn what_a_client_sent_by_tls_arrives_however_it_ends() {
    let directory = TempDir::new().unwrap();
    let pair = Authority::new("test root").issue(&["db.example.com"]).write(directory.path(), "db");
    let (told, ends) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let backend = Backend::scripted(move |conn| {
        // Long enough for the client to have gone.
        std::thread::sleep(Duration::from_millis(300));
        let is_end = loop {
            match conn.read_some(1 << 16) {
                Ok(bytes) if bytes.is_empty() => break true,
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        told.lock().unwrap().send(is_end).unwrap();
    });
    let gateway = gateway(&tcp(
        &format!("upstream = \"db\"\ntls = {{ {pair} }}"),
        &format!("backends = [\"{}\"]\n", backend.url()),
    ));
    let script = "
import socket, ssl, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
context = ssl._create_unverified_context()
# With 1.3 a ticket would be left unread, of which its system makes a reset.
context.maximum_version = ssl.TLSVersion.TLSv1_2
session = context.wrap_socket(connection, server_hostname='db.example.com')
session.sendall(b'x' * 300_000)
session.close()
";
    let address = gateway.address_of("listen2");
    let sent = Command::new("python3")
        .args(["-c", script, &address.ip().to_string(), &address.port().to_string()])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let is_end = ends.recv_timeout(PATIENCE).unwrap();
    assert_eq!((backend.bytes_received(), is_end), (300_000, true));
    eventually("nobody is held", PATIENCE, || backend.open_connections() == 0);
}
