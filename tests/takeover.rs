//! The program replaced by another process of it while clients ask: what goes over, what stays, and that no request notices.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lb_testkit::{Authority, Backend, Gateway, Launch, Load, PATIENCE, Process, eventually, fetch};

use crate::support::{cli, launch, rule, urls};

pub(crate) const ADMIN: &str = "[admin]\naddress = \"{admin}\"\n";

/// A process that took over; ended when dropped.
pub(crate) struct Successor(pub(crate) u32);

impl Drop for Successor {
    fn drop(&mut self) {
        signal(self.0, "KILL");
    }
}

pub(crate) fn signal(pid: u32, name: &str) {
    Command::new("sh").arg("-c").arg(format!("kill -{name} {pid} 2>/dev/null")).status().ok();
}

/// `gatewayd upgrade`: its exit status and what it said.
fn upgrade(gateway: &Gateway, arguments: &[&str]) -> (i32, String) {
    let admin = gateway.address_of("admin").to_string();
    let output = cli(&[&["upgrade", "--admin", &admin], arguments].concat());
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

/// The same where it succeeds.
#[track_caller]
pub(crate) fn upgraded(gateway: &Gateway) -> Successor {
    let (code, said) = upgrade(gateway, &["--json"]);
    assert_eq!(code, 0, "{said}\n{}", gateway.errors());
    let document: serde_json::Value = serde_json::from_str(&said).unwrap();
    Successor(u32::try_from(document["pid"].as_u64().unwrap()).unwrap())
}

pub(crate) fn has_ended(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.is_empty() || status.contains(") Z ")
}

#[test]
fn no_request_notices_that_the_program_is_replaced_again_and_again() {
    let backends = ["a", "b"].map(Backend::echo);
    let rule = rule("", &[&backends[0], &backends[1]]);
    let config = |workers: usize| format!("{ADMIN}[server]\nworkers = {workers}\n{rule}");
    let mut gateway = launch().config(&config(2)).start();
    let load = Load::on(gateway.address());
    let mut before = gateway.id();
    let mut successors = Vec::new();
    // Fewer workers than sockets, more, and as many.
    for workers in [1, 3, 2, 2] {
        gateway.write_config(&config(workers));
        let successor = upgraded(&gateway);
        assert_ne!(successor.0, before);
        eventually("the process before ends", PATIENCE, || match before == gateway.id() {
            true => gateway.exited().is_some_and(|status| status.success()),
            false => has_ended(before),
        });
        before = successor.0;
        successors.push(successor);
    }
    let asked = load.finish();
    assert!(asked.answers > 100 && asked.came_again > 0, "{asked:?}");
    let status = fetch(gateway.address_of("admin"), "GET", "/health", &[]);
    assert_eq!(status.status, 200, "the admin address goes over, too");
    signal(before, "TERM");
    eventually("the last one ends when told to", PATIENCE, || has_ended(before));
    assert!(TcpListener::bind(gateway.address()).is_ok(), "nobody holds the port any more");
}

#[test]
fn no_request_of_http2_notices_either() {
    let backends = ["a", "b"].map(Backend::echo);
    let authority = Authority::new("Root");
    let launch = launch();
    let pair = authority.issue(&["localhost"]).write(launch.directory(), "server");
    let config = format!(
        "{ADMIN}[[listeners]]\nname = \"clear\"\naddress = \"{{listen}}\"\n\
         [[listeners]]\nname = \"tls\"\naddress = \"{{listen2}}\"\ntls = {{ {pair} }}\n{}",
        rule("", &[&backends[0], &backends[1]])
    );
    let mut gateway = launch.config(&config).start();
    let loads =
        [Load::http2(gateway.address(), None), Load::http2(gateway.address_of("listen2"), Some(&authority))];
    let mut before = gateway.id();
    let mut successors = Vec::new();
    for _ in 0..3 {
        let successor = upgraded(&gateway);
        eventually("the process before ends", PATIENCE, || match before == gateway.id() {
            true => gateway.exited().is_some_and(|status| status.success()),
            false => has_ended(before),
        });
        before = successor.0;
        successors.push(successor);
    }
    for load in loads {
        let asked = load.finish();
        assert!(asked.answers > 100 && asked.came_again >= 3 * 3, "{asked:?}");
    }
}

#[test]
fn a_connection_that_stays_is_answered_once_more_by_the_process_it_knows() {
    let backend = Backend::echo("a");
    let mut gateway = launch().config(&format!("{ADMIN}{}", rule("", &[&backend]))).start();
    let mut client = gateway.client();
    assert_eq!(client.get("/1").header("connection"), None);
    let _successor = upgraded(&gateway);
    assert!(gateway.exited().is_none(), "it waits for its client");
    let response = client.get("/2");
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    eventually("then it ends", PATIENCE, || gateway.exited().is_some());
    assert_eq!(gateway.get("/3").status, 200);
}

#[test]
fn answers_of_the_gateways_own_send_clients_to_the_next_process_too() {
    let backend = Backend::echo("a");
    let listener = "[[listeners]]\nname = \"web\"\naddress = \"{listen}\"\nstatus_endpoints = true\n";
    let redirect = "[[rules]]\npath = \"/old\"\nredirect = { to = \"https://a.example\", status = 308 }\n";
    let rules = rule("path = \"/ok\"", &[&backend]);
    let mut gateway = launch().config(&format!("{ADMIN}{listener}{redirect}{rules}")).start();
    let paths = [("/nowhere", 404), ("/health", 200), ("/old", 308)];
    let mut clients = paths.map(|(path, status)| {
        let mut client = gateway.client();
        let response = client.get(path);
        assert_eq!((response.status, response.header("connection")), (status, None), "{path}");
        client
    });
    let _successor = upgraded(&gateway);
    for (client, (path, status)) in clients.iter_mut().zip(paths) {
        let response = client.get(path);
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{path}");
    }
    eventually("then it ends", PATIENCE, || gateway.exited().is_some());
}

#[test]
fn idle_connections_end_with_the_process_they_belong_to() {
    let backend = Backend::echo("a");
    let config = format!("{ADMIN}[server]\nshutdown_timeout = \"1s\"\n{}", rule("", &[&backend]));
    let mut gateway = launch().config(&config).start();
    let mut client = gateway.client();
    client.get("/1");
    let _successor = upgraded(&gateway);
    eventually("the old process ends", PATIENCE, || gateway.exited().is_some_and(|it| it.success()));
    assert!(client.read_to_close().is_empty());
    assert!(!gateway.errors().contains("were cut"), "{}", gateway.errors());
}

#[test]
fn sigusr2_replaces_it_as_well() {
    let backend = Backend::echo("a");
    let mut gateway = launch().config(&rule("", &[&backend])).start();
    gateway.signal("USR2");
    let line = gateway.log_line("another process serves", |line| line["component"] == "upgrade");
    let successor = Successor(u32::try_from(line["pid"].as_u64().unwrap()).unwrap());
    assert_eq!(line["cause"], "SIGUSR2");
    eventually("the old process ends", PATIENCE, || gateway.exited().is_some());
    assert_eq!(gateway.get("/").status, 200);
    assert!(!has_ended(successor.0));
}

/// A gateway whose program stands at a path of its own, where it can be replaced.
fn replaceable(config: &str) -> (tempfile::TempDir, std::path::PathBuf, Gateway) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("gatewayd");
    fs::copy(env!("CARGO_BIN_EXE_gatewayd"), &program).unwrap();
    let gateway = Launch::new(program.to_str().unwrap()).config(config).start();
    (folder, program, gateway)
}

