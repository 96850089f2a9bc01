//! Other proxies' configurations: imported, checked, run, and held against the real programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lb_testkit::{Backend, Client, Gateway, PATIENCE, Port, Process, Response, eventually, fetch};

use crate::support::{cli, echoed, echoed_target, launch};

/// Where the configurations to be imported stand.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/lb-import/tests/fixtures")
}

/// The backends that the configurations name by port; each says which it is.
struct Backends(BTreeMap<u16, Backend>);

impl Backends {
    fn start() -> Self {
        Self((20_001..=20_008).map(|port| (port, Backend::echo(&format!("b{}", port % 10)))).collect())
    }

    /// A configuration with the addresses that there really are.
    fn fill(&self, text: &str, listen: &str) -> String {
        let mut text = text.replace("127.0.0.1:21000", listen);
        for (port, backend) in &self.0 {
            text = text.replace(&format!("127.0.0.1:{port}"), &backend.address().to_string());
        }
        text
    }
}

/// The fixtures in a directory of their own, for this address.
fn prepare(backends: &Backends, listen: &str, other: &str, admin: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sites")).unwrap();
    for entry in [
        "nginx.conf",
        "sites/admin.conf",
        "sites/conditions.conf",
        "sites/wild.conf",
        "haproxy.cfg",
        "blueprint.yaml",
        "servex.yaml",
    ] {
        let text = fs::read_to_string(fixtures().join(entry)).unwrap();
        let text = text
            .replace("127.0.0.1:21432", other)
            .replace("port: 21001", &format!("port: {}", port_of(admin)));
        let text = text.replace("port: 21000", &format!("port: {}", port_of(listen)));
        fs::write(folder.path().join(entry), backends.fill(&text, listen)).unwrap();
    }
    fs::write(folder.path().join("htpasswd"), "").unwrap();
    folder
}

fn port_of(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// A gateway that runs an imported configuration, and the import's report.
fn imported(source: &str, file: &str, backends: &Backends) -> (Gateway, String) {
    let launch = launch();
    let [listen, other, admin] = ["listen", "listen2", "admin"].map(|name| launch.address(name).to_string());
    let folder = prepare(backends, &listen, &other, &admin);
    let out = launch.directory().join("imported.toml");
    let (file, output) = (folder.path().join(file), out.to_str().unwrap());
    let done = cli(&["import", source, file.to_str().unwrap(), "-o", output]);
    let report = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{report}");
    let checked = cli(&["check", output]);
    let said = [checked.stdout, checked.stderr].concat();
    assert!(
        checked.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&said),
        fs::read_to_string(&out).unwrap()
    );
    let again = cli(&["import", source, file.to_str().unwrap(), "-o", output]);
    assert_eq!(again.status.code(), Some(1), "a file that is there stays");
    (launch.args(&["run", "-c", output]).start(), report)
}

/// One request as every proxy is asked it: host, target, method, a field more.
type Asked = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// What became of a request: who answered and what it saw, or the status alone.
fn outcome(response: &Response) -> String {
    if response.status != 200 {
        let location = response.header("location").unwrap_or_default();
        return format!("{} {location}", response.status);
    }
    let field = |name: &str| echoed(response, name).join(",");
    // nginx' $host is in lower case.
    let (host, edge, tier) = (field("host").to_ascii_lowercase(), field("x-edge"), field("x-tier"));
    let (backend, path) = (response.backend(), echoed_target(response));
    let own = ["x-served-by", "cache-control"].map(|name| response.header(name).unwrap_or("-").to_owned());
    format!("{backend} {path} host={host} edge={edge} tier={tier} {}", own.join(" "))
}

/// Asks both the same, and lists where they differ.
fn compare(gateway: &Gateway, peer: &Port, asked: &[Asked]) {
    for (host, target, method, more) in asked {
        let mut fields = vec![("Host", *host), ("Connection", "close")];
        fields.extend(more.iter().copied());
        let ask = |address| outcome(&Client::connect(address).request(method, target, &fields));
        let (ours, theirs) = (ask(gateway.address()), ask(peer.address()));
        // What is refused for its own reasons there is closed here.
        let theirs =
            if theirs.starts_with("401") || theirs.starts_with("403") { "503 ".to_owned() } else { theirs };
        assert_eq!(ours, theirs, "{method} {host}{target} {more:?}");
    }
}

