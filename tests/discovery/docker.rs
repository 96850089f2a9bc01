//! Backends that are labelled containers: of a real Docker, and of a server on a unix socket that answers as its API does.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lb_testkit::{Backend, Gateway, Load, PATIENCE, eventually};
use serde_json::{Value, json};

use super::engine::{Engine, Kind};
use super::{config, eventually_present, eventually_serves, present, source};
use crate::support::{backend_status, launch};

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
        self.tell();
    }

    /// Something has happened.
    fn tell(&self) {
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

    // It tells of what it lists a little later.
    docker.tell();
    std::thread::sleep(std::time::Duration::from_millis(300));
    *docker.containers.lock().unwrap() = vec![container("a", &a), container("b", &b)];
    eventually_present(&gateway, &[a.url(), b.url()]);
    docker.run(&[container("b", &b)]);
    eventually_present(&gateway, &[b.url()]);

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

#[test]
fn an_engine_that_has_just_started_takes_nobody_out_at_once() {
    let [a, b] = ["a", "b"].map(Backend::echo);
    let docker = Docker::default();
    docker.run(&[container("a", &a)]);
    let launch = launch();
    let socket = docker.listen(&launch.directory().join("docker.sock"));
    let gateway = launch.config(&config("docker = \"{dir}/docker.sock\", keep = \"3s\"", "")).start();
    eventually_present(&gateway, &[a.url()]);
    let restart = |containers: &[Value]| {
        std::fs::remove_file(&socket).unwrap();
        docker.containers.lock().unwrap().clear();
        docker.containers.lock().unwrap().extend_from_slice(containers);
        docker.listeners.lock().unwrap().clear();
        docker.listen(&socket);
    };
    restart(&[]);
    eventually("it is said", PATIENCE, || {
        source(&gateway)["error"].as_str().is_some_and(|error| error.contains("no container that runs"))
    });
    assert_eq!(present(&gateway), [a.url()].into());
    docker.run(&[container("b", &b)]);
    eventually_present(&gateway, &[b.url()]);
    assert!(source(&gateway)["error"].is_null());
    // It has told of one: now it knows when there is none.
    docker.run(&[]);
    eventually_present(&gateway, &[]);
    assert!(source(&gateway)["error"].is_null());
    docker.run(&[container("a", &a)]);
    eventually_present(&gateway, &[a.url()]);
    // One that goes on telling of none is believed in the end.
    restart(&[]);
    eventually_present(&gateway, &[]);
    gateway.log_line("it is said", |line| line["message"] == "nobody for longer than `keep`");
}

/// Each of these containers answers.
#[track_caller]
fn serve(gateway: &Gateway, names: &[&str]) {
    let mut unheard: BTreeSet<_> = names.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("{names:?} serve"), PATIENCE, || {
        unheard.remove(&gateway.get("/").backend());
        unheard.is_empty()
    });
}