/// Put a file in the place of another, as installers do: what runs keeps the old one.
fn replace(path: &Path, content: &[u8], mode: u32) {
    let beside = path.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(&beside, path).unwrap();
}

#[test]
fn where_the_new_program_does_not_serve_the_old_one_goes_on() {
    let backend = Backend::echo("a");
    let config = format!("{ADMIN}{}", rule("", &[&backend]));
    let (_folder, program, mut gateway) = replaceable(&config);
    let good = fs::read(&program).unwrap();
    let load = Load::on(gateway.address());
    let mut refused = |arguments: &[&str], status: i32, words: &str| {
        let (code, said) = upgrade(&gateway, arguments);
        assert!(code == status && said.contains(words), "{code}: {said}");
        assert!(gateway.exited().is_none(), "{}", gateway.errors());
        gateway.log_line("it is in the log", |line| {
            line["component"] == "upgrade" && line["error"].as_str().is_some_and(|it| it.contains(words))
        });
    };
    replace(&program, b"#!/bin/sh\nexit 3\n", 0o755);
    refused(&[], 1, "ended before it served (exit status: 3)");
    replace(&program, b"#!/bin/sh\nexec sleep 600\n", 0o755);
    refused(&["--timeout", "300ms"], 1, "did not serve within 300ms");
    replace(&program, b"\x7fELF nonsense", 0o755);
    refused(&[], 1, "cannot start");
    replace(&program, &good, 0o644);
    refused(&[], 1, "no file that this process may execute");
    fs::remove_file(&program).unwrap();
    refused(&[], 1, "the new version must stand there");

    replace(&program, &good, 0o755);
    gateway.write_config("[[rules]]\nbackend = [\"127.0.0.1:1\"]\n");
    let (code, said) = upgrade(&gateway, &[]);
    assert!(code == 78 && said.contains("backend") && said.contains("gatewayd.toml"), "{code}: {said}");

    gateway.write_config(&config);
    let successor = upgraded(&gateway);
    eventually("the old process ends", PATIENCE, || gateway.exited().is_some());
    assert!(load.finish().answers > 100);
    assert_eq!(fs::read_link(format!("/proc/{}/exe", successor.0)).unwrap(), program);
}

