//! Bounds on HTTP/2 to backends: what backends are told, and what is kept to.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use lb_testkit::{Client, Gateway, PATIENCE, eventually};

use super::backends::Origin;
use super::frames::{END_HEADERS, END_STREAM, HEADERS, Peer, block};
use crate::support::launch;

/// Requests to this address by HTTP/2 in the clear, with these bounds.
fn bounded(address: SocketAddr, bounds: &str) -> Gateway {
    let config = format!(
        "[server]\nworkers = 1\n[upstreams.a]\nprotocol = \"h2c\"\nhttp2 = {{ {bounds} }}\nbackends = [\"http://{address}\"]\n\
         [[rules]]\nupstream = \"a\"\n"
    );
    launch().config(&config).start()
}

#[test]
fn nghttpd_is_told_the_bounds_and_bodies_pass_whole_through_small_windows() {
    let origin = Origin::told(&["--verbose"]);
    let bounds = "stream_window = \"1MiB\", connection_window = \"2MiB\", max_frame_size = \"32KiB\", max_header_size = \"8KiB\"";
    let gateway = bounded(origin.address(), bounds);
    assert!(gateway.get("/large").text() == origin.body);
    let told = [
        "SETTINGS_INITIAL_WINDOW_SIZE(0x04):1048576",
        "SETTINGS_MAX_FRAME_SIZE(0x05):32768",
        "SETTINGS_MAX_HEADER_LIST_SIZE(0x06):8192",
        // What the window has beyond 65 535 bytes.
        "(window_size_increment=2031617)",
    ];
    for words in told {
        eventually(words, PATIENCE, || origin.said().contains(words));
    }
    let small = bounded(origin.address(), "stream_window = \"1KiB\", connection_window = \"64KiB\"");
    assert!(small.get("/large").text() == origin.body);
}

/// A backend that says nothing, and counts the streams of each connection.
fn silent() -> (SocketAddr, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, streams) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let counted = Arc::clone(&streams);
    std::thread::spawn(move || {
        for (place, stream) in listener.incoming().flatten().enumerate() {
            let streams = Arc::clone(&counted);
            streams.lock().unwrap().push(0);
            std::thread::spawn(move || {
                let Some(mut peer) = Peer::accepted(stream) else { return };
                while let Some(frame) = peer.read() {
                    streams.lock().unwrap()[place] += usize::from(frame.kind == HEADERS);
                }
            });
        }
    });
    (address, streams)
}

#[test]
fn no_connection_gets_more_streams_at_once_than_it_may() {
    let (address, streams) = silent();
    let gateway = bounded(address, "max_concurrent_streams = 2");
    let mut clients = Vec::new();
    for number in 1..=5 {
        let mut client: Client = gateway.client();
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        clients.push(client);
        eventually("the request is there", PATIENCE, || {
            streams.lock().unwrap().iter().sum::<usize>() == number
        });
    }
    assert_eq!(*streams.lock().unwrap(), [2, 2, 1]);
}

#[test]
fn an_answer_with_a_longer_head_than_it_may_have_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let Some(mut peer) = Peer::accepted(stream) else { return };
                while let Some(frame) = peer.read() {
                    if frame.kind == HEADERS {
                        let head = [&[0x88][..], &block(&[("x-long", &"x".repeat(3000))])].concat();
                        peer.send(HEADERS, END_HEADERS | END_STREAM, frame.stream, &head);
                    }
                }
            });
        }
    });
    assert_eq!(bounded(address, "max_header_size = \"4KiB\"").get("/").status, 200);
    assert_eq!(bounded(address, "max_header_size = \"2KiB\"").get("/").status, 502);
}

#[test]
fn bounds_that_make_no_sense_are_errors_at_their_place() {
    let protocol = "protocol = \"h2c\"";
    for (upstream, backend, words) in [
        (protocol, "http2 = { max_concurrent_streams = 0 }", "between 1 and"),
        (
            protocol,
            "http2 = { stream_window = \"1GiB\", connection_window = \"4GiB\" }",
            "`connection_window`",
        ),
        (protocol, "http2 = { max_frame_size = \"1KiB\" }", "`max_frame_size` must lie between"),
        (protocol, "http2 = { max_header_size = \"1MiB\" }", "`max_header_size` must lie between"),
        (protocol, "http2 = { max_streams = 1 }", "max_concurrent_streams"),
        ("", "http2 = { max_concurrent_streams = 1 }", "not spoken to by HTTP/2"),
        ("http2 = { max_concurrent_streams = 1 }", "", "not spoken to by HTTP/2"),
    ] {
        let comma = if backend.is_empty() { "" } else { ", " };
        let config = format!(
            "[upstreams.a]\n{upstream}\nbackends = [{{ url = \"http://127.0.0.1:1\"{comma}{backend} }}]\n[[rules]]\nupstream = \"a\"\n"
        );
        let output =
            launch().config_file("gatewayd.toml", &config).args(&["check", "{dir}/gatewayd.toml"]).run();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(78) && said.contains(words), "{upstream} {backend}: {said}");
        assert!(said.contains("http2"), "{said}");
    }
}