fn real(program: &str) -> Command {
    let sbin = Path::new("/usr/sbin").join(program);
    Command::new(if sbin.exists() { sbin } else { program.into() })
}

fn await_port(port: &Port, process: &mut Process) {
    eventually("the peer listens", PATIENCE, || {
        assert!(process.exited().is_none(), "{}", process.errors());
        std::net::TcpStream::connect(port.address()).is_ok()
    });
}

#[test]
fn an_imported_nginx_configuration_chooses_as_nginx_does() {
    let backends = Backends::start();
    let (gateway, report) = imported("nginx", "nginx.conf", &backends);
    for words in [
        "nginx.conf:61: converted    location = /status: path",
        "nginx.conf:95: left out     auth_basic members: cannot be kept",
        "sites/admin.conf:10: left out     if ($http_user_agent ~ bot): a rule asks for a header's whole value",
        "sites/conditions.conf:3: left out     limit_req_zone $binary_remote_addr zone=req:1m rate=1000r/s: rates are not limited",
        "sites/conditions.conf:8: approximated limit_conn per_server 100: concurrency of each rule",
        "sites/conditions.conf:10: converted    if ($host = old.cond.example.com): a rule of its own with hosts",
        "sites/conditions.conf:13: approximated if",
        "sites/conditions.conf:18: left out     limit_conn addr 50: `max_connections_per_address` is a listener's",
        "sites/conditions.conf:20: converted    if ($request_method = POST): a rule of its own with methods",
        "sites/conditions.conf:43: left out     if ($http_user_agent ~* bot): a rule asks for a header's whole value: \
         `headers = { user-agent = \"value\" }`, one rule for each that is meant; what it refuses passes",
        "sites/wild.conf:4: converted    rewrite",
    ] {
        assert!(report.contains(words), "{words} is not in\n{report}");
    }
    let (peer, other) = (Port::free(), Port::free());
    let folder = prepare(&backends, &peer.address().to_string(), &other.address().to_string(), "x:1");
    let conf = folder.path().join("nginx.conf");
    // Redirects name the port that was asked at, unless they are told not to.
    let text = fs::read_to_string(&conf).unwrap();
    let text = text.replace("http {", "http {\n absolute_redirect off;").replace("user www-data;", "");
    // Its module for TCP is a package of its own.
    let text = text.split("stream {").next().unwrap().to_owned();
    fs::write(&conf, text).unwrap();
    let mut command = real("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(&conf).args(["-g", "daemon off; master_process off;"]);
    let mut process = Process::spawn(&mut command);
    await_port(&peer, &mut process);

    let (shop, www, admin) = ("shop.example.com", "www.shop.example.com", "admin.example.com");
    let (wild, unknown) = ("any.example.com", "nobody.example.org");
    let mut asked: Vec<Asked> = Vec::new();
    for host in [shop, www, admin, wild, unknown] {
        for target in [
            "/",
            "/index",
            "/status",
            "/status/x",
            "/api/",
            "/api/users?id=1",
            "/api/files/a",
            "/api/files/a.png",
            "/assets/a.png",
            "/assets/x/y",
            "/logo.png",
            "/LOGO.PNG",
            "/x.css/y",
            "/old/a/b",
            "/private/x",
            "/moved",
            "/moved/there",
            "/.htaccess",
            "/a/.htpasswd",
            "/ws/chat",
            "/reports",
            "/reports/1",
            "/v1/x",
            "/v12/y/z.png",
            "/legacy/users/7",
            "/api/v1",
            "/a/c.png",
        ] {
            asked.push((host, target, "GET", &[]));
        }
    }
    asked.push((shop, "/api/x", "POST", &[("Content-Length", "0")]));
    asked.push(("SHOP.example.com", "/", "GET", &[]));
    // What conditions ask for, by itself and together.
    for target in ["/", "/x?debug=1", "/x?debug=2", "/read", "/read/x?debug=1", "/agents"] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let length: &[_] =
                if method == "POST" || method == "PUT" { &[("Content-Length", "0")] } else { &[] };
            let beta: &[_] = if length.is_empty() {
                &[("X-Beta", "on")]
            } else {
                &[("X-Beta", "on"), ("Content-Length", "0")]
            };
            for more in [length, beta, &[("X-Beta", "off"), ("Content-Length", "0")]] {
                asked.push(("cond.example.com", target, method, more));
            }
            asked.push(("old.cond.example.com", target, method, length));
        }
    }
    compare(&gateway, &peer, &asked);
}