#[test]
fn what_was_done_by_hand_and_what_probes_know_goes_over() {
    let [mut dead, drained, alive] = ["dead", "drained", "alive"].map(Backend::echo);
    let probes =
        "health_check = { path = \"/h\", interval = \"10m\", timeout = \"1s\", unhealthy_threshold = 1 }";
    let config = format!(
        "{ADMIN}[upstreams.app]\n{probes}\nload_balancing = \"weighted_round_robin\"\nretries = {{ attempts = 0 }}\n\
         backends = [{}]\n[[rules]]\nupstream = \"app\"\n",
        urls(&[&dead, &drained, &alive])
    );
    dead.stop();
    let gateway = launch().config(&config).start();
    let state = |backend: &Backend| {
        let status = fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json();
        let backends = status["upstreams"][0]["backends"].as_array().unwrap().clone();
        let row = backends.into_iter().find(|row| row["url"] == backend.url()).unwrap();
        (row["state"].as_str().unwrap().to_owned(), row["weight"].as_f64().unwrap())
    };
    eventually("the dead one is noticed", PATIENCE, || state(&dead).0 == "unhealthy");
    let admin = gateway.address_of("admin").to_string();
    assert!(cli(&["drain", &drained.url(), "--admin", &admin]).status.success());
    assert!(cli(&["weight", &alive.url(), "7", "--admin", &admin]).status.success());
    let successor = upgraded(&gateway);
    eventually("the old process ends", PATIENCE, || has_ended(gateway.id()));
    let status = fetch(gateway.address_of("admin"), "GET", "/proxy-status", &[]).json();
    assert_eq!(status["configuration"]["edits"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!(state(&drained).0, "draining");
    assert_eq!(state(&alive).1, 7.0);
    assert_eq!(state(&dead).0, "unhealthy");
    assert!((0..10).all(|_| gateway.get("/").backend() == "alive"));
    drop(successor);
}

#[test]
fn an_upgrade_is_asked_for_as_any_change_is() {
    let backend = Backend::echo("a");
    let config = format!("{ADMIN}token = \"secret\"\n{}", rule("", &[&backend]));
    let mut gateway = launch().config(&config).start();
    let (code, said) = upgrade(&gateway, &[]);
    assert!(code == 1 && said.contains("401"), "{said}");
    let asked = |method: &str, target: &str| {
        fetch(gateway.address_of("admin"), method, target, &[("authorization", "Bearer secret")]).status
    };
    assert_eq!(asked("GET", "/api/upgrade"), 405);
    assert_eq!(asked("POST", "/api/upgrade?timeout=soon"), 400);
    assert!(gateway.exited().is_none());
}

/// Runs a program as systemd does: with these sockets, names for them, and a place to be told how things stand.
const SYSTEMD: &str = r#"
import os, socket, sys
sockets = [socket.socket() for _ in range(2)]
for s, at in zip(sockets, sys.argv[2:4]):
    host, port = at.rsplit(":", 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port)))
    s.listen(100)
