//! Backends that leave the choice of HTTP to TLS: nginx and nghttpd, with and without HTTP/2; and what becomes of requests that a
//! backend has not looked at when it goes.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use lb_testkit::{Authority, Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use super::curl;
use super::frames::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, Peer};
use crate::support::launch;

/// A place for an nginx by TLS that comes and goes.
struct Place {
    port: Port,
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let authority = Authority::new("ca");
        authority.issue(&["localhost", "127.0.0.1"]).write(directory.path(), "server");
        authority.write(&directory.path().join("ca.pem"));
        Self { port, directory }
    }

    fn nginx(&self, protocols: &str) -> Process {
        let (root, address) = (self.directory.path().display(), self.port.address());
        let config = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr;
             events {{ worker_connections 256; }}
             http {{
               access_log off;
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
               uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
               server {{
                 listen {address} {protocols}; ssl_certificate {root}/server.crt; ssl_certificate_key {root}/server.key;
                 location / {{ return 200 '$server_protocol $connection $connection_requests $http_upgrade'; }}
               }}
             }}"
        );
        let file = self.directory.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let process = Process::spawn(Command::new(program).args(["-e", "stderr", "-c"]).arg(file));
        eventually("nginx listens", PATIENCE, || TcpStream::connect(address).is_ok());
        process
    }

    fn gateway(&self, lines: &str) -> Gateway {
        let ca = self.directory.path().join("ca.pem");
        let config = format!(
            "[server]\nworkers = 1\n[upstreams.a]\nprotocol = \"auto\"\ntls = {{ ca = \"{}\" }}\n{lines}\nbackends = [\"https://{}\"]\n\
             [[rules]]\nupstream = \"a\"\n",
            ca.display(),
            self.port.address()
        );
        launch().config(&config).start()
    }
}

/// Version, the connection's number, the request's number on it.
fn asked(gateway: &Gateway) -> (String, String, u32) {
    let text = gateway.get("/").text();
    let mut words = text.split(' ').map(str::to_owned);
    let mut word = || words.next().unwrap_or_default();
    (word(), word(), word().parse().unwrap_or_default())
}

#[test]
fn what_a_backend_speaks_is_what_it_is_asked_in_and_kept_for_the_next_request() {
    for (protocols, spoken) in [("ssl", "HTTP/1.1"), ("ssl http2", "HTTP/2.0")] {
        let place = Place::new();
        let _nginx = place.nginx(protocols);
        let gateway = place.gateway("");
        let (first, second) = (asked(&gateway), asked(&gateway));
        assert_eq!((first.0.as_str(), first.2), (spoken, 1));
        assert_eq!(second, (first.0, first.1, 2), "{protocols}: one connection for both");
    }
}

#[test]
fn a_backend_that_speaks_something_else_after_a_restart_is_followed() {
    let place = Place::new();
    let gateway = place.gateway("");
    for (protocols, spoken) in
        [("ssl", "HTTP/1.1"), ("ssl http2", "HTTP/2.0"), ("ssl", "HTTP/1.1"), ("ssl http2", "HTTP/2.0")]
    {
        let mut nginx = place.nginx(protocols);
        for _ in 0..3 {
            assert_eq!(asked(&gateway).0, spoken);
        }
        assert_eq!(curl(&gateway, "/", &[]).split(' ').next(), Some(spoken));
        nginx.signal("TERM");
        assert!(nginx.wait(PATIENCE).is_some());
    }
}

#[test]
fn what_may_become_another_protocol_is_asked_in_http_1() {
    let place = Place::new();
    let _nginx = place.nginx("ssl http2");
    let gateway = place.gateway("");
    assert_eq!(asked(&gateway).0, "HTTP/2.0");
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let text = gateway.fetch("GET", "/", &upgrade).text();
    assert!(text.starts_with("HTTP/1.1 ") && text.ends_with(" websocket"), "{text}");
    assert_eq!(asked(&gateway).0, "HTTP/2.0", "others go on as they were");
}

#[test]
fn connections_that_speak_for_one_client_are_of_http_1() {
    let place = Place::new();
    let _nginx = place.nginx("ssl http2 proxy_protocol");
    let gateway = place.gateway("proxy_protocol = \"v2\"");
    assert_eq!(asked(&gateway).0, "HTTP/1.1");
}

#[test]
fn nghttpd_by_tls_is_asked_in_http_2() {
    let place = Place::new();
    let root = place.directory.path();
    let body = "0123456789abcdef".repeat(50_000);
    fs::write(root.join("large"), &body).unwrap();
    let _server = Process::spawn(
        Command::new("nghttpd")
            .args(["-a", "127.0.0.1", "-d"])
            .arg(root)
            .arg(place.port.address().port().to_string())
            .args([root.join("server.key"), root.join("server.crt")]),
    );
    eventually("nghttpd listens", PATIENCE, || TcpStream::connect(place.port.address()).is_ok());
    let gateway = place.gateway("");
    assert!(gateway.get("/large").text() == body);
    let output = Command::new("h2load")
        .args(["-n", "1000", "-c", "4", "-m", "8", &format!("http://{}/", gateway.address())])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("1000 done") && said.contains("0 errored, 0 timeout"), "{said}");
}

/// A backend of HTTP/2 in the clear whose first connection ends with GOAWAY at the first request, and whose others serve it.
struct Going {
    address: SocketAddr,
    /// The connections on which requests came, by their number.
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Going {
    /// `last` is the last stream that it owns up to.
    fn start(last: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, seen) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            for (place, stream) in listener.incoming().enumerate() {
                let Some(mut peer) = stream.ok().and_then(Peer::accepted) else { return };
                while let Some(frame) = peer.read() {
                    if !frame.ends_stream() {
                        continue;
                    }
                    noted.lock().unwrap().push(place);
                    if place == 0 {
                        peer.send(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
                        break;
                    }
                    peer.send(HEADERS, END_HEADERS | END_STREAM, frame.stream, &[0x88]);
                }
            }
        });
        Self { address, seen }
    }

    fn answers(&self) -> String {
        let url = format!("http://{}", self.address);
        let config = format!("[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n");
        let gateway = launch().config(&config).start();
        let code = ["-o", "/dev/null", "-w", "%{http_code}", "--data-binary", "not twice"];
        curl(&gateway, "/", &code)
    }
}

#[test]
fn a_request_above_the_last_stream_of_a_goaway_is_sent_again_whatever_its_method() {
    let backend = Going::start(0);
    assert_eq!(backend.answers(), "200");
    assert_eq!(*backend.seen.lock().unwrap(), [0, 1]);
}

#[test]
fn a_request_up_to_the_last_stream_of_a_goaway_is_sent_once() {
    let backend = Going::start(1);
    assert_eq!(backend.answers(), "502");
    assert_eq!(*backend.seen.lock().unwrap(), [0]);
}
