//! The tools themselves: a client against backends, with no gateway between them.

use std::io::ErrorKind;
use std::time::Duration;

use lb_testkit::{Backend, Client, Framing, Gate, Process, eventually, fetch};

#[test]
fn an_echo_tells_its_name_and_the_exact_request() {
    let backend = Backend::echo("a");
    let mut client = Client::connect(backend.address());
    client.send(
        "POST /x?y=1 HTTP/1.1\r\nHOST: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\n",
    );
    let response = client.response();
    assert_eq!((response.status, response.backend().as_str()), (200, "a"));
    assert_eq!(response.json()["headers"][0][0], "HOST");
    let request = &backend.requests()[0];
    assert_eq!((request.text().as_str(), request.trailers[0].0.as_str()), ("abc", "T"));
    assert_eq!(client.request("HEAD", "/", &[]).framing, Framing::None);
    assert_eq!(client.get("/").status, 200, "the connection goes on after a HEAD");
}

#[test]
fn a_backend_counts_connections_and_concurrency() {
    let gate = Gate::new();
    let backend = Backend::held("a", &gate);
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::connect(backend.address());
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client
        })
        .collect();
    eventually("three requests wait", Duration::from_secs(5), || gate.waiting() == 3);
    gate.open();
    for mut client in clients {
        assert_eq!(client.response().status, 200);
    }
    assert_eq!((backend.accepted(), backend.peak(), backend.in_flight()), (3, 3, 0));
}

#[test]
fn a_stopped_backend_refuses_and_a_started_one_accepts_again() {
    let mut backend = Backend::echo("a");
    let mut client = Client::connect(backend.address());
    assert_eq!(client.get("/").status, 200);
    backend.stop();
    assert!(client.closes_within(Duration::from_secs(5)));
    assert!(std::net::TcpStream::connect(backend.address()).is_err());
    backend.start();
    assert_eq!(fetch(backend.address(), "GET", "/", &[]).status, 200);
}

#[test]
fn misbehaviour_is_seen_as_what_it_is() {
    let outcome = |backend: &Backend| {
        let mut client = Client::connect(backend.address());
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.try_response("GET").map_err(|error| error.kind())
    };
    assert_eq!(outcome(&Backend::reset_mid_head()).unwrap_err(), ErrorKind::ConnectionReset);
    assert_eq!(outcome(&Backend::garbage()).unwrap_err(), ErrorKind::InvalidData);
    let closed = outcome(&Backend::close_delimited("abc")).unwrap();
    assert_eq!((closed.framing, closed.text().as_str()), (Framing::Close, "abc"));
    let old = outcome(&Backend::http10("abc")).unwrap();
    assert_eq!((old.version.as_str(), old.text().as_str()), ("HTTP/1.0", "abc"));
    let two_lengths = Backend::once("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab");
    assert_eq!(outcome(&two_lengths).unwrap_err(), ErrorKind::InvalidData);
}

#[test]
#[should_panic(expected = "not HTTP")]
fn a_backend_that_was_sent_nonsense_fails_its_test() {
    let backend = Backend::echo("a");
    let mut client = Client::connect(backend.address());
    client.send("GET / HTTP/1.1\r\nHost : x\r\n\r\n");
    assert!(client.closes_within(Duration::from_secs(5)));
}

#[test]
fn a_process_is_watched_and_ended() {
    let mut command = std::process::Command::new("sh");
    let mut process = Process::spawn(command.args(["-c", "echo out; echo err >&2; exec sleep 60"]));
    eventually("both streams are read", Duration::from_secs(5), || {
        (process.output(), process.errors()) == ("out\n".to_owned(), "err\n".to_owned())
    });
    assert!(process.resident_bytes() > 0 && process.open_files() >= 3);
    assert!(process.wait(Duration::from_millis(20)).is_none());
    process.signal("TERM");
    assert_eq!(process.wait(Duration::from_secs(5)).map(|status| status.success()), Some(false));
}
