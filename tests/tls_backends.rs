//! TLS to backends: nginx behind the gateway, with certificates good and bad.

use std::path::Path;
use std::process::Command;

use lb_testkit::{Authority, Backend, Gateway, Issued, PATIENCE, Port, Process, Validity, eventually};
use tempfile::TempDir;

use crate::support::launch;

/// nginx that speaks TLS.
struct Origin {
    port: Port,
    directory: TempDir,
    process: Process,
}

impl Origin {
    /// With this certificate, and more lines in its server's block.
    fn start(certificate: &Issued, lines: &str) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        certificate.write(directory.path(), "server");
        let root = directory.path().display();
        let lines = lines.replace("{root}", &root.to_string());
        let address = port.address();
        let config = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr;
             events {{ worker_connections 256; }}
             http {{
               access_log off;
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
               uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
               server {{
                 listen {address} ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {root}/server.crt; ssl_certificate_key {root}/server.key;
                 {lines}
                 location /health {{ return 200 'well'; }}
                 location / {{
                   return 200 '$ssl_server_name|$http_host|$ssl_session_reused|$connection_requests|$ssl_client_s_dn|$ssl_protocol';
                 }}
               }}
             }}"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
        let process = Process::spawn(Command::new(program).args(["-e", "stderr", "-c"]).arg(file));
        let origin = Self { port, directory, process };
        eventually("nginx listens", PATIENCE, || std::net::TcpStream::connect(address).is_ok());
        origin
    }

    fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }
}

/// A gateway with one upstream of one backend; `tls` is the table of that, `lines` more of the upstream.
#[track_caller]
fn gateway(origin: &Origin, tls: &str, lines: &str) -> Gateway {
    gateway_to(&origin.url(), tls, lines)
}

#[track_caller]
fn gateway_to(url: &str, tls: &str, lines: &str) -> Gateway {
    let tls = if tls.is_empty() { String::new() } else { format!("tls = {{ {tls} }}\n") };
    let config = format!(
        "[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\nbackends = [\"{url}\"]\n{tls}{lines}\n[[rules]]\nupstream = \"app\"\n"
    );
    launch().config(&config).start()
}

/// The gateway answers 502, and says why in its log and its status.
#[track_caller]
fn untrusted(gateway: &Gateway, words: &str) {
    let response = gateway.get("/");
    assert_eq!(response.status, 502, "{}", response.text());
    assert_eq!(response.problem(), "connect_failed");
    assert!(!response.text().contains("127.0.0.1:"), "{}", response.text());
    let line =
        gateway.log_line("the reason is logged", |line| line.to_string().contains("no TLS with a backend"));
    assert!(line.to_string().contains(words), "{line}");
    let status = || lb_testkit::fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]);
    assert!(status().text().contains(words), "{}", status().text());
    eventually("the failure is charged", PATIENCE, || {
        let backend = &status().json()["upstreams"][0]["backends"][0];
        backend["failed_requests"] == 1 && backend["total_requests"] == 1
    });
}

struct Pki {
    authority: Authority,
    directory: TempDir,
}

impl Pki {
    fn new() -> Self {
        Self { authority: Authority::new("Backends' Root"), directory: TempDir::new().unwrap() }
    }

    fn ca(&self) -> String {
        let file = self.authority.write(&self.directory.path().join("ca.pem"));
        format!("ca = \"{}\"", file.display())
    }

