//! TLS with clients: curl and openssl as they come, and what is no client at all.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use lb_testkit::{Authority, Backend, Client, Gateway, Launch, PATIENCE, eventually};

use crate::support::{echoed, launch, rule};

/// A gateway by TLS, and those who vouch for it.
pub(crate) struct Secure {
    pub(crate) gateway: Gateway,
    pub(crate) authority: Authority,
}

impl Secure {
    /// With a certificate for localhost; `tls` is more of the listener's table, `more` of the configuration.
    #[track_caller]
    pub(crate) fn start(tls: &str, more: &str) -> Self {
        let (launch, authority) = (launch(), Authority::new("Trial Root"));
        let pair = authority.issue(&["localhost", "127.0.0.1"]).write(launch.directory(), "server");
        Self { gateway: secured(launch, &format!("{pair}, {tls}"), more), authority }
    }

    /// What curl says to `https://localhost` and a path.
    #[track_caller]
    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> Output {
        let ca = self.authority.write(&self.gateway.directory().join("root.pem"));
        let url = format!("https://localhost:{}{path}", self.gateway.address().port());
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert"]).arg(ca).args(arguments).arg(url);
        command.output().unwrap()
    }

    /// The body of an answer that curl is content with.
    #[track_caller]
    fn body(&self, path: &str, arguments: &[&str]) -> String {
        let output = self.curl(path, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn metric(&self, line: &str) -> u64 {
        let metrics = self.body("/metrics", &[]);
        let value = metrics.lines().find_map(|found| found.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// `openssl s_client` with a request on its standard input.
    fn s_client(&self, arguments: &[&str], request: &str) -> String {
        s_client(&self.gateway, arguments, request)
    }
}

/// A gateway with this in its listener's `tls` table.
#[track_caller]
pub(crate) fn secured(launch: Launch, tls: &str, more: &str) -> Gateway {
    let config = format!(
        "[[listeners]]\nname = \"web\"\naddress = \"{{listen}}\"\nstatus_endpoints = true\ntls = {{ {tls} }}\n{more}"
    );
    launch.config(&config).start()
}

/// All that `openssl s_client` says; it ends when the gateway closes.
pub(crate) fn s_client(gateway: &Gateway, arguments: &[&str], request: &str) -> String {
    let address = gateway.address().to_string();
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Where the handshake fails, nobody reads it.
    let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
    let output = child.wait_with_output().unwrap();
    [output.stdout, output.stderr].concat().iter().map(|&byte| char::from(byte)).collect()
}

/// A request after which the connection ends.
pub(crate) const LAST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

#[test]
fn curl_is_content_by_both_versions_and_backends_are_told_of_https() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let json: serde_json::Value = serde_json::from_str(&secure.body("/x?y=1", version)).unwrap();
        assert_eq!(json["target"], "/x?y=1");
    }
    let last = backend.requests().pop().unwrap();
    assert_eq!(last.header("x-forwarded-proto"), Some("https"));
    assert_eq!(secure.metric("gatewayd_tls_handshakes_total{listener=\"web\",kind=\"full\"}"), 3);
}

#[test]
fn the_clients_forwarded_field_says_https() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    secure.body("/", &["-H", "Forwarded: for=6.6.6.6;proto=http"]);
    let last = backend.requests().pop().unwrap();
    assert!(last.header("forwarded").unwrap().starts_with("for=127.0.0.1;proto=https"));
}

#[test]
fn bodies_pass_whole_both_ways() {
    let backend = Backend::echo("a");
    let gateway = Secure::start("", &rule("", &[&backend]));
    let data = gateway.gateway.directory().join("data");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number / 7 % 251) as u8).collect();
    std::fs::write(&data, &bytes).unwrap();
    let upload = format!("@{}", data.display());
    for framing in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
        gateway.body("/up", &[&["--data-binary", &upload], framing].concat());
        assert_eq!(backend.requests().pop().unwrap().body, bytes);
    }
    let (head, payload) =
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()), bytes.clone());
    let large = Backend::fixed([head.into_bytes(), payload].concat());
    let gateway = Secure::start("", &rule("", &[&large]));
    for version in ["--tls-max", "--tlsv1.3"].iter().zip(["1.2", ""]) {
        let arguments: Vec<&str> =
            [*version.0, version.1].into_iter().filter(|word| !word.is_empty()).collect();
        assert!(gateway.curl("/", &arguments).stdout == bytes, "the body was changed");
    }
}