#[test]
fn an_imported_haproxy_configuration_chooses_as_haproxy_does() {
    let backends = Backends::start();
    let (gateway, report) = imported("haproxy", "haproxy.cfg", &backends);
    for words in [
        "haproxy.cfg:49: left out     use_backend home if from_home: src has no counterpart",
        "haproxy.cfg:50: left out     use_backend beta if host_shop !is_api",
        "haproxy.cfg:77: left out     cookie SRV",
        "haproxy.cfg:63: converted    http-request replace-path",
    ] {
        assert!(report.contains(words), "{words} is not in\n{report}");
    }
    let (peer, other) = (Port::free(), Port::free());
    let folder = prepare(&backends, &peer.address().to_string(), &other.address().to_string(), "x:1");
    let cfg = folder.path().join("haproxy.cfg");
    // What the report says is left out is no difference.
    let text = fs::read_to_string(&cfg).unwrap().replace("    use_backend beta if host_shop !is_api\n", "");
    fs::write(
        &cfg,
        text.replace("option httpchk GET /health", "").replace("http-check expect status 200", ""),
    )
    .unwrap();
    let mut process = Process::spawn(real("haproxy").arg("-db").arg("-f").arg(&cfg));
    await_port(&peer, &mut process);

    let hosts =
        ["shop.example.com", "www.shop.example.com", "admin.example.com", "a.example.com", "x.example.org"];
    let mut asked: Vec<Asked> = Vec::new();
    for host in hosts {
        for target in [
            "/",
            "/index",
            "/api/users",
            "/rest/users",
            "/api/a.png",
            "/a.png",
            "/x/b.css",
            "/v2/x",
            "/v2/x.jpg",
            "/secret/x",
            "/old",
            "/old/x",
            "/page?debug=yes",
            "/page?debug=no",
            "/vx/y",
        ] {
            asked.push((host, target, "GET", &[]));
            asked.push((host, target, "DELETE", &[]));
            asked.push((host, target, "GET", &[("X-Beta", "1"), ("X-Internal", "yes")]));
        }
    }
    compare(&gateway, &peer, &asked);
}

#[test]
fn tcp_servers_are_imported_as_listeners() {
    let backends = Backends::start();
    for (source, file) in [("nginx", "nginx.conf"), ("haproxy", "haproxy.cfg")] {
        let folder = prepare(&backends, "127.0.0.1:1", "127.0.0.1:2", "x:1");
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        let first = backends.0[&20_001].address().to_string();
        fs::write(folder.path().join(file), text.replace("127.0.0.1:5432", &first)).unwrap();
        let done = cli(&["import", source, folder.path().join(file).to_str().unwrap()]);
        let text = String::from_utf8(done.stdout).unwrap();
        let launch = launch();
        let [listen, tcp] = ["listen", "listen2"].map(|name| launch.address(name).to_string());
        let text = text
            .replace("\"127.0.0.1:1\"", &format!("\"{listen}\""))
            .replace("\"127.0.0.1:2\"", &format!("\"{tcp}\""));
        let gateway = launch.config_file("gatewayd.toml", &text).start();
        // The first listener is there before the others.
        let address = gateway.address_of("listen2");
        eventually("it listens", PATIENCE, || std::net::TcpStream::connect(address).is_ok());
        assert_eq!(fetch(address, "GET", "/", &[]).backend(), "b1", "{source}");
    }
}

#[test]
fn an_imported_blueprint_runs() {
    let backends = Backends::start();
    let (gateway, report) = imported("backworks", "blueprint.yaml", &backends);
    assert!(report.contains("left out     /hello"), "{report}");
    let answers: Vec<_> = (0..8).map(|_| gateway.get("/api/users/42")).collect();
    let count = |name: &str| answers.iter().filter(|answer| answer.backend() == name).count();
    assert_eq!((count("b1"), count("b2"), count("b3")), (2, 4, 2), "by their weights");
    assert_eq!(echoed_target(&answers[0]), "/users/42");
    assert_eq!(echoed(&answers[0], "x-proxy-version"), ["1.0"]);
    assert_eq!(answers[0].header("x-proxied-by"), Some("backworks-proxy-plugin"));
    assert_eq!(echoed(&gateway.get("/api/users"), "x-request-source"), ["user-service"]);
    assert_eq!(gateway.fetch("DELETE", "/api/users", &[]).status, 405);
    assert_eq!((gateway.get("/health").status, gateway.get("/metrics").status), (200, 200));
    assert_eq!(fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).status, 200);
}

