//! WebSocket over HTTP/2 (RFC 8441): a real client of both, and streams by the frame.

use std::process::Command;

use lb_testkit::{Backend, Gateway, PATIENCE, WEBSOCKET_DIALOGUE, eventually};

use super::frames::{CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, Peer, RST_STREAM, SETTINGS, block};
use crate::support::websocket::{AGREED, Library, echo};
use crate::support::{STATUS_LISTENER, backend_status, gateway, python, rule};

pub(super) const CONNECT: [(&str, &str); 7] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/chat?x=1"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
];

#[track_caller]
fn switched(gateway: &Gateway, stream: u32) -> Peer {
    let mut peer = Peer::connect(gateway.address());
    peer.headers(stream, &CONNECT, false);
    let head = peer.until("an answer", |frame| frame.stream == stream && frame.kind == HEADERS);
    assert!(head.status() == 200 && !head.ends_stream(), "{head:?}");
    peer
}

/// The data of a stream up to its end, or until there is so much of it.
#[track_caller]
pub(super) fn data(peer: &mut Peer, stream: u32, enough: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < enough {
        let frame = peer.until("data", |frame| frame.stream == stream && frame.kind == DATA);
        bytes.extend_from_slice(&frame.payload);
        if frame.ends_stream() {
            break;
        }
    }
    bytes
}

#[test]
fn clients_are_told_that_it_is_spoken() {
    let backend = Backend::echo("b");
    let gateway = gateway(&rule("", &[&backend]));
    let mut peer = Peer::connect(gateway.address());
    let settings = peer.until("settings", |frame| frame.kind == SETTINGS && frame.flags == 0);
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
}

#[test]
fn bytes_pass_both_ways_until_both_sides_have_said_all() {
    let backend = Backend::scripted(echo);
    let gateway =
        gateway(&format!("{STATUS_LISTENER}{}", rule("name = \"r\"\npath = \"/chat\"", &[&backend])));
    let mut peer = switched(&gateway, 1);
    let seen = backend.requests().remove(0);
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("GET", "/chat?x=1"));
    for (name, value) in [
        ("host", "a.example"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let key = seen.header("sec-websocket-key").unwrap_or_default();
    assert!(key.len() == 24 && key.ends_with("=="), "16 bytes: {key}");
    peer.send(DATA, 0, 1, b"hello");
    assert_eq!(data(&mut peer, 1, 5), b"hello");
    peer.send(DATA, 0, 1, &[0, 255, 10]);
    assert_eq!(data(&mut peer, 1, 3), [0, 255, 10]);
    assert_eq!(backend_status(&gateway, "r", &backend.url())["active_connections"], 1);
    peer.send(DATA, END_STREAM, 1, b"last");
    assert_eq!(data(&mut peer, 1, usize::MAX), b"lastbye", "its end passes on, and so does the backend's");
    eventually("its place is given back", PATIENCE, || {
        backend_status(&gateway, "r", &backend.url())["active_connections"] == 0
    });
    let metrics = gateway.get("/metrics").text();
    assert!(metrics.contains("gatewayd_requests_total{rule=\"r\",code=\"1xx\"} 1"), "{metrics}");
    peer.headers(3, &CONNECT, false);
    let again = peer.until("an answer", |frame| frame.stream == 3 && frame.kind == HEADERS);
    assert_eq!(again.status(), 200, "the connection goes on");
}

#[test]
fn what_the_backend_refuses_is_an_answer_like_any_other() {
    let backend = Backend::fixed("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let gateway = gateway(&rule("", &[&backend]));
    let mut peer = Peer::connect(gateway.address());
    for stream in [1, 3] {
        peer.headers(stream, &CONNECT, false);
        let head = peer.until("an answer", |frame| frame.stream == stream && frame.kind == HEADERS);
        assert_ne!(head.status(), 200);
        assert_eq!(data(&mut peer, stream, usize::MAX), b"no");
    }
}

#[test]
fn success_without_a_switch_is_not_passed_for_one() {
    let backend = Backend::echo("b");
    let gateway =
        gateway(&format!("[access_log]\nenabled = true\n{STATUS_LISTENER}{}", rule("", &[&backend])));
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &CONNECT, false);
    let head = peer.until("an answer", |frame| frame.stream == 1 && frame.kind == HEADERS);
    assert_ne!(head.status(), 200);
    let problem: serde_json::Value = serde_json::from_slice(&data(&mut peer, 1, usize::MAX)).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&502.into(), &"upstream_reset".into()));
    gateway.log_line("it is logged", |line| line["status_code"] == 502);
    let mut page = CONNECT;
    page[4].1 = "/health";
    peer.headers(3, &page, false);
    let head = peer.until("an answer", |frame| frame.stream == 3 && frame.kind == HEADERS);
    assert_ne!(head.status(), 200, "a status page is none either");
}

#[test]
fn what_is_no_extended_connect_is_refused() {
    let backend = Backend::scripted(echo);
    let gateway = gateway(&rule("", &[&backend]));
    let with = |more: &[(&'static str, &'static str)]| [&CONNECT[..], more].concat();
    let without = |name: &str| CONNECT.into_iter().filter(|field| field.0 != name).collect::<Vec<_>>();
    let mut get = CONNECT.to_vec();
    get[0].1 = "GET";
    let mut strange = CONNECT.to_vec();
    strange[1].1 = "web socket";
    let mut list = CONNECT.to_vec();
    list[1].1 = "websocket,other";
    for fields in [
        with(&[("content-length", "3")]),
        with(&[("connection", "upgrade")]),
        without(":path"),
        without(":scheme"),
        get,
        strange,
        list,
    ] {
        let mut peer = Peer::connect(gateway.address());
        peer.send(HEADERS, END_HEADERS, 1, &block(&fields));
        peer.refusal(1);
    }
    assert_eq!(backend.hits(), 0);
}