files = [os.dup(s.fileno()) for s in sockets]
for place, file in enumerate(files):
    os.dup2(file, 103 + place)
for place in range(2):
    os.dup2(103 + place, 3 + place, inheritable=True)
os.environ.update(LISTEN_FDS="2", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[1])
os.closerange(5, 200)
os.execv(sys.argv[4], sys.argv[4:])
"#;

#[test]
fn systemd_passes_sockets_and_is_told_how_things_stand() {
    let backend = Backend::echo("a");
    let launch = launch();
    let [listen, admin, elsewhere] = ["listen", "admin", "listen2"].map(|name| launch.address(name));
    let folder = launch.directory().to_path_buf();
    let told = UnixDatagram::bind(folder.join("notify")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let tell = || {
        let mut text = [0; 1024];
        let length = told.recv(&mut text).expect("systemd is told");
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    // The admin address is found by its address; the listener by its name, wherever systemd listens for it.
    let config = format!(
        "[admin]\naddress = \"{admin}\"\n[server]\nworkers = 2\n[[listeners]]\nname = \"web\"\naddress = \"{elsewhere}\"\n{}",
        rule("", &[&backend])
    );
    let file = folder.join("gatewayd.toml");
    fs::write(&file, config).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", SYSTEMD, "web:other", &listen.to_string(), &admin.to_string()]);
    command.args([env!("CARGO_BIN_EXE_gatewayd"), "run", "-c"]).arg(&file);
    command.env("NOTIFY_SOCKET", folder.join("notify"));
    let mut process = Process::spawn(&mut command);
    assert_eq!(tell(), "READY=1\n", "{}", process.errors());
    for _ in 0..10 {
        assert_eq!(fetch(listen, "GET", "/", &[]).status, 200);
    }
    assert!(TcpListener::bind(elsewhere).is_ok(), "it listens where it was told to");

    process.signal("HUP");
    let reloading = tell();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(tell(), "READY=1\n");

    process.signal("USR2");
    let (ready, main) = (tell(), tell());
    assert_eq!(ready, "READY=1\n", "the new process");
    let pid = main.strip_prefix("MAINPID=").and_then(|rest| rest.split('\n').next()).unwrap();
    let successor = Successor(pid.parse().unwrap());
    eventually("the old process ends", PATIENCE, || process.exited().is_some());
    for _ in 0..10 {
        assert_eq!(fetch(listen, "GET", "/", &[]).status, 200);
    }
    assert_eq!(fetch(admin, "GET", "/health", &[]).status, 200);
    signal(successor.0, "TERM");
    assert_eq!(tell(), "STOPPING=1\n");
    eventually("it ends", Duration::from_secs(10), || has_ended(successor.0));
}