#[test]
fn an_imported_servex_configuration_runs() {
    let backends = Backends::start();
    let (gateway, report) = imported("servex", "servex.yaml", &backends);
    assert!(report.contains("servex.yaml:51: left out     rate_limit"), "{report}");
    let order: String = (0..4).map(|_| gateway.get("/api/v1/users").backend()).collect();
    assert_eq!(order, "b1b1b1b2");
    assert_eq!(echoed_target(&gateway.get("/api/v1/users")), "/v1/users");
    let auth = gateway.fetch("GET", "/", &[("Host", "auth.example.com"), ("X-Tenant", "blue")]);
    assert_eq!((auth.backend().as_str(), gateway.get("/").backend().as_str()), ("b3", "b4"));
}

#[test]
fn what_is_imported_of_configurations_in_use_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let nginx = "http { upstream app { server green:80 max_fails=1 fail_timeout=0; server blue:80 backup; }\n\
        server { listen 80; keepalive_timeout 0;\n location /ws { proxy_pass http://app; proxy_read_timeout 7d; proxy_connect_timeout 1m30s; }\n\
        location / { proxy_pass http://app; proxy_read_timeout 0; proxy_next_upstream error timeout http_502 http_503; proxy_next_upstream_tries 2; } } }";
    let haproxy = "defaults\n mode http\n timeout connect 0\n timeout server 2d\n\
        frontend web\n bind *:80\n use_backend none if { path /none }\n default_backend app\n\
        backend app\n server a 127.0.0.1:8001\nbackend none\n http-request deny\n\
        listen numbers\n bind *:9000\n stats enable\n stats uri /\n\
        frontend raw\n mode tcp\n bind *:5432\n default_backend gone\nbackend gone\n mode tcp\n";
    for (source, text, words) in [
        (
            "nginx",
            nginx,
            &[
                "timeout = \"168h\"",
                "connect_timeout = \"90s\"",
                "passive = false",
                "attempts = 1",
                "\"503\"",
            ][..],
        ),
        ("haproxy", haproxy, &["timeout = \"48h\"", "tcp://127.0.0.1:9", "http://127.0.0.1:9"][..]),
    ] {
        let file = folder.path().join(source);
        fs::write(&file, text).unwrap();
        let out = folder.path().join(format!("{source}.toml"));
        let output = cli(&["import", source, file.to_str().unwrap(), "-o", out.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{source}: {said}");
        let toml = fs::read_to_string(&out).unwrap();
        for words in words {
            assert!(toml.contains(words), "{source}: {words}: {toml}\n{said}");
        }
        let checked = cli(&["check", out.to_str().unwrap()]);
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        // A page of statistics is no place where requests may go by mistake.
        assert!(
            source != "haproxy" || (!toml.contains("9000") && said.contains("page of statistics")),
            "{said}"
        );
    }
}

#[test]
fn what_cannot_be_imported_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let run = |source: &str, text: Option<&str>| {
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let output = cli(&["import", source, file.to_str().unwrap()]);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (source, text, code, words) in [
        ("nginx", None, 1, "cannot read"),
        ("nginx", Some("http {\n server {"), 78, "file:2: the file ends within"),
        ("nginx", Some("events {}"), 78, "there would be no rule"),
        ("haproxy", Some("mode http"), 78, "file:1: a line stands ahead"),
        ("haproxy", Some("global\n log 'x"), 78, "file:2: a quote is not closed"),
        ("backworks", Some("a: [1\nb: 2"), 78, "file:"),
        ("servex", Some("server:\n  http: ':80'\n"), 78, "there would be no rule"),
    ] {
        let (status, said) = run(source, text);
        assert!(status == code && said.contains(words), "{source}: {status} {said}");
    }
    let json = cli(&["import", "--json", "servex", fixtures().join("servex.yaml").to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(json["config"].as_str().unwrap().contains("[[rules]]"));
    let line = json["lines"].as_array().unwrap().iter().find(|line| line["line"] == 51).unwrap();
    assert_eq!(line["fate"], "left_out");
}
