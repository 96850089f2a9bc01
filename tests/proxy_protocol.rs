//! The PROXY protocol: taken from load balancers that are believed, and spoken to backends that want it. HAProxy and nginx as they
//! come stand on either side.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use lb_testkit::{Authority, Backend, Client, Gateway, PATIENCE, Port, Process, Response, eventually};
use tempfile::TempDir;

use crate::support::{STATUS_LISTENER, cli, echoed, gateway, launch, rule, tally, urls};

const GET: &str = "GET / HTTP/1.1\r\nHost: gateway.localhost\r\n\r\n";
/// 203.0.113.7:4711 to 203.0.113.80:443.
const TEXT: &[u8] = b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 443\r\n";
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xcb\0\x71\x50\x12\x67\x01\xbb";
const BINARY_SIX: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x50\x12\x67\x01\xbb";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A listener that wants a PROXY header, with status pages on another one.
fn proxied(keys: &str) -> String {
    format!(
        "[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nproxy_protocol = {keys}\n\
         [[listeners]]\nname = \"status\"\naddress = \"{{listen2}}\"\nstatus_endpoints = true\n"
    )
}

const FROM_HERE: &str = "{ from = [\"127.0.0.1\"] }";

/// Sends a header and a request on a connection of their own.
#[track_caller]
fn ask(gateway: &Gateway, header: &[u8]) -> Response {
    let mut client = gateway.client();
    client.send([header, GET.as_bytes()].concat());
    client.response()
}

