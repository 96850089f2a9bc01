//! Backends that are labelled containers. Docker itself is stood in for by a server on a unix socket that answers as its API does.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lb_testkit::{Backend, Load, PATIENCE, eventually};
use serde_json::{Value, json};

use super::{config, eventually_present, eventually_serves, present, source};
use crate::support::launch;

/// The part of Docker's API that is asked for.
#[derive(Clone, Default)]
struct Docker {
    containers: Arc<Mutex<Vec<Value>>>,
    listeners: Arc<Mutex<Vec<UnixStream>>>,
    targets: Arc<Mutex<Vec<String>>>,
}

impl Docker {
    /// Listens at this path until it is told to stop by the socket's going.
    fn listen(&self, path: &Path) -> PathBuf {
        let listener = UnixListener::bind(path).unwrap();
        let docker = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let docker = docker.clone();
                std::thread::spawn(move || docker.serve(stream.unwrap()));
            }
        });
        path.to_owned()
    }

    fn serve(&self, mut stream: UnixStream) {
        let mut head = BufReader::new(stream.try_clone().unwrap()).lines();
        let target = head.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
        while head.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
        self.targets.lock().unwrap().push(target.clone());
        if target.starts_with("/events?") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            self.listeners.lock().unwrap().push(stream);
            return;
        }
        let body = json!(*self.containers.lock().unwrap()).to_string();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }

    /// These containers run now.
    fn run(&self, containers: &[Value]) {
        *self.containers.lock().unwrap() = containers.to_vec();
        let event = "{\"Type\":\"container\",\"Action\":\"start\"}\n";
        for stream in &mut *self.listeners.lock().unwrap() {
            let _ = write!(stream, "{:x}\r\n{event}\r\n", event.len());
        }
    }
}

fn container(id: &str, backend: &Backend) -> Value {
    json!({
        "Id": format!("{id}-0123456789abcdef"),
        "Labels": { "gatewayd.upstream": "app", "gatewayd.port": backend.address().port().to_string() },
        "Ports": [],
        "NetworkSettings": { "Networks": { "bridge": { "IPAddress": "127.0.0.1" } } },
    })
}

#[test]
fn labelled_containers_are_followed_and_outlive_docker() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let docker = Docker::default();
    docker.run(&[container("a", &a)]);
    let launch = launch();
    let socket = docker.listen(&launch.directory().join("docker.sock"));
    let gateway = launch.config(&config("docker = \"{dir}/docker.sock\"", "")).start();
    eventually_present(&gateway, &[a.url()]);
    let load = Load::on(gateway.address());
    docker.run(&[container("a", &a), container("b", &b)]);
    eventually_present(&gateway, &[a.url(), b.url()]);
    eventually_serves(&gateway, &[&a, &b]);
    // One that does not say where it is is left out, and said.
    let mut lost = container("lost", &a);
    lost["Labels"] = json!({ "gatewayd.upstream": "app" });
    docker.run(&[lost, container("b", &b)]);
    eventually_present(&gateway, &[b.url()]);
    assert!(source(&gateway)["notice"].as_str().unwrap().contains("exposes 0 ports"), "{}", source(&gateway));

    // Docker goes, and comes back.
    std::fs::remove_file(&socket).unwrap();
    docker.listeners.lock().unwrap().clear();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway), [b.url()].into());
    eventually_serves(&gateway, &[&b]);
    docker.run(&[container("a", &a)]);
    docker.listen(&socket);
    eventually_present(&gateway, &[a.url()]);
    eventually_serves(&gateway, &[&a]);
    assert!(load.finish().answers > 100);
    let targets = docker.targets.lock().unwrap().join("\n");
    assert!(
        targets.contains("/containers/json?filters=") && targets.contains("gatewayd%2Eupstream%3Dapp"),
        "{targets}"
    );
}
