//! Backends of HTTP/2 that fall silent: their connections stay open, and nothing comes any more, as with a machine that has lost its power.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lb_testkit::{Gateway, PATIENCE, eventually};

use super::backends::Origin;
use super::frames::{END_HEADERS, END_STREAM, HEADERS, PING, Peer};
use crate::support::{STATUS_LISTENER, backend_status, launch};

/// Passes bytes on until it is told to keep those of the connections that it has by then.
struct Relay {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    silent: Arc<Mutex<Arc<AtomicBool>>>,
}

impl Relay {
    fn to(origin: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, silent) = (Arc::new(AtomicUsize::new(0)), Arc::<Mutex<Arc<AtomicBool>>>::default());
        let (count, present) = (Arc::clone(&connections), Arc::clone(&silent));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(origin)) else { return };
                count.fetch_add(1, SeqCst);
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let is_silent = Arc::clone(&present.lock().unwrap());
                    std::thread::spawn(move || pass(from, to, &is_silent));
                }
            }
        });
        Self { address, connections, silent }
    }

    fn fall_silent(&self) {
        std::mem::take(&mut *self.silent.lock().unwrap()).store(true, SeqCst);
    }

    fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn gateway(&self, http2: &str) -> Gateway {
        let config = format!(
            "{STATUS_LISTENER}[server]\nworkers = 1\n[upstreams.a]\nprotocol = \"h2c\"\nhttp2 = {{ {http2} }}\nbackends = [\"{}\"]\n\
             [[rules]]\nupstream = \"a\"\ntimeout = \"8s\"\n",
            self.url()
        );
        launch().config(&config).start()
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_silent: &AtomicBool) {
    let mut room = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut room) {
        if !is_silent.load(SeqCst) && to.write_all(&room[..count]).is_err() {
            break;
        }
    }
    if !is_silent.load(SeqCst) {
        to.shutdown(Shutdown::Write).ok();
    }
}

const QUICK: &str = "ping = { interval = \"500ms\", timeout = \"2s\" }";

#[test]
fn a_connection_that_falls_silent_is_given_up_and_what_may_be_asked_twice_is_asked_anew() {
    let origin = Origin::start();
    let relay = Relay::to(origin.address());
    let gateway = relay.gateway(QUICK);
    assert_eq!(gateway.get("/").text(), "hello\n");
    assert_eq!(relay.connections(), 1);
    for round in 2..4 {
        relay.fall_silent();
        let response = gateway.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "hello\n"), "{round}");
        assert_eq!(relay.connections(), round);
    }
    // What may have arrived is not sent again, and fails as on a connection that breaks.
    relay.fall_silent();
    let response = gateway.fetch("POST", "/", &[("Content-Length", "0")]);
    assert_eq!((response.status, response.json()["code"].as_str()), (502, Some("upstream_reset")));
    assert_eq!(gateway.get("/").text(), "hello\n");
    assert_eq!(backend_status(&gateway, "a", &relay.url())["active_connections"], 0);
}

#[test]
fn requests_that_come_while_a_sign_of_life_is_owed_go_elsewhere() {
    let origin = Origin::start();
    let relay = Relay::to(origin.address());
    let gateway = relay.gateway("ping = { interval = \"300ms\", timeout = \"10s\" }");
    assert_eq!(gateway.get("/").text(), "hello\n");
    relay.fall_silent();
    let mut waiting = gateway.client();
    waiting.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    std::thread::sleep(Duration::from_secs(2));
    for _ in 0..5 {
        assert_eq!(gateway.get("/").text(), "hello\n");
    }
    assert_eq!(relay.connections(), 2, "they share another connection");
}

/// Answers PING as everybody does, and requests when it is told to.
#[test]
fn who_thinks_for_long_is_asked_a_few_times_and_left_in_peace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (pings, may_answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, is_told) = (Arc::clone(&pings), Arc::clone(&may_answer));
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            accepted.fetch_add(1, SeqCst);
            let writer = stream.as_ref().unwrap().try_clone().unwrap();
            let Some(mut peer) = Peer::accepted(stream.unwrap()) else { continue };
            let (count, is_told) = (Arc::clone(&count), Arc::clone(&is_told));
            std::thread::spawn(move || {
                while let Some(frame) = peer.read() {
                    if frame.kind == PING && frame.flags == 0 {
                        count.fetch_add(1, SeqCst);
                        peer.send(PING, 1, 0, &frame.payload);
                    } else if frame.kind == HEADERS {
                        let (mut writer, is_told) = (writer.try_clone().unwrap(), Arc::clone(&is_told));
                        std::thread::spawn(move || {
                            eventually("it may answer", PATIENCE, || is_told.load(SeqCst));
                            let answer = super::frames::frame(
                                HEADERS,
                                END_HEADERS | END_STREAM,
                                frame.stream,
                                &[0x88],
                            );
                            writer.write_all(&answer).unwrap();
                        });
                    }
                }
            });
        }
    });
    let config = format!(
        "[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\", http2 = {{ ping = {{ interval = \"100ms\", timeout = \"8s\" }} }} }}]\n"
    );
    let gateway = launch().config(&config).start();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("it is asked", PATIENCE, || pings.load(SeqCst) == 3);
    std::thread::sleep(Duration::from_secs(1));
    may_answer.store(true, SeqCst);
    assert_eq!(client.response().status, 200);
    assert_eq!(
        (pings.load(SeqCst), connections.load(SeqCst)),
        (3, 1),
        "a fourth time would be too often for gRPC"
    );
}

#[test]
fn nobody_is_asked_where_that_is_off() {
    let origin = Origin::start();
    let relay = Relay::to(origin.address());
    let gateway = relay.gateway("ping = false");
    assert_eq!(gateway.get("/").text(), "hello\n");
    relay.fall_silent();
    let mut client = gateway.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!client.closes_within(Duration::from_secs(3)));
    let response = client.response();
    assert_eq!(response.status, 504, "its own deadline has come");
}

/// The timer that the system keeps for each connection to this address (`/proc/net/tcp`): 2 is one of keep-alive.
fn timers(address: SocketAddr) -> Vec<u8> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", address.port());
    let of_backend = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let established = of_backend.filter(|fields| fields[2].ends_with(&port) && fields[3] == "01");
    established.map(|fields| fields[5][..2].parse().unwrap()).collect()
}

#[test]
fn the_system_looks_after_connections_to_backends_that_may_be_asked_no_more() {
    for (http2, timer) in [("ping = { interval = \"2s\", timeout = \"2s\" }", 2), ("ping = false", 0)] {
        let origin = Origin::start();
        let relay = Relay::to(origin.address());
        let gateway = relay.gateway(http2);
        assert_eq!(gateway.get("/").text(), "hello\n");
        eventually("all is acknowledged", PATIENCE, || timers(relay.address) == [timer]);
    }
}
