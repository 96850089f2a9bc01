//! HTTP/2 to backends: nghttpd as it comes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use lb_testkit::{Authority, Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use super::curl;
use super::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, Peer, REFUSED_STREAM, RST_STREAM};
use crate::support::{STATUS_LISTENER, backend_status, cli, launch};

/// nghttpd on a directory, in the clear.
pub(super) struct Origin {
    port: Port,
    process: Process,
    _directory: TempDir,
    pub(super) body: String,
}

impl Origin {
    pub(super) fn start() -> Self {
        Self::told(&[])
    }

    /// With more on its command line.
    pub(super) fn told(arguments: &[&str]) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let body = "0123456789abcdef".repeat(100_000);
        std::fs::write(directory.path().join("large"), &body).unwrap();
        std::fs::write(directory.path().join("index.html"), "hello\n").unwrap();
        let process = Process::spawn(
            Command::new("nghttpd")
                .args(arguments)
                .args(["--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d"])
                .arg(directory.path())
                .arg(port.address().port().to_string()),
        );
        eventually("nghttpd listens", PATIENCE, || TcpStream::connect(port.address()).is_ok());
        Self { port, process, _directory: directory, body }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(super) fn said(&self) -> String {
        self.process.output()
    }

    fn gateway(&self) -> Gateway {
        let url = format!("http://{}", self.port.address());
        let config = format!("[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n");
        launch().config(&config).start()
    }
}

#[test]
fn nghttpd_is_served_from_to_clients_of_both_versions() {
    let origin = Origin::start();
    let gateway = origin.gateway();
    assert_eq!(gateway.get("/").text(), "hello\n");
    assert_eq!(gateway.get("/missing").status, 404);
    assert!(gateway.get("/large").text() == origin.body);
    assert!(curl(&gateway, "/large", &[]) == origin.body);
    assert_eq!(curl(&gateway, "/", &["-I", "-o", "/dev/null", "-w", "%{http_code}"]), "200");
    let file = gateway.directory().join("body");
    std::fs::write(&file, &origin.body).unwrap();
    let upload = format!("@{}", file.display());
    assert!(curl(&gateway, "/echo", &["--data-binary", &upload]) == origin.body);
}

#[test]
fn many_streams_share_few_connections_without_a_failure() {
    let origin = Origin::start();
    let gateway = origin.gateway();
    for protocol in ["--h1", "--no-tls-proto=h2c"] {
        let output = Command::new("h2load")
            .args(["-n", "2000", "-c", "8", "-m", "8", protocol, &format!("http://{}/", gateway.address())])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    }
}

#[test]
fn a_protocol_that_does_not_go_with_the_url_is_an_error() {
    for (url, protocol, remedy) in
        [("http://127.0.0.1:1", "h2", "h2c"), ("https://127.0.0.1:1", "h2c", "HTTP/2 by TLS")]
    {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("gatewayd.toml");
        let config = format!("[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"{protocol}\" }}]\n");
        std::fs::write(&file, config).unwrap();
        let output = cli(&["check", file.to_str().unwrap()]);
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(remedy), "{said}");
    }
}

/// A backend that refuses the streams of its first connections, unseen, and serves those of all others.
struct Refusing {
    address: SocketAddr,
    refused: Arc<AtomicUsize>,
    served: Arc<AtomicUsize>,
}

impl Refusing {
    fn start(refuses: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (refused, served) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (Arc::clone(&refused), Arc::clone(&served));
        std::thread::spawn(move || {
            for (place, stream) in listener.incoming().enumerate() {
                let (refused, served) = counts.clone();
                let Ok(stream) = stream else { return };
                std::thread::spawn(move || match place < refuses {
                    true => answer(stream, &refused, HEADERS, |peer, stream| {
                        peer.send(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes());
                    }),
                    false => answer(stream, &served, DATA, |peer, stream| {
                        peer.send(HEADERS, END_HEADERS | END_STREAM, stream, &[0x88]);
                    }),
                });
            }
        });
        Self { address, refused, served }
    }