    /// The SHA-256 of a certificate's key, as openssl prints it.
    fn pin(&self, certificate: &Issued) -> String {
        certificate.write(self.directory.path(), "pinned");
        let pipeline = "openssl x509 -in pinned.crt -noout -pubkey | openssl pkey -pubin -outform der \
                        | openssl dgst -sha256 -binary | base64";
        let output = Command::new("sh").arg("-c").arg(pipeline).current_dir(self.directory.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }
}

#[test]
fn a_backend_that_is_vouched_for_is_spoken_to_and_its_connections_are_kept() {
    let pki = Pki::new();
    let origin = Origin::start(&pki.authority.issue(&["127.0.0.1"]), "");
    let gateway = gateway(&origin, &pki.ca(), "");
    let mut client = gateway.client();
    for number in 1..=3 {
        client.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n");
        // An address is not asked for by name.
        assert_eq!(client.response().text(), format!("|shop.example|.|{number}||TLSv1.3"));
    }
}

#[test]
fn the_name_is_asked_for_and_sessions_are_resumed() {
    let pki = Pki::new();
    let origin = Origin::start(&pki.authority.issue(&["app.internal"]), "");
    let tls = format!("{}, server_name = \"app.internal\"", pki.ca());
    let gateway = launch()
        .config(&format!(
            "max_requests_per_conn = 1\n[server]\nworkers = 1\n[[rules]]\nbackends = [\"{}\"]\ntls = {{ {tls} }}\n",
            origin.url()
        ))
        .start();
    assert_eq!(gateway.get("/").text(), "app.internal|gateway.localhost|.|1||TLSv1.3");
    let again = gateway.get("/").text();
    assert_eq!(again, "app.internal|gateway.localhost|r|1||TLSv1.3");
}

#[test]
fn a_backend_of_its_own_says_more_than_its_upstream() {
    let pki = Pki::new();
    let origin = Origin::start(&pki.authority.issue(&["app.internal"]), "");
    let own = format!("{{ url = \"{}\", tls = {{ server_name = \"app.internal\" }} }}", origin.url());
    let config = format!(
        "[upstreams.app]\nbackends = [{own}]\ntls = {{ {}, server_name = \"wrong.internal\" }}\n[[rules]]\nupstream = \"app\"\n",
        pki.ca()
    );
    assert!(launch().config(&config).start().get("/").text().starts_with("app.internal|"));
}

#[test]
fn nobody_that_is_not_vouched_for_is_believed() {
    let (pki, others) = (Pki::new(), Authority::new("Others"));
    let origin = Origin::start(&others.issue(&["127.0.0.1"]), "");
    untrusted(&gateway(&origin, &pki.ca(), ""), "unknown issuer");
    untrusted(&gateway(&origin, "", ""), "unknown issuer");
}

#[test]
fn an_expired_certificate_is_not_believed() {
    let pki = Pki::new();
    let origin = Origin::start(&pki.authority.issue_valid(&["127.0.0.1"], Validity::Past), "");
    untrusted(&gateway(&origin, &pki.ca(), ""), "the certificate has expired");
}

#[test]
fn a_certificate_for_another_name_is_not_believed() {
    let pki = Pki::new();
    let origin = Origin::start(&pki.authority.issue(&["other.internal"]), "");
    untrusted(&gateway(&origin, &pki.ca(), ""), "not valid for name 127.0.0.1: it is for");
    let named = format!("{}, server_name = \"app.internal\"", pki.ca());
    untrusted(&gateway(&origin, &named, ""), "not valid for name app.internal");
}

#[test]
fn a_pinned_key_is_believed_and_no_other() {
    let pki = Pki::new();
    let certificate = Authority::new("nobody").issue(&["127.0.0.1"]);
    let origin = Origin::start(&certificate, "");
    let pin = pki.pin(&certificate);
    for tls in [format!("pin = \"sha256/{pin}\""), format!("pin = [\"{}\", \"{pin}\"]", "0".repeat(64))] {
        assert_eq!(gateway(&origin, &tls, "").get("/").status, 200);
    }
    let wrong = format!("pin = \"{}\"", "0".repeat(64));
    untrusted(&gateway(&origin, &wrong, ""), "not the pinned one");
    // With an authority both must be right.
    let both = format!("{}, pin = \"sha256/{pin}\"", pki.ca());
    untrusted(&gateway(&origin, &both, ""), "unknown issuer");
}

#[test]
fn anyone_is_believed_where_that_is_written_and_said() {
    let origin = Origin::start(&Authority::new("nobody").issue(&["x"]), "");
    let gateway = gateway(&origin, "insecure_skip_verify = true", "");
    assert_eq!(gateway.get("/").status, 200);
    eventually("it is said", PATIENCE, || gateway.errors().contains("not verified"));
    let root = launch()
        .config(&format!("insecure_skip_verify = true\n[[rules]]\nbackends = [\"{}\"]\n", origin.url()));
    let root = root.start();
    assert_eq!(root.get("/").status, 200);
    eventually("it is said", PATIENCE, || root.errors().contains("not verified"));
}

#[test]
fn a_backend_that_asks_is_shown_our_certificate() {
    let pki = Pki::new();
    let lines = "ssl_client_certificate {root}/clients.pem; ssl_verify_client on;";
    let clients = Authority::new("Gateways' Root");
    // nginx wants the file before it starts.
    let directory = TempDir::new().unwrap();
    let file = clients.write(&directory.path().join("clients.pem"));
    let lines = lines.replace("{root}/clients.pem", &file.display().to_string());
    let origin = Origin::start(&pki.authority.issue(&["127.0.0.1"]), &lines);
    clients.issue_client("gateway", "Acme").write(directory.path(), "own");
    let own = directory.path().join("own").display().to_string();
    let tls = format!("{}, client_cert = \"{own}.crt\", client_key = \"{own}.key\"", pki.ca());
    let response = gateway(&origin, &tls, "").get("/");
    assert!(response.text().contains("CN=gateway"), "{}", response.text());
    // nginx ends the handshake and then answers 400 to whoever shows none.
    assert_eq!(gateway(&origin, &pki.ca(), "").get("/").status, 400);
}

#[test]
fn a_backend_that_speaks_in_the_clear_is_named() {
    let backend = Backend::scripted(|conn| {
        conn.read_some(1 << 10).ok();
        conn.reply("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        conn.wait_for_close();
    });
    let url = format!("https://{}", backend.address());
    untrusted(&gateway_to(&url, "insecure_skip_verify = true", ""), "speaks plain HTTP, not TLS");
}

#[test]
fn a_backend_that_never_answers_the_handshake_is_given_up_in_time() {
    let backend = Backend::silent();
    let config = format!(
        "connect_timeout = \"300ms\"\n[[rules]]\nbackends = [\"https://{}\"]\nretries = {{ attempts = 0 }}\n",
        backend.address()
    );
    let response = launch().config(&config).start().get("/");
    assert_eq!((response.status, response.problem().as_str()), (504, "upstream_timeout"));
}

#[test]
fn probes_go_by_tls_and_say_what_is_wrong() {
    let pki = Pki::new();
    let probes = "health_check = { path = \"/health\", interval = \"200ms\", timeout = \"200ms\", unhealthy_threshold = 1 }";
    let state = |gateway: &Gateway| {
        let status = lb_testkit::fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]);
        status.json()["upstreams"][0]["backends"][0].clone()
    };
    let good = Origin::start(&pki.authority.issue(&["127.0.0.1"]), "");
    let bad = Origin::start(&pki.authority.issue_valid(&["127.0.0.1"], Validity::Past), "");
    let healthy = gateway(&good, &pki.ca(), probes);
    let unhealthy = gateway(&bad, &pki.ca(), probes);
    eventually("a bad certificate is unhealthy", PATIENCE, || state(&unhealthy)["healthy"] == false);
    let error = state(&unhealthy)["error"].to_string();
    assert!(error.contains("the certificate has expired"), "{error}");
    assert_eq!(state(&healthy)["healthy"], true);
    assert_eq!(unhealthy.get("/").status, 503);
}

