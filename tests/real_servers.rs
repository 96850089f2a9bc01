//! Servers and clients that others wrote: nginx and Python behind the gateway, curl, wrk and h2load in front of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lb_testkit::{Gateway, PATIENCE, Port, Process, eventually, fetch};
use tempfile::TempDir;

use crate::support::{launch, tally};

/// What starts an origin's program on a directory and a port.
type Program = fn(&Path, u16) -> Command;

/// An origin under way, and what it lives on.
struct Origin {
    port: Port,
    process: Process,
    directory: TempDir,
    program: Program,
}

impl Origin {
    fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }

    fn start(name: &str, program: Program) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        std::fs::write(directory.path().join("index.html"), format!("{name}\n")).unwrap();
        std::fs::write(directory.path().join("health"), "{\"status\": \"healthy\"}").unwrap();
        let large: String = (0..100_000).map(|number| format!("{name} line {number}\n")).collect();
        std::fs::write(directory.path().join("large"), large).unwrap();
        let process = Process::spawn(&mut program(directory.path(), port.address().port()));
        let origin = Self { port, process, directory, program };
        origin.wait_until_it_listens();
        origin
    }

    /// End it amid everything.
    fn kill(&mut self) {
        self.process.signal("KILL");
        assert!(self.process.wait(PATIENCE).is_some());
    }

    /// Start it once more, on the same port.
    fn restart(&mut self) {
        let mut command = (self.program)(self.directory.path(), self.port.address().port());
        self.process = Process::spawn(&mut command);
        self.wait_until_it_listens();
    }

    fn wait_until_it_listens(&self) {
        eventually("the origin listens", PATIENCE, || {
            std::net::TcpStream::connect(self.port.address()).is_ok()
        });
    }

    fn nginx(name: &str) -> Self {
        Self::start(name, |directory, port| {
            let root = directory.display();
            let config = format!(
                "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr;
                 events {{ worker_connections 1024; }}
                 http {{
                   access_log off; keepalive_requests 1000000;
                   client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f;
                   uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
                   server {{ listen 127.0.0.1:{port}; root {root}; }}
                 }}"
            );
            let file = directory.join("nginx.conf");
            std::fs::write(&file, config).unwrap();
            // One process, so that nothing outlives the test. Debian keeps it where users' PATH does not reach.
            let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
            let mut command = Command::new(program);
            command.args(["-e", "stderr", "-c"]).arg(file);
            command
        })
    }

    fn python(name: &str) -> Self {
        Self::start(name, |directory, port| {
            let mut command = Command::new("python3");
            command.args(["-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]);
            command.arg(directory);
            command
        })
    }
}

/// nginx at `/`, weighted 3:2:1, and Python's HTTP/1.0 server at `/files`, in turn.
struct Scene {
    gateway: Gateway,
    nginx: [Origin; 3],
    _python: [Origin; 3],
}

fn scene() -> Scene {
    let nginx = ["nginx-1", "nginx-2", "nginx-3"].map(Origin::nginx);
    let python = ["python-1", "python-2", "python-3"].map(Origin::python);
    let list = |origins: &[Origin; 3], weights: [u8; 3]| {
        let items = origins.iter().zip(weights);
        let items =
            items.map(|(origin, weight)| format!("{{ url = \"{}\", weight = {weight} }}", origin.url()));
        items.collect::<Vec<_>>().join(", ")
    };
    let gateway = launch()
        .config(&format!(
            "[[rules]]\nname = \"files\"\npath_prefix = \"/files\"\nstrip_prefix = \"/files\"\nbackends = [{}]\n\
             [[rules]]\nname = \"site\"\nload_balancing = \"weighted_round_robin\"\nbackends = [{}]\n",
            list(&python, [1, 1, 1]),
            list(&nginx, [3, 2, 1])
        ))
        .start();
    Scene { gateway, nginx, _python: python }
}

/// What a program printed; it must succeed.
#[track_caller]
fn printed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new("timeout").arg("60").arg(program).args(arguments).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

#[test]
fn traffic_to_nginx_and_python_splits_as_configured() {
    let scene = scene();
    let name = |target: &str| scene.gateway.get(target).text().trim().to_owned();
    let site = tally((0..60).map(|_| name("/")));
    assert_eq!(site.values().copied().collect::<Vec<_>>(), [30, 20, 10], "{site:?}");
    let files = tally((0..30).map(|_| name("/files/")));
    assert_eq!(files.values().copied().collect::<Vec<_>>(), [10, 10, 10], "{files:?}");
    assert_eq!(scene.gateway.get("/files/health").text(), "{\"status\": \"healthy\"}");
    assert_eq!(scene.gateway.get("/files/none").status, 404, "the origin's own 404");
}

#[test]
fn curl_sees_what_the_origin_serves() {
    let scene = scene();
    let base = format!("http://{}", scene.gateway.address());
    for path in ["/large", "/files/large"] {
        let url = format!("{base}{path}");
        let sum = |url: &str| {
            let lines = format!("curl -sSf '{url}' | tail -c +12 | wc -lc");
            printed("bash", &["-o", "pipefail", "-c", &lines])
        };
        assert!(sum(&url).contains("100000"), "{path} is whole");
    }
    let range = printed("curl", &["-sSf", "-r", "0-4", &format!("{base}/")]);
    assert_eq!(range, "nginx");
    let head = printed("curl", &["-sSfI", &format!("{base}/files/large")]).to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: "), "{head}");
    let old = printed("curl", &["-sSf", "-0", &format!("{base}/")]);
    assert!(old.starts_with("nginx"), "{old}");
    let posted = printed("curl", &["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", "a=b", &base]);
    assert_eq!(posted, "405", "nginx serves files only");
}

#[test]
fn an_upload_with_expect_passes_curl() {
    let scene = scene();
    let url = format!("http://{}/", scene.gateway.address());
    let file = scene.gateway.directory().join("upload");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let data = format!("@{}", file.display());
    let arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect: 100-continue"];
    let status = printed("curl", &[&arguments[..], &["--data-binary", &data, &url]].concat());
    assert!(["405", "413"].contains(&status.as_str()), "{status}");
}

#[test]
fn wrk_meets_no_error() {
    let scene = scene();
    let url = format!("http://{}/", scene.gateway.address());
    let said = printed("wrk", &["-t", "1", "-c", "64", "-d", "3s", "--timeout", "10s", &url]);
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
}

#[test]
fn h2load_over_http_1_meets_no_error() {
    let scene = scene();
    let url = format!("http://{}/", scene.gateway.address());
    let said = printed("h2load", &["--h1", "-n", "5000", "-c", "32", "-t", "1", &url]);
    assert!(said.contains("5000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("5000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");
}

#[test]
fn an_origin_that_is_killed_is_passed_over_and_taken_back() {
    let mut scene = scene();
    assert_eq!(scene.gateway.get("/").status, 200);
    let address = scene.nginx[0].port.address();
    scene.nginx[0].process.signal("TERM");
    assert!(scene.nginx[0].process.wait(PATIENCE).is_some());
    eventually("its port is closed", PATIENCE, || std::net::TcpStream::connect(address).is_err());
    for number in 0..30 {
        assert_eq!(scene.gateway.get("/").status, 200, "request {number} while it is down");
    }
    let _again = lb_testkit::Backend::echo_at("again", address);
    eventually("it is used again", PATIENCE * 3, || {
        fetch(scene.gateway.address(), "GET", "/", &[]).text().contains("again")
    });
}

/// Run `wrk` for four seconds at a rule over three nginx, and do something to the first meanwhile; nobody may notice.
#[track_caller]
fn wrk_notices_nothing(lines: &str, harm: impl FnOnce(&mut Origin)) {
    let mut nginx = ["nginx-1", "nginx-2", "nginx-3"].map(Origin::nginx);
    let urls = nginx.iter().map(|origin| format!("\"{}\"", origin.url())).collect::<Vec<_>>().join(", ");
    let config = format!("[[rules]]\nname = \"site\"\n{lines}\nbackends = [{urls}]\n");
    let gateway = launch().config(&config).start();
    let mut wrk = Command::new("wrk");
    wrk.args(["-t", "1", "-c", "32", "-d", "4s", "--timeout", "10s"]);
    wrk.arg(format!("http://{}/", gateway.address()));
    let mut wrk = Process::spawn(&mut wrk);
    std::thread::sleep(Duration::from_millis(800));
    harm(&mut nginx[0]);
    assert!(wrk.wait(PATIENCE).is_some_and(|status| status.success()), "{}", wrk.errors());
    let said = wrk.output();
    assert!(said.contains("Requests/sec"), "{said}");
    assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
    eventually("the first serves again", PATIENCE * 2, || gateway.get("/").text() == "nginx-1\n");
}

#[test]
fn wrk_notices_nothing_of_an_nginx_that_is_killed_and_started_again() {
    wrk_notices_nothing("passive = { ejection_time = \"1s\" }", |nginx| {
        nginx.kill();
        std::thread::sleep(Duration::from_millis(1500));
        nginx.restart();
    });
}

#[test]
fn wrk_notices_nothing_of_an_nginx_that_is_frozen_for_a_while() {
    let lines = "passive = { ejection_time = \"1s\" }\nretries = { attempt_timeout = \"300ms\" }";
    wrk_notices_nothing(lines, |nginx| {
        nginx.process.signal("STOP");
        std::thread::sleep(Duration::from_millis(1500));
        nginx.process.signal("CONT");
    });
}