#[test]
fn containers_of_a_real_docker_come_and_go_and_no_request_notices() {
    let mut engine = match Engine::start(Kind::Docker) {
        Ok(engine) => engine,
        Err(reason) => return eprintln!("left out: {reason}"),
    };
    // Neither belongs to `app`.
    engine.docker(&engine.run_with(&["--detach"], &[]));
    engine.docker(&engine.run_with(&["--detach", "--label", "gatewayd.upstream=apple"], &[]));
    let one = engine.serve("one", &[]);
    let gateway = launch().config(&config(&format!("docker = \"{}\"", engine.socket()), "")).start();
    eventually_present(&gateway, std::slice::from_ref(&one));
    let load = Load::on(gateway.address());
    let serve = |names: &[&str]| serve(&gateway, names);

    // One, five, two; one of them in the host's network, and one at a port that it does not expose.
    let two = engine.serve("two", &["--label", "gatewayd.weight=3"]);
    let three = engine.serve("three", &["--expose", "9000", "--label", "gatewayd.port=8080"]);
    let four = engine.serve("four", &["--network", "host", "--label", "gatewayd.port=8080"]);
    let five = engine.serve("five", &[]);
    assert_eq!(four, "http://127.0.0.1:8080");
    eventually_present(&gateway, &[&one, &two, &three, &four, &five].map(String::clone));
    assert_eq!(backend_status(&gateway, "app", &two)["weight"], 3.0);
    serve(&["one", "two", "three", "four", "five"]);
    engine.docker(&["stop", "one", "four", "five"]);
    eventually_present(&gateway, &[two.clone(), three.clone()]);
    serve(&["two", "three"]);

    // One that is started again, one that is held for a while, and one in whose place another label is put.
    engine.docker(&["start", "one"]);
    let one = engine.url("one");
    eventually_present(&gateway, &[one.clone(), two.clone(), three.clone()]);
    serve(&["one", "two", "three"]);
    engine.docker(&["pause", "three"]);
    eventually_present(&gateway, &[one.clone(), two.clone()]);
    engine.docker(&["unpause", "three"]);
    eventually_present(&gateway, &[one.clone(), two.clone(), three.clone()]);
    let next = engine.serve("next", &["--label", "gatewayd.weight=2"]);
    engine.docker(&["stop", "two"]);
    eventually_present(&gateway, &[one.clone(), three.clone(), next.clone()]);
    assert_eq!(backend_status(&gateway, "app", &next)["weight"], 2.0);
    // One that does not say where it is.
    engine.serve("lost", &["--expose", "9000"]);
    let is_said = |words: &str| source(&gateway)["notice"].as_str().is_some_and(|it| it.contains(words));
    eventually("it is said", PATIENCE, || is_said("exposes 2 ports"));
    engine.docker(&["stop", "lost"]);
    eventually("all is well", PATIENCE, || source(&gateway)["notice"].is_null());

    // One that Docker asks how it is.
    let check = ["--health-cmd", "test -e /tmp/well", "--health-interval", "200ms", "--health-retries", "1"];
    let asked = engine.serve("asked", &check);
    eventually("it is left out, and said", PATIENCE, || is_said("finds it unhealthy"));
    assert_eq!(present(&gateway), [one.clone(), three.clone(), next.clone()].into());
    engine.docker(&["exec", "asked", "touch", "/tmp/well"]);
    eventually_present(&gateway, &[one.clone(), three.clone(), next.clone(), asked]);
    serve(&["asked"]);
    engine.docker(&["exec", "asked", "rm", "/tmp/well"]);
    eventually_present(&gateway, &[one.clone(), three.clone(), next.clone()]);

    // Docker goes, and comes back; its containers go on meanwhile.
    engine.stop();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway).len(), 3);
    serve(&["one", "three", "next"]);
    engine.run().unwrap();
    eventually("it answers again", PATIENCE, || source(&gateway)["error"].is_null());
    assert_eq!(present(&gateway).len(), 3);
    let last = engine.serve("last", &[]);
    engine.docker(&["stop", "one"]);
    eventually_present(&gateway, &[three, next, last]);
    serve(&["three", "next", "last"]);
    assert!(load.finish().answers > 100);
}

#[test]
fn containers_of_a_real_podman_are_followed_and_outlive_its_service() {
    let mut engine = match Engine::start(Kind::Podman) {
        Ok(engine) => engine,
        Err(reason) => return eprintln!("left out: {reason}"),
    };
    let run = |engine: &Engine, name: &str, port: u16| {
        let (environment, label) = (format!("PORT={port}"), format!("gatewayd.port={port}"));
        engine.serve(name, &["--env", &environment, "--label", &label]);
        format!("http://127.0.0.1:{port}")
    };
    let one = run(&engine, "one", 8081);
    let gateway = launch().config(&config(&format!("docker = \"{}\"", engine.socket()), "")).start();
    eventually_present(&gateway, std::slice::from_ref(&one));
    let load = Load::on(gateway.address());
    let (two, three) = (run(&engine, "two", 8082), run(&engine, "three", 8083));
    eventually_present(&gateway, &[one.clone(), two.clone(), three.clone()]);
    serve(&gateway, &["one", "two", "three"]);
    engine.docker(&["stop", "one", "three"]);
    eventually_present(&gateway, std::slice::from_ref(&two));
    engine.docker(&["start", "three"]);
    eventually_present(&gateway, &[two, three.clone()]);

    engine.stop();
    eventually("that nobody answers is said", PATIENCE, || source(&gateway)["error"].is_string());
    assert_eq!(present(&gateway).len(), 2);
    serve(&gateway, &["two", "three"]);
    engine.run().unwrap();
    let four = run(&engine, "four", 8084);
    engine.docker(&["stop", "two"]);
    eventually_present(&gateway, &[three, four]);
    serve(&gateway, &["three", "four"]);
    assert!(load.finish().answers > 100);
}