#[test]
fn a_backends_files_are_taken_up_when_they_change() {
    let (pki, others) = (Pki::new(), Authority::new("Others"));
    let origin = Origin::start(&others.issue(&["127.0.0.1"]), "");
    let gateway = gateway(&origin, &pki.ca(), "passive = false");
    assert_eq!(gateway.get("/").status, 502);
    others.write(&pki.directory.path().join("ca.pem"));
    eventually("the new authority is believed", PATIENCE, || gateway.get("/").status == 200);
    drop(origin.process);
    drop(origin.directory);
}

#[test]
fn what_is_wrong_with_a_backends_tls_is_said_at_its_key() {
    for (backend, words) in [
        ("{ url = \"https://a\", tls = { ca = \"no.pem\" } }", &["no.pem", "no such file"][..]),
        (
            "{ url = \"https://a\", tls = { client_cert = \"a.crt\" } }",
            &["a `client_cert` without a `client_key`"],
        ),
        ("{ url = \"https://a\", tls = { pin = \"abc\" } }", &["no SHA-256", "openssl"]),
        (
            "{ url = \"https://a\", tls = { server_name = \"not a name\" } }",
            &["not a name", "neither a host name"],
        ),
        ("{ url = \"http://a\", tls = { server_name = \"a\" } }", &["reached by `http`", "https://"]),
    ] {
        let config = format!("[[rules]]\nbackends = [{backend}]\n");
        let launch = launch().config_file("gatewayd.toml", &config);
        let output = launch.args(&["check", "{dir}/gatewayd.toml"]).run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{backend}: {said}");
        for word in words {
            assert!(said.contains(word), "{backend}: no `{word}` in {said}");
        }
    }
}

#[test]
fn long_bodies_pass_whole_to_and_from_a_backend_by_tls() {
    let pki = Pki::new();
    let bytes: Vec<u8> = (0..2_000_000_u32).map(|number| (number / 3 % 253) as u8).collect();
    let lines = "client_max_body_size 0; location /large { root {root}; } location /put { dav_methods PUT; root {root}; }";
    let origin = Origin::start(&pki.authority.issue(&["127.0.0.1"]), lines);
    std::fs::write(origin.directory.path().join("large"), &bytes).unwrap();
    let gateway = gateway(&origin, &pki.ca(), "");
    assert!(gateway.get("/large").body == bytes, "the answer was changed");
    let mut client = gateway.client();
    let head = format!("PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", bytes.len());
    client.send(head);
    client.send(&bytes);
    assert_eq!(client.response().status, 201);
    assert!(std::fs::read(origin.directory.path().join("put")).unwrap() == bytes, "the request was changed");
}