#[test]
fn a_side_that_breaks_ends_the_other() {
    let backend = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        conn.read_exact(1).unwrap();
        conn.reset();
    });
    let gateway = gateway(&rule("", &[&backend]));
    let mut peer = switched(&gateway, 1);
    peer.send(DATA, 0, 1, b"x");
    let end = peer.until("the end", |frame| frame.stream == 1 && frame.kind == RST_STREAM);
    assert_eq!(end.reason(), CANCEL);
    let holding = Backend::scripted(echo);
    let gateway = crate::support::gateway(&rule("", &[&holding]));
    let mut peer = switched(&gateway, 1);
    peer.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    eventually("the backend is let go", PATIENCE, || holding.open_connections() == 0);
}

#[test]
fn a_client_that_has_said_all_and_breaks_off_is_noticed_at_once() {
    let stubborn = Backend::scripted(|conn| {
        conn.request();
        conn.reply(AGREED);
        while conn.read_some(1024).is_ok_and(|bytes| !bytes.is_empty()) {}
        std::thread::sleep(PATIENCE * 2);
    });
    let gateway =
        gateway(&format!("{STATUS_LISTENER}{}", rule("name = \"r\"\npath = \"/chat\"", &[&stubborn])));
    let active = || backend_status(&gateway, "r", &stubborn.url())["active_connections"].clone();
    let mut peer = switched(&gateway, 1);
    peer.send(DATA, END_STREAM, 1, b"bye");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(active(), 1, "the backend may go on");
    peer.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    eventually("it is let go", PATIENCE, || active() == 0);
}

#[test]
fn silence_has_a_bound_of_its_own() {
    let backend = Backend::scripted(echo);
    let timeouts = "timeout = \"200ms\"\nidle_timeout = \"200ms\"\ntunnel_timeout = \"1s\"";
    let gateway = gateway(&rule(timeouts, &[&backend]));
    let mut peer = switched(&gateway, 1);
    std::thread::sleep(std::time::Duration::from_millis(500));
    peer.send(DATA, 0, 1, b"still there");
    assert_eq!(data(&mut peer, 1, 11), b"still there");
    peer.until("the end", |frame| frame.stream == 1 && frame.kind == RST_STREAM);
    eventually("the backend's side is closed too", PATIENCE, || backend.open_connections() == 0);
}

/// `h2` and `wsproto`, against a server of HTTP/1.1 that knows nothing of it.
#[test]
fn a_websocket_library_is_content() {
    let server = Library::start();
    let gateway = gateway(&format!(
        "[[listeners]]\naddress = \"{{listen}}\"\n\
         [[listeners]]\naddress = \"{{listen2}}\"\ntls = \"self-signed\"\n\
         [[rules]]\npath = \"/chat\"\nbackends = [\"{}\"]",
        server.address()
    ));
    let client = "
import socket, ssl, sys
import h2.config, h2.connection, h2.events
host, port, tls = sys.argv[1], int(sys.argv[2]), sys.argv[3] == 'tls'
sock = socket.create_connection((host, port), timeout=30)
if tls:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(['h2'])
    sock = context.wrap_socket(sock, server_hostname='localhost')
    assert sock.selected_alpn_protocol() == 'h2'
conn = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
conn.initiate_connection()
sock.sendall(conn.data_to_send())
dialogue, state = Dialogue(1000), {'status': None, 'over': False, 'told': False}
def pump():
    data = sock.recv(1 << 16)
    assert data, 'the connection has ended'
    for event in conn.receive_data(data):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            state['told'] = conn.remote_settings.enable_connect_protocol == 1
        elif isinstance(event, h2.events.ResponseReceived):
            state['status'] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if event.data:
                dialogue.take(event.data)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            state['over'] = True
    sock.sendall(conn.data_to_send())
while not state['told']:
    pump()
conn.send_headers(1, [(':method', 'CONNECT'), (':protocol', 'websocket'), (':scheme', 'https' if tls else 'http'),
    (':authority', 'a.example'), (':path', '/chat'), ('sec-websocket-version', '13'), ('sec-websocket-protocol', 'chat')])
sock.sendall(conn.data_to_send())
while not state['status']:
    pump()
fields = {(k.decode() if isinstance(k, bytes) else k): (v.decode() if isinstance(v, bytes) else v) for k, v in state['status'].items()}
assert fields[':status'] == '200', fields
assert fields['sec-websocket-protocol'] == 'chat' and 'sec-websocket-accept' not in fields, fields
assert 'upgrade' not in fields and 'connection' not in fields, fields
def send(data):
    while data:
        room = min(conn.local_flow_control_window(1), conn.max_outbound_frame_size)
        if room == 0:
            pump()
            continue
        conn.send_data(1, data[:room])
        data = data[room:]
        sock.sendall(conn.data_to_send())
for piece in dialogue.steps():
    pump() if piece is None else send(piece)
conn.end_stream(1)
sock.sendall(conn.data_to_send())
while not state['over']:
    pump()
print(dialogue.closed)
";
    let client = format!("{WEBSOCKET_DIALOGUE}{client}");
    let wsproto = python("h2==4.3.0 wsproto==1.2.0");
    for (address, tls) in [(gateway.address(), "clear"), (gateway.address_of("listen2"), "tls")] {
        let output = Command::new(&wsproto)
            .args(["-c", &client, &address.ip().to_string(), &address.port().to_string(), tls])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), "4001 as asked", "{tls}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