/// How many connections were refused for this reason.
fn refused(gateway: &Gateway, reason: &str) -> u64 {
    let metrics = lb_testkit::fetch(gateway.address_of("listen2"), "GET", "/metrics", &[]).text();
    let series = format!("gatewayd_proxy_protocol_refused_total{{listener=\"web\",reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&series));
    value.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().unwrap()
}

#[test]
fn the_client_that_a_header_names_is_the_client_everywhere() {
    let backend = Backend::echo("a");
    let config = format!("access_log = true\n{}{}", proxied(FROM_HERE), rule("", &[&backend]));
    let gateway = gateway(&config);
    for (header, address) in [
        (TEXT, "203.0.113.7"),
        (BINARY, "203.0.113.7"),
        (BINARY_SIX, "2001:db8::7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
        (LOCAL, "127.0.0.1"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ] {
        let response = ask(&gateway, header);
        assert_eq!(response.status, 200, "{address}");
        assert_eq!(echoed(&response, "X-Forwarded-For"), [address]);
        assert_eq!(echoed(&response, "X-Real-IP"), [address]);
        let id = response.header("x-request-id").unwrap().to_owned();
        let line = gateway.log_line("the request is logged", |line| line["request_id"] == id.as_str());
        assert_eq!(line["client_ip"], address);
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_a_connection_goes_on_as_any_other() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{}", proxied(FROM_HERE), rule("", &[&backend])));
    for header in [TEXT, BINARY, BINARY_SIX] {
        let mut client = gateway.client();
        for byte in header {
            client.send([*byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..3 {
            client.send(GET);
            let response = client.response();
            assert!(echoed(&response, "X-Forwarded-For")[0].ends_with('7'), "{:?}", response.text());
        }
    }
    // What follows a header is looked at no more.
    let mut client = gateway.client();
    client.send([TEXT, GET.as_bytes(), TEXT].concat());
    assert_eq!(client.response().status, 200);
    assert_eq!(client.response().status, 400);
}

#[test]
fn a_named_client_is_balanced_by_its_own_address() {
    let backends: Vec<Backend> = ["a", "b", "c", "d"].iter().map(|name| Backend::echo(name)).collect();
    let backends: Vec<&Backend> = backends.iter().collect();
    let config = rule("load_balancing = \"ip_hash\"", &backends);
    let gateway = gateway(&format!("{}{config}", proxied(FROM_HERE)));
    let ask = |last: u8| {
        let header = format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 1000 80\r\n");
        ask(&gateway, header.as_bytes()).json()["backend"].as_str().unwrap().to_owned()
    };
    let first: Vec<String> = (0..50).map(ask).collect();
    assert_eq!(tally(first.iter().cloned()).len(), 4, "fifty addresses spread over all");
    assert_eq!((0..50).map(ask).collect::<Vec<_>>(), first);
}

#[test]
fn what_a_named_trusted_proxy_says_of_others_is_believed() {
    let backend = Backend::echo("a");
    let trusted = "trusted_proxies = [\"203.0.113.0/24\"]";
    let gateway = gateway(&format!("{trusted}\n{}{}", proxied(FROM_HERE), rule("", &[&backend])));
    let mut client = gateway.client();
    let fields = "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.9\r\n\r\n";
    client.send([TEXT, fields.as_bytes()].concat());
    assert_eq!(echoed(&client.response(), "X-Forwarded-For"), ["198.51.100.9, 203.0.113.7"]);
    let mut client = gateway.client();
    client.send([b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", fields.as_bytes()].concat());
    assert_eq!(echoed(&client.response(), "X-Forwarded-For"), ["192.0.2.1"]);
}

#[test]
fn a_stranger_is_closed_before_a_word_and_counted() {
    let backend = Backend::echo("a");
    // By default those are believed that are trusted in other ways, too.
    let config = format!("trusted_proxies = [\"127.0.0.9\"]\n{}{}", proxied("true"), rule("", &[&backend]));
    let gateway = gateway(&config);
    let before = refused(&gateway, "untrusted");
    let mut stranger = gateway.client();
    stranger.try_send([TEXT, GET.as_bytes()].concat()).ok();
    assert_eq!(stranger.read_to_close(), b"");
    assert_eq!(backend.hits(), 0);
    assert_eq!(refused(&gateway, "untrusted"), before + 1);
    let mut friend = Client::connect_from("127.0.0.9".parse().unwrap(), gateway.address());
    friend.send([TEXT, GET.as_bytes()].concat());
    assert_eq!(echoed(&friend.response(), "X-Forwarded-For"), ["203.0.113.7"]);
    let line = gateway.log_line("it is said", |line| line["peer"] == "127.0.0.1");
    assert_eq!(line["listener"], "web");
}

#[test]
fn what_is_no_good_header_is_closed_unanswered_and_counted_by_its_reason() {
    let backend = Backend::echo("a");
    let keys = "{ from = [\"127.0.0.1\"], timeout = \"300ms\" }";
    let gateway = gateway(&format!("{}{}", proxied(keys), rule("", &[&backend])));
    let overrun = [&BINARY[..14], b"\0\x0f", &BINARY[16..], b"\x04\0\x01"].concat();
    let too_long = [&BINARY[..14], b"\xff\xff", &BINARY[16..]].concat();
    let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
    let malformed: [&[u8]; 6] = [
        GET.as_bytes(),
        b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 443 \r\n",
        b"PROXY TCP4 203.0.113.7 203.0.113.80 4711 443\n",
        &overrun,
        &too_long,
        &endless,
    ];
    for (bytes, count) in malformed.iter().zip(1..) {
        let mut client = gateway.client();
        client.try_send(bytes).ok();
        client.try_send(GET).ok();
        // Bytes that nobody has read make the close a reset.
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut client.stream(), &mut rest).ok();
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(bytes));
        eventually("it is counted", PATIENCE, || refused(&gateway, "malformed") == count);
    }
    let mut late = gateway.client();
    late.send(&TEXT[..20]);
    assert_eq!(late.read_to_close(), b"");
    assert_eq!(refused(&gateway, "timeout"), 1);
    let silent = gateway.client().read_to_close();
    assert_eq!((silent, refused(&gateway, "timeout")), (Vec::new(), 2));
    // The test kit has seen by connecting whether the gateway listens.
    let before = refused(&gateway, "closed");
    drop(gateway.client());
    eventually("a look whether anyone listens", PATIENCE, || refused(&gateway, "closed") == before + 1);
    assert_eq!(backend.hits(), 0);
    assert_eq!(ask(&gateway, TEXT).status, 200, "all others are served as ever");
}

#[test]
fn connections_are_counted_for_the_address_that_is_named() {
    let backend = Backend::echo("a");
    let listener =
        proxied(FROM_HERE).replacen("proxy_protocol", "max_connections_per_address = 2\nproxy_protocol", 1);
    let gateway = gateway(&format!("{listener}{}", rule("", &[&backend])));
    let connect = || {
        let mut client = gateway.client();
        client.send([TEXT, GET.as_bytes()].concat());
        client
    };
    let mut kept = [connect(), connect()];
    kept.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert!(connect().try_response("GET").is_err(), "the third is closed");
    assert_eq!(ask(&gateway, BINARY_SIX).status, 200, "another address has a count of its own");
    drop(kept);
    eventually("there is room again", PATIENCE, || connect().try_response("GET").is_ok());
}

#[test]
fn tls_and_http2_begin_behind_a_header() {
    let backend = Backend::echo("a");
    let launch = launch();
    let pair = Authority::new("ca").issue(&["localhost"]).write(launch.directory(), "server");
    let tls = format!("tls = {{ {pair} }}\nproxy_protocol");
    let listener = proxied(FROM_HERE).replacen("proxy_protocol", &tls, 1);
    let gateway = launch.config(&format!("{listener}{}", rule("", &[&backend]))).start();
    for version in ["--http1.1", "--http2"] {
        let output = Command::new("curl")
            .args(["-sk", "--haproxy-protocol", version, "--interface", "127.0.0.1"])
            .arg(format!("https://localhost:{}/", gateway.address().port()))
            .output()
            .unwrap();
        assert!(output.status.success(), "{version}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("127.0.0.1"), "{output:?}");
    }
}

#[test]
fn a_reload_turns_it_on_and_off() {
    let backend = Backend::echo("a");
    let rules = rule("", &[&backend]);
    let gateway = gateway(&format!("{}{rules}", proxied("false")));
    assert_eq!(gateway.get("/").status, 200);
    let reload = |keys: &str, is_on: bool| {
        gateway.write_config(&format!("{}{rules}", proxied(keys)));
        gateway.signal("HUP");
        eventually("it is in force", PATIENCE, || {
            let mut client = gateway.client();
            client.send([if is_on { TEXT } else { b"" }, GET.as_bytes()].concat());
            client.try_response("GET").is_ok_and(|response| response.status == 200)
        });
    };
    reload(FROM_HERE, true);
    reload("false", false);
}

/// A real server or load balancer with its configuration.
pub(crate) struct Peer {
    pub(crate) port: Port,
    _process: Process,
    _directory: TempDir,
}

impl Peer {
    pub(crate) fn start(
        config: impl Fn(&str, SocketAddr) -> String,
        command: impl Fn(&str) -> Command,
    ) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let root = directory.path().display().to_string();
        let file = format!("{root}/config");
        let text = config(&root, port.address());
        std::fs::File::create(&file).unwrap().write_all(text.as_bytes()).unwrap();
        let process = Process::spawn(&mut command(&file));
        eventually("it listens", PATIENCE, || TcpStream::connect(port.address()).is_ok());
        Self { port, _process: process, _directory: directory }
    }

    pub(crate) fn haproxy(proxies: impl Fn(SocketAddr) -> String) -> Self {
        let defaults =
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
        Self::start(
            |_, address| format!("{defaults}{}", proxies(address)),
            |file| {
                let mut command = Command::new("/usr/sbin/haproxy");
                command.args(["-db", "-f", file]);
                command
            },
        )
    }

    /// Says who it was told the client is.
    fn nginx() -> Self {
        Self::start(
            |root, address| {
                format!(
                    "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr;
                     events {{ worker_connections 256; }}
                     http {{
                       access_log off; client_body_temp_path {root}/b; proxy_temp_path {root}/p;
                       fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                       server {{
                         listen {address} proxy_protocol;
                         return 200 \"$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_port\";
                       }}
                     }}"
                )
            },
            |file| {
                let program = if std::path::Path::new("/usr/sbin/nginx").exists() {
                    "/usr/sbin/nginx"
                } else {
                    "nginx"
                };
                let mut command = Command::new(program);
                command.args(["-e", "stderr", "-c", file]);
                command
            },
        )
    }

    fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

/// Asks from an address of this machine; who it was, with its port, and the answer.
#[track_caller]
fn ask_from(source: &str, address: SocketAddr) -> (SocketAddr, Response) {
    let mut client = Client::connect_from(source.parse().unwrap(), address);
    let own = client.stream().local_addr().unwrap();
    let response = client.get("/");
    (own, response)
}

#[test]
fn haproxy_tells_it_who_its_clients_are() {
    let backend = Backend::echo("a");
    let gateway = gateway(&format!("{}{}", proxied(FROM_HERE), rule("", &[&backend])));
    let to = gateway.address();
    for option in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"] {
        let haproxy = Peer::haproxy(|address| {
            format!(
                "listen l\n bind {address}\n unique-id-format %[uuid()]\n server s {to} {option} check inter 100\n"
            )
        });
        for source in ["127.0.0.7", "127.0.0.8"] {
            let (_, response) = ask_from(source, haproxy.port.address());
            assert_eq!(response.status, 200, "{option}: {}", response.text());
            assert_eq!(echoed(&response, "X-Forwarded-For"), [source], "{option}");
        }
    }
    assert_eq!(refused(&gateway, "malformed"), 0);
}

#[test]
fn backends_are_told_who_the_client_is() {
    let haproxy = Peer::haproxy(|address| {
        format!(
            "frontend f\n bind {address} accept-proxy\n http-request return status 200 content-type text/plain lf-string \"%[src] %[src_port] %[dst_port]\"\n"
        )
    });
    let nginx = Peer::nginx();
    for peer in [&haproxy, &nginx] {
        for version in ["v1", "v2"] {
            let gateway = gateway(&format!(
                "[[rules]]\nbackends = [{{ url = \"{}\", proxy_protocol = \"{version}\" }}]\n",
                peer.url()
            ));
            for source in ["127.0.0.7", "127.0.0.8"] {
                let mut client = Client::connect_from(source.parse().unwrap(), gateway.address());
                let port = client.stream().local_addr().unwrap().port();
                let expected = format!("{source} {port} {}", gateway.address().port());
                for _ in 0..3 {
                    assert_eq!(client.get("/").text(), expected, "{version}");
                }
            }
        }
    }
}

#[test]
fn no_connection_that_speaks_for_one_client_carries_another() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&lines);
    let backend = Backend::scripted(move |conn| {
        let Some(line) = conn.line() else { return };
        while conn.request().is_some() {
            seen.lock().unwrap().push(line.clone());
            conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = gateway(&format!(
        "[upstreams.a]\nproxy_protocol = \"v1\"\nbackends = [{}]\n[[rules]]\nupstream = \"a\"\n",
        urls(&[&backend])
    ));
    let sources = ["127.0.0.7", "127.0.0.8", "127.0.0.7", "127.0.0.9"];
    for source in sources {
        let (own, response) = ask_from(source, gateway.address());
        assert_eq!(response.status, 200);
        let expected =
            format!("PROXY TCP4 {source} 127.0.0.1 {} {}\r\n", own.port(), gateway.address().port());
        assert_eq!(lines.lock().unwrap().last(), Some(&expected));
    }
    assert_eq!(backend.accepted(), sources.len(), "a connection each");
    eventually("and none is kept", PATIENCE, || backend.open_connections() == 0);
}

#[test]
fn a_client_address_survives_two_hops_and_probes_speak_for_the_gateway() {
    let nginx = Peer::nginx();
    let second = gateway(&format!(
        "{}[[rules]]\nhealth_check = {{ path = \"/\", interval = \"50ms\" }}\n\
         backends = [{{ url = \"{}\", proxy_protocol = \"v1\" }}]\n",
        proxied(FROM_HERE),
        nginx.url()
    ));
    let first = gateway(&format!(
        "{STATUS_LISTENER}[[rules]]\nhealth_check = {{ path = \"/\", interval = \"50ms\" }}\n\
         backends = [{{ url = \"http://{}\", proxy_protocol = \"v2\" }}]\n",
        second.address()
    ));
    let (own, response) = ask_from("127.0.0.7", first.address());
    let expected = format!("127.0.0.7 {} {}", own.port(), first.address().port());
    assert_eq!(response.text(), expected);
    // Its probes are answered too, and so they speak the protocol.
    std::thread::sleep(Duration::from_millis(300));
    let status = crate::support::backend_status(&first, "rule-1", &format!("http://{}", second.address()));
    assert_eq!(status["healthy"], true, "{status}");
    assert_eq!(refused(&second, "malformed"), 0);
}

#[test]
fn what_makes_no_sense_is_refused_where_it_stands() {
    let refused = |config: &str| {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("gatewayd.toml");
        std::fs::write(&file, config).unwrap();
        let output = cli(&["check", &file.display().to_string()]);
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let rules = "[[rules]]\nbackends = [\"127.0.0.1:9\"]\n";
    let nobody = refused(&format!("[[listeners]]\nproxy_protocol = true\n{rules}"));
    assert!(nobody.contains("nobody is believed") && nobody.contains("trusted_proxies"), "{nobody}");
    let shared =
        "[[rules]]\nbackends = [{ url = \"127.0.0.1:9\", protocol = \"h2c\", proxy_protocol = \"v2\" }]\n";
    assert!(refused(shared).contains("many clients share one"));
    let word = "[[rules]]\nbackends = [{ url = \"127.0.0.1:9\", proxy_protocol = \"v3\" }]\n";
    assert!(refused(word).contains("`v1`"), "{}", refused(word));
}
