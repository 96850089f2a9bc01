//! HTTP/2 to backends: nghttpd as it comes.

use std::process::Command;

use lb_testkit::{Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use super::curl;
use crate::support::{cli, launch};

/// nghttpd on a directory, in the clear.
struct Origin {
    port: Port,
    _process: Process,
    _directory: TempDir,
    body: String,
}

impl Origin {
    fn start() -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let body = "0123456789abcdef".repeat(100_000);
        std::fs::write(directory.path().join("large"), &body).unwrap();
        std::fs::write(directory.path().join("index.html"), "hello\n").unwrap();
        let process = Process::spawn(
            Command::new("nghttpd")
                .args(["--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d"])
                .arg(directory.path())
                .arg(port.address().port().to_string()),
        );
        eventually("nghttpd listens", PATIENCE, || std::net::TcpStream::connect(port.address()).is_ok());
        Self { port, _process: process, _directory: directory, body }
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