    fn counts(&self) -> (usize, usize) {
        (self.refused.load(SeqCst), self.served.load(SeqCst))
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers each request at its head, or at its end.
fn answer(stream: TcpStream, count: &AtomicUsize, at: u8, say: impl Fn(&mut Peer, u32)) {
    let Some(mut peer) = Peer::accepted(stream) else { return };
    while let Some(frame) = peer.read() {
        if frame.kind == HEADERS && at == HEADERS || at != HEADERS && frame.ends_stream() {
            count.fetch_add(1, SeqCst);
            say(&mut peer, frame.stream);
        }
    }
}

fn gateway_of(backends: &[&Refusing]) -> Gateway {
    let urls: Vec<String> = backends.iter().map(|backend| format!("\"{}\"", backend.url())).collect();
    let config = format!(
        "{STATUS_LISTENER}[upstreams.a]\nprotocol = \"h2c\"\nbackends = [{}]\n[[rules]]\nupstream = \"a\"\n",
        urls.join(", ")
    );
    launch().config(&config).start()
}

#[test]
fn a_refused_stream_is_opened_anew_on_another_connection_whatever_its_method() {
    let backend = Refusing::start(1);
    let gateway = gateway_of(&[&backend]);
    let code = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "not twice"];
    assert_eq!(curl(&gateway, "/", &code), "200");
    assert_eq!(backend.counts(), (1, 1));
}

#[test]
fn a_backend_that_refuses_on_and_on_is_passed_over_without_blame() {
    let (busy, free) = (Refusing::start(usize::MAX), Refusing::start(0));
    let gateway = gateway_of(&[&busy, &free]);
    for _ in 0..20 {
        let code = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "not twice"];
        assert_eq!(curl(&gateway, "/", &code), "200");
    }
    assert_eq!(free.counts(), (0, 20), "each was served once");
    assert!(busy.counts().0 >= 10, "and half of them were refused first: {:?}", busy.counts());
    assert_eq!(backend_status(&gateway, "a", &busy.url())["healthy"], true);
}

#[test]
fn a_stream_that_everyone_refuses_is_an_error_after_a_bounded_number_of_tries() {
    let backends = [Refusing::start(usize::MAX), Refusing::start(usize::MAX)];
    let gateway = gateway_of(&[&backends[0], &backends[1]]);
    let response = gateway.fetch("POST", "/", &[("Content-Length", "0")]);
    assert_eq!((response.status, response.json()["code"].as_str()), (502, Some("upstream_reset")));
    assert_eq!(backends[0].counts().0 + backends[1].counts().0, 4);
}

#[test]
fn http2_is_spoken_by_tls_where_it_is_agreed_on() {
    let (port, directory) = (Port::free(), TempDir::new().unwrap());
    let authority = Authority::new("ca");
    authority.issue(&["localhost", "127.0.0.1"]).write(directory.path(), "server");
    let ca = authority.write(&directory.path().join("ca.pem"));
    std::fs::write(directory.path().join("index.html"), "by TLS\n").unwrap();
    let file = |name: &str| directory.path().join(name);
    let _server = Process::spawn(
        Command::new("nghttpd")
            .args(["--echo-upload", "-a", "127.0.0.1", "-d"])
            .arg(directory.path())
            .arg(port.address().port().to_string())
            .args([file("server.key"), file("server.crt")]),
    );
    eventually("nghttpd listens", PATIENCE, || TcpStream::connect(port.address()).is_ok());
    let url = format!("https://{}", port.address());
    let gateway = launch()
        .config(&format!(
            "[upstreams.a]\nprotocol = \"h2\"\ntls = {{ ca = \"{}\" }}\nbackends = [\"{url}\"]\n[[rules]]\nupstream = \"a\"\n",
            ca.display()
        ))
        .start();
    assert_eq!(gateway.get("/").text(), "by TLS\n");
    let body = "0123456789abcdef".repeat(50_000);
    let upload = file("body");
    std::fs::write(&upload, &body).unwrap();
    let upload = format!("@{}", upload.display());
    assert!(curl(&gateway, "/echo", &["--data-binary", &upload]) == body);
    let output = Command::new("h2load")
        .args(["-n", "1000", "-c", "4", "-m", "8", &format!("http://{}/", gateway.address())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
}