#[test]
fn an_answer_that_ends_with_the_connection_ends_with_a_notice() {
    // openssl says so where the session was not ended before the connection.
    let backend = Backend::close_delimited("until the end");
    let secure = Secure::start("", &rule("", &[&backend]));
    let said = secure.s_client(&[], "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
    assert!(said.contains("until the end"), "{said}");
    assert!(!said.contains("unexpected eof") && said.contains("closed"), "{said}");
}

#[test]
fn an_answer_that_breaks_off_is_not_ended_with_a_notice() {
    let backend = Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
    let secure = Secure::start("", &rule("", &[&backend]));
    let said = secure.s_client(&[], LAST);
    assert!(said.contains("unexpected eof"), "{said}");
}

#[test]
fn versions_of_old_are_not_spoken() {
    let backend = Backend::echo("a");
    let old = ["-cipher", "DEFAULT@SECLEVEL=0"];
    let secure = Secure::start("", &rule("", &[&backend]));
    for version in ["-tls1", "-tls1_1"] {
        let said = secure.s_client(&[&old[..], &[version]].concat(), LAST);
        assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{version}: {said}");
    }
    assert!(secure.s_client(&["-tls1_2"], LAST).contains("200 OK"));
    assert_eq!(
        secure.metric("gatewayd_tls_handshake_failures_total{listener=\"web\",reason=\"incompatible\"}"),
        2
    );

    let strict = Secure::start("min_version = \"1.3\"", &rule("", &[&backend]));
    assert!(strict.s_client(&["-tls1_2"], LAST).contains("alert protocol version"));
    assert!(strict.s_client(&["-tls1_3"], LAST).contains("200 OK"));
}

#[test]
fn only_the_named_cipher_suites_are_spoken() {
    let backend = Backend::echo("a");
    let suites = "ciphers = [\"TLS_AES_128_GCM_SHA256\", \"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\"]";
    let secure = Secure::start(suites, &rule("", &[&backend]));
    assert!(secure.s_client(&["-tls1_3"], LAST).contains("Cipher is TLS_AES_128_GCM_SHA256"));
    assert!(secure.s_client(&["-tls1_2"], LAST).contains("Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"));
    let said = secure.s_client(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"], LAST);
    assert!(said.contains("handshake failure"), "{said}");
}

#[test]
fn the_certificate_follows_the_name_asked_for() {
    let backend = Backend::echo("a");
    let (launch, authority) = (launch(), Authority::new("Trial Root"));
    let names = [
        ("first", &["first.example"][..]),
        ("wild", &["*.wild.example"]),
        ("exact", &["exact.wild.example", "second.example"]),
    ];
    let pairs = names
        .map(|(name, names)| format!("{{ {} }}", authority.issue(names).write(launch.directory(), name)));
    let tls = format!("certificates = [{}]", pairs.join(", "));
    let gateway = secured(launch, &tls, &rule("", &[&backend]));
    for (asked, shown) in [
        (Some("first.example"), "first.example"),
        (Some("any.wild.example"), "*.wild.example"),
        (Some("ANY.Wild.Example"), "*.wild.example"),
        (Some("exact.wild.example"), "exact.wild.example"),
        (Some("second.example"), "exact.wild.example"),
        (Some("too.deep.wild.example"), "first.example"),
        (Some("wild.example"), "first.example"),
        (Some("unknown.example"), "first.example"),
        (None, "first.example"),
    ] {
        let name = asked.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
        let said = s_client(&gateway, &name, LAST);
        let subject = said.lines().find(|line| line.starts_with("subject=")).unwrap_or_default();
        assert_eq!(subject, format!("subject=CN = {shown}"), "{asked:?}");
    }
}

#[test]
fn of_two_certificates_for_a_name_the_client_is_shown_one_it_can_verify() {
    let backend = Backend::echo("a");
    let (launch, authority) = (launch(), Authority::new("Trial Root"));
    let elliptic = authority.issue(&["localhost"]).write(launch.directory(), "elliptic");
    let (cert, key) = (launch.directory().join("rsa.crt"), launch.directory().join("rsa.key"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=rsa"])
        .args(["-addext", "subjectAltName=DNS:localhost", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output();
    assert!(made.unwrap().status.success());
    let rsa = format!("cert = \"{}\", key = \"{}\"", cert.display(), key.display());
    let tls = format!("certificates = [{{ {elliptic} }}, {{ {rsa} }}]");
    let gateway = secured(launch, &tls, &rule("", &[&backend]));
    for (scheme, shown) in [("ECDSA+SHA256", "CN = localhost"), ("RSA-PSS+SHA256", "CN = rsa")] {
        let said = s_client(&gateway, &["-servername", "localhost", "-sigalgs", scheme], LAST);
        assert!(said.contains(&format!("subject={shown}")), "{scheme}: {said}");
    }
}

#[test]
fn a_session_is_resumed_by_whichever_worker() {
    let backend = Backend::echo("a");
    let more = format!("[server]\nworkers = 2\n{}", rule("", &[&backend]));
    let secure = Secure::start("", &more);
    let session = secure.gateway.directory().join("session").display().to_string();
    for version in ["-tls1_3", "-tls1_2"] {
        let first = secure.s_client(&[version, "-sess_out", &session], LAST);
        assert!(first.contains("New, TLSv1"), "{first}");
        for _ in 0..8 {
            let again = secure.s_client(&[version, "-sess_in", &session], LAST);
            assert!(again.contains("Reused, TLSv1") && again.contains("200 OK"), "{again}");
        }
    }
    assert_eq!(secure.metric("gatewayd_tls_handshakes_total{listener=\"web\",kind=\"resumed\"}"), 16);
}

#[test]
fn a_protocol_is_agreed_on_and_what_is_not_spoken_is_refused() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    assert!(secure.s_client(&["-alpn", "http/1.1"], LAST).contains("ALPN protocol: http/1.1"));
    assert!(
        secure.s_client(&["-alpn", "http/1.1,h2"], LAST).contains("ALPN protocol: h2"),
        "ours is the order"
    );
    assert!(secure.s_client(&["-alpn", "smtp"], LAST).contains("no application protocol"));
    assert!(secure.s_client(&[], LAST).contains("No ALPN negotiated"));
}

/// A gateway that asks for certificates, with a second listener in the clear, and the authority of the clients.
fn asking(mode: &str, backend: &Backend) -> (Secure, Authority) {
    let clients = Authority::new("Clients' Root");
    let launch = launch();
    let ca = clients.write(&launch.directory().join("clients.pem"));
    let authority = Authority::new("Trial Root");
    let pair = authority.issue(&["localhost", "127.0.0.1"]).write(launch.directory(), "server");
    let auth = format!(
        "client_auth = {{ ca = \"{}\", mode = \"{mode}\", subject_header = \"X-Client-Subject\" }}",
        ca.display()
    );
    let more = format!("[[listeners]]\naddress = \"{{listen2}}\"\n{}", rule("", &[backend]));
    (Secure { gateway: secured(launch, &format!("{pair}, {auth}"), &more), authority }, clients)
}

/// Writes a client's certificate down; the words of curl's that show it.
pub(crate) fn show(
    directory: &std::path::Path,
    clients: &Authority,
    name: &str,
    organisation: &str,
) -> Vec<String> {
    clients.issue_client(name, organisation).write(directory, "client");
    let file = |ending: &str| directory.join(ending).display().to_string();
    vec!["--cert".into(), file("client.crt"), "--key".into(), file("client.key")]
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn clients_must_show_a_certificate_that_is_believed() {
    let backend = Backend::echo("a");
    let (secure, clients) = asking("required", &backend);
    for version in ["--tlsv1.3", "--tls-max"].iter().zip(["", "1.2"]) {
        let version: Vec<&str> =
            [*version.0, version.1].into_iter().filter(|word| !word.is_empty()).collect();
        assert!(!secure.curl("/", &version).status.success(), "without");
        let stranger = show(secure.gateway.directory(), &Authority::new("Others"), "eve", "Elsewhere");
        assert!(
            !secure.curl("/", &[words(&stranger), version.clone()].concat()).status.success(),
            "a stranger"
        );
        let shown = show(secure.gateway.directory(), &clients, "alice, \"the\" üser", "Acme");
        secure.body("/", &[words(&shown), version].concat());
    }
    assert_eq!(backend.requests().len(), 2);
    let shown = show(secure.gateway.directory(), &clients, "alice, \"the\" üser", "Acme");
    secure.body("/", &[&words(&shown)[..], &["-H", "X-Client-Subject: CN=root"]].concat());
    let told = backend.requests().pop().unwrap();
    assert_eq!(told.headers("x-client-subject"), [r#"CN=alice\, \"the\" \C3\BCser,O=Acme"#]);
    let shown = words(&shown).into_iter().chain(["-o", "/dev/null"]).collect::<Vec<_>>();
    let metrics = secure.body("/metrics", &shown[..4]);
    assert!(metrics.contains("reason=\"client_certificate\"} 4"), "{metrics}");
}

#[test]
fn a_subject_is_never_the_clients_own_word_at_any_listener() {
    let backend = Backend::echo("a");
    let (secure, clients) = asking("optional", &backend);
    secure.body("/", &["-H", "X-Client-Subject: CN=root"]);
    let address = secure.gateway.address_of("listen2");
    let mut client = Client::connect(address);
    client.send("GET / HTTP/1.1\r\nHost: x\r\nX-Client-Subject: CN=root\r\n\r\n");
    assert_eq!(echoed(&client.response(), "x-client-subject"), Vec::<String>::new());
    for request in backend.requests() {
        assert_eq!(request.header("x-client-subject"), None);
    }
    let shown = show(secure.gateway.directory(), &clients, "bob", "Acme");
    secure.body("/", &words(&shown));
    assert_eq!(backend.requests().pop().unwrap().header("x-client-subject"), Some("CN=bob,O=Acme"));
}

#[test]
fn a_resumed_session_still_says_who_the_client_is() {
    let backend = Backend::echo("a");
    let (secure, clients) = asking("required", &backend);
    let shown = show(secure.gateway.directory(), &clients, "carol", "Acme");
    let session = secure.gateway.directory().join("session").display().to_string();
    let certificate = ["-cert", &shown[1], "-key", &shown[3]];
    secure.s_client(&[&certificate[..], &["-sess_out", &session]].concat(), LAST);
    let again = secure.s_client(&["-sess_in", &session], LAST);
    assert!(again.contains("Reused"), "{again}");
    assert_eq!(backend.requests().pop().unwrap().header("x-client-subject"), Some("CN=carol,O=Acme"));
}

#[test]
fn plain_http_is_told_that_this_port_speaks_tls() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let response = secure.gateway.get("/");
    assert_eq!(response.status, 400);
    assert!(response.text().starts_with("this port speaks TLS"), "{}", response.text());
    let failures = "gatewayd_tls_handshake_failures_total{listener=\"web\",reason=\"plain_http\"}";
    assert_eq!(secure.metric(failures), 1);
}

#[test]
fn what_is_no_tls_is_closed_and_counted() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let oversized = [&[22, 3, 1, 255, 255][..], &[0; 4096]].concat();
    let cut_off = [22, 3, 1, 0, 5, 1, 0, 0, 1, 0];
    for garbage in [&[0; 64][..], b"\x80\x2e\x01\x03\x01", b"ssh-2.0-client\r\n", &oversized, &cut_off] {
        let mut client = secure.gateway.client();
        client.try_send(garbage).ok();
        client.finish();
        let answer = client.read_to_close();
        // An alert at most.
        assert!(answer.len() <= 7, "{answer:?}");
    }
    let malformed = "gatewayd_tls_handshake_failures_total{listener=\"web\",reason=\"malformed\"}";
    eventually("all of them are counted", PATIENCE, || secure.metric(malformed) == 5);
    assert!(!secure.gateway.errors().contains("panicked"), "{}", secure.gateway.errors());
}

#[test]
fn a_handshake_that_stalls_is_over_in_time() {
    let backend = Backend::echo("a");
    let secure = Secure::start("handshake_timeout = \"300ms\"", &rule("", &[&backend]));
    let begun = Instant::now();
    let mut silent = secure.gateway.client();
    let mut halfway = secure.gateway.client();
    halfway.send([22, 3, 1, 2, 0, 1, 0]);
    assert_eq!(silent.read_to_close(), b"");
    assert_eq!(halfway.read_to_close(), b"");
    assert!(begun.elapsed() >= Duration::from_millis(250));
    let failures = "gatewayd_tls_handshake_failures_total{listener=\"web\",reason=\"timeout\"}";
    assert_eq!(secure.metric(failures), 2);
    // The deadline was the handshake's alone.
    assert!(secure.s_client(&[], LAST).contains("200 OK"));
}

#[test]
fn a_request_at_a_bytes_pace_is_read_all_the_same() {
    let backend = Backend::echo("a");
    // As the bytes of the handshake come one by one, records come in pieces.
    let secure = Secure::start("", &rule("", &[&backend]));
    let relay = Backend::scripted({
        let address = secure.gateway.address();
        move |conn| byte_by_byte(conn, address)
    });
    let url = format!("https://localhost:{}/slow", relay.address().port());
    let ca = secure.authority.write(&secure.gateway.directory().join("root.pem"));
    let output =
        Command::new("curl").args(["-sS", "--max-time", "20", "--cacert"]).arg(ca).arg(url).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("/slow"), "{output:?}");
}

/// Passes what a client sends on byte by byte, and answers as they come.
fn byte_by_byte(conn: &mut lb_testkit::Conn, address: std::net::SocketAddr) {
    use std::io::Read;
    let mut client = conn.stream().try_clone().unwrap();
    let mut gateway = std::net::TcpStream::connect(address).unwrap();
    gateway.set_nodelay(true).unwrap();
    let (mut answers, mut back) = (gateway.try_clone().unwrap(), client.try_clone().unwrap());
    let answering = std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
    let mut bytes = [0; 4096];
    while let Ok(count) = client.read(&mut bytes) {
        if count == 0 || bytes[..count].iter().any(|byte| gateway.write_all(&[*byte]).is_err()) {
            break;
        }
    }
    let _ = gateway.shutdown(std::net::Shutdown::Write);
    let _ = answering.join();
}

#[test]
fn an_idle_connection_is_kept_and_then_closed_with_a_notice() {
    let backend = Backend::echo("a");
    let secure = Secure::start("", &rule("", &[&backend]));
    let port = secure.gateway.address().port();
    let ca = secure.authority.write(&secure.gateway.directory().join("root.pem"));
    let one = format!("https://localhost:{port}/1");
    let output = Command::new("curl")
        .args(["-sS", "-w", "%{num_connects} ", "-o", "/dev/null", &one, "-o", "/dev/null", &one, "--cacert"])
        .arg(ca)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 0 ");
    assert_eq!(secure.metric("gatewayd_tls_handshakes_total{listener=\"web\",kind=\"full\"}"), 2);
}

#[test]
fn the_quick_start_of_an_earlier_gateway_works_on_4443() {
    let backends = [Backend::echo("a"), Backend::echo("b")];
    let launch = launch();
    let authority = Authority::new("Trial Root");
    std::fs::create_dir(launch.directory().join("certs")).unwrap();
    authority.issue(&["localhost"]).write(&launch.directory().join("certs"), "server");
    let lines = "tls = { cert = \"certs/server.crt\", key = \"certs/server.key\" }\nstatus_endpoints = true";
    let config = format!(
        "[[listeners]]\naddress = \"{{listen}}\"\n{lines}\n{}",
        rule("", &[&backends[0], &backends[1]])
    );
    let gateway = launch.config(&config).start();
    let secure = Secure { gateway, authority: Authority::new("nobody") };
    let body = |path| String::from_utf8(secure.curl(path, &["-k"]).stdout).unwrap();
    assert!(body("/ping").contains("round_robin") || body("/ping").contains("backends"), "{}", body("/ping"));
    let served: Vec<String> = (0..4).map(|_| body("/any")).collect();
    assert_eq!(served.iter().filter(|body| body.contains("\"a\"")).count(), 2, "{served:?}");
}

#[test]
fn a_self_signed_certificate_is_one_word_and_said_at_the_start() {
    let backend = Backend::echo("a");
    let config =
        format!("[[listeners]]\naddress = \"{{listen}}\"\ntls = \"self-signed\"\n{}", rule("", &[&backend]));
    let gateway = launch().config(&config).start();
    eventually("it is said", PATIENCE, || gateway.errors().contains("self-signed certificate"));
    let secure = Secure { gateway, authority: Authority::new("nobody") };
    assert!(!secure.curl("/", &[]).status.success());
    assert!(secure.curl("/", &["-k"]).status.success());
}

#[test]
fn draining_ends_idle_connections_and_serves_what_is_under_way() {
    let gate = lb_testkit::Gate::new();
    let backend = Backend::held("a", &gate);
    let mut secure = Secure::start("", &rule("", &[&backend]));
    let address = secure.gateway.address().to_string();
    let waiting = std::thread::spawn(move || {
        let output =
            Command::new("curl").args(["-sSk", "--max-time", "20", &format!("https://{address}/")]).output();
        output.unwrap()
    });
    eventually("the request is under way", PATIENCE, || backend.in_flight() == 1);
    secure.gateway.sigterm();
    gate.open();
    let output = waiting.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(secure.gateway.wait_exit(PATIENCE), Some(0));
}
