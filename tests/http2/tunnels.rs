//! WebSocket to backends that speak HTTP/2 (RFC 8441): node's server, from clients of every version.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use lb_testkit::{Authority, Gateway, PATIENCE, Port, Process, eventually};
use tempfile::TempDir;

use super::frames::{CANCEL, DATA, END_HEADERS, END_STREAM, HEADERS, Peer, RST_STREAM, WINDOW_UPDATE};
use super::websocket::{CONNECT, data};
use crate::support::{STATUS_LISTENER, backend_status, launch};

/// Arguments: a port, the first letter of what it does (`c`onnect announced, `n`ot announced), and a certificate with its key where it
/// speaks TLS, in which case it speaks HTTP/1.1 as well. It sends back what comes, until that ends, and says which version it is.
const SERVER: &str = "
const http2 = require('http2'), fs = require('fs'), crypto = require('crypto');
const [port, kind, cert, key] = process.argv.slice(1);
const settings = { enableConnectProtocol: kind === 'c' };
const server = cert
  ? http2.createSecureServer({ allowHTTP1: true, settings, cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : http2.createServer({ settings });
server.on('stream', (stream, fields) => {
  stream.on('error', () => {});
  if (fields[':method'] !== 'CONNECT') {
    if (stream.session && !stream.destroyed) { stream.respond({ ':status': 200 }); stream.end('page'); }
    return;
  }
  const bad = fields[':protocol'] !== 'websocket' || fields['sec-websocket-key'] || fields['upgrade'] || fields[':scheme'] === undefined;
  if (bad || fields[':path'] === '/no') { stream.respond({ ':status': bad ? 400 : 403 }); stream.end('no'); return; }
  stream.respond({ ':status': 200, 'sec-websocket-protocol': fields['sec-websocket-protocol'] || 'none', 'x-asked': fields[':path'] });
  stream.on('data', (piece) => { if (piece.toString() === 'break') { stream.destroy(new Error('broken')); } else { stream.write(piece); } });
  stream.on('end', () => stream.end('bye'));
});
if (cert) {
  server.on('upgrade', (request, socket) => {
    const accept = crypto.createHash('sha1').update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11');
    socket.on('error', () => {});
    socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\nX-Asked: h1\\r\\n' +
      'Sec-WebSocket-Accept: ' + accept.digest('base64') + '\\r\\n\\r\\n');
    socket.on('data', (piece) => socket.write(piece));
    socket.on('end', () => socket.end('bye'));
  });
}
server.listen(Number(port), '127.0.0.1');
";

struct Node {
    port: Port,
    directory: TempDir,
    _process: Process,
}

impl Node {
    fn start(kind: &str, is_secure: bool) -> Self {
        let (port, directory) = (Port::free(), TempDir::new().unwrap());
        let mut command = Command::new("node");
        command.args(["-e", SERVER, &port.address().port().to_string(), kind]);
        if is_secure {
            let authority = Authority::new("node");
            authority.write(&directory.path().join("ca.pem"));
            authority.issue(&["127.0.0.1", "localhost"]).write(directory.path(), "server");
            command.arg(directory.path().join("server.crt")).arg(directory.path().join("server.key"));
        }
        let process = Process::spawn(&mut command);
        eventually("node listens", PATIENCE, || TcpStream::connect(port.address()).is_ok());
        Self { port, directory, _process: process }
    }

    /// In the clear, by prior knowledge.
    fn gateway(&self, listeners: &str) -> Gateway {
        let rule = format!(
            "[[rules]]\nname = \"r\"\nbackends = [{{ url = \"{}\", protocol = \"h2c\" }}]\n",
            self.url()
        );
        launch().config(&format!("[access_log]\nenabled = true\n{listeners}{rule}")).start()
    }

    fn url(&self) -> String {
        format!("http://{}", self.port.address())
    }
}

const ASKED: &str = "GET /chat?x=1 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

#[test]
fn clients_of_http_1_are_switched() {
    let node = Node::start("c", false);
    let gateway = node.gateway(STATUS_LISTENER);
    for round in 0..3 {
        let mut client = gateway.client();
        client.send(ASKED);
        let head = client.response_head("GET").unwrap();
        assert_eq!(head.status, 101, "{round}");
        assert_eq!((head.header("upgrade"), head.header("connection")), (Some("websocket"), Some("Upgrade")));
        assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(
            (head.header("sec-websocket-protocol"), head.header("x-asked")),
            (Some("chat"), Some("/chat?x=1"))
        );
        assert!(head.header("content-length").is_none() && head.header("transfer-encoding").is_none());
        let message: Vec<u8> = (0..3_000_000_u32).map(|byte| byte.to_le_bytes()[0] ^ round).collect();
        let (mut writer, sent) = (client.stream().try_clone().unwrap(), message.clone());
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &sent));
        assert!(client.read_exact(message.len()).unwrap() == message);
        writing.join().unwrap().unwrap();
        assert_eq!(backend_status(&gateway, "r", &node.url())["active_connections"], 1);
        client.finish();
        assert_eq!(client.read_to_close(), b"bye", "each side ends by itself");
    }
    assert_eq!(gateway.get("/page").text(), "page", "others share the connection");
    eventually("every place is given back", PATIENCE, || {
        backend_status(&gateway, "r", &node.url())["active_connections"] == 0
    });
}

#[test]
fn clients_of_http_2_are_switched_and_refused_as_the_backend_says() {
    let node = Node::start("c", false);
    let gateway = node.gateway("");
    let mut peer = Peer::connect(gateway.address());
    peer.headers(1, &CONNECT, false);
    let head = peer.until("an answer", |frame| frame.stream == 1 && frame.kind == HEADERS);
    assert!(head.status() == 200 && !head.ends_stream(), "{head:?}");
    peer.send(DATA, 0, 1, b"hello");
    assert_eq!(data(&mut peer, 1, 5), b"hello");
    peer.send(DATA, END_STREAM, 1, b"last");
    assert_eq!(data(&mut peer, 1, usize::MAX), b"lastbye");
    let mut refused = CONNECT;
    refused[4].1 = "/no";
    peer.headers(3, &refused, false);
    let head = peer.until("an answer", |frame| frame.stream == 3 && frame.kind == HEADERS);
    assert_ne!(head.status(), 200);
    assert_eq!(data(&mut peer, 3, usize::MAX), b"no");
    peer.headers(5, &CONNECT, false);
    peer.until("an answer", |frame| frame.stream == 5 && frame.kind == HEADERS);
    peer.send(DATA, 0, 5, b"break");
    let end = peer.until("the end", |frame| frame.stream == 5 && frame.kind == RST_STREAM);
    assert_eq!(end.reason(), CANCEL, "a side that breaks ends the other");
}

#[test]
fn clients_of_http_3_are_switched() {
    let node = Node::start("c", false);
    let gateway = node.gateway(crate::http3::LISTENER);
    crate::http3::run(
        &gateway,
        "
async def main():
    async with connected() as client:
        stream = client.extended('/chat')
        got = client.stream(stream)
        await client.until('an answer', lambda: got.heads)
        assert got.status == 200 and 'sec-websocket-accept' not in got.fields(), got.heads
        for text in [b'hello', b'x' * 300_000]:
            before = len(got.body)
            client.send(stream, text)
            await client.until('an echo', lambda: got.body[before:] == text or got.over)
        client.send(stream, b'', True)
        got = await client.answer(stream)
        assert got.ended and got.body.endswith(b'bye'), got.reset
run(main)
",
    );
}

#[test]
fn a_backend_that_does_not_take_it_is_named_and_goes_on_with_everything_else() {
    let node = Node::start("n", false);
    let gateway = node.gateway("");
    for _ in 0..20 {
        let mut client = gateway.client();
        client.send(ASKED);
        let response = client.response();
        let problem = response.json();
        assert_eq!((response.status, &problem["code"]), (502, &"upstream_reset".into()), "{problem}");
    }
    let line = gateway.log_line("it is logged", |line| line["status_code"] == 502);
    let reason = line["error"].as_str().unwrap_or_default();
    assert!(reason.contains("SETTINGS_ENABLE_CONNECT_PROTOCOL"), "{line}");
    assert_eq!(gateway.get("/page").text(), "page", "nothing is held against it");
    let other = gateway.fetch("GET", "/page", &[("Connection", "Upgrade"), ("Upgrade", "other/1")]);
    assert_eq!(other.text(), "page", "any other upgrade may be passed over");
}

#[test]
fn where_the_choice_is_left_it_is_http_2_if_that_takes_it_and_http_1_if_not() {
    for (kind, asked) in [("c", "/chat?x=1"), ("n", "h1")] {
        let node = Node::start(kind, true);
        let config = format!(
            "[upstreams.a]\nprotocol = \"auto\"\ntls = {{ ca = \"{}\" }}\nbackends = [\"https://{}\"]\n[[rules]]\nupstream = \"a\"\n",
            node.directory.path().join("ca.pem").display(),
            node.port.address()
        );
        let gateway = launch().config(&config).start();
        for round in 0..3 {
            let mut client = gateway.client();
            client.send(ASKED);
            let head = client.response_head("GET").unwrap();
            assert_eq!((head.status, head.header("x-asked")), (101, Some(asked)), "{kind} {round}");
            assert_eq!(head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
            client.send("hello");
            assert_eq!(client.read_exact(5).unwrap(), b"hello");
            client.finish();
            assert_eq!(client.read_to_close(), b"bye");
        }
    }
}

/// SETTINGS_INITIAL_WINDOW_SIZE and SETTINGS_ENABLE_CONNECT_PROTOCOL.
const WINDOW: u16 = 4;
const CONNECT_PROTOCOL: u16 = 8;

/// A backend by the frame, which takes one byte of a tunnel and agrees to it; and a client that has been switched.
fn narrow() -> (Peer, lb_testkit::Client, Gateway) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let config = format!(
        "{STATUS_LISTENER}[[rules]]\nname = \"r\"\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n"
    );
    let gateway = launch().config(&config).start();
    let mut client = gateway.client();
    client.send(ASKED);
    let (stream, _) = listener.accept().unwrap();
    let mut backend = Peer::accepted_with(stream, &[(WINDOW, 1), (CONNECT_PROTOCOL, 1)]).unwrap();
    backend.until("the request", |frame| frame.stream == 1 && frame.kind == HEADERS);
    backend.send(HEADERS, END_HEADERS, 1, &[0x88]);
    assert_eq!(client.response_head("GET").unwrap().status, 101);
    (backend, client, gateway)
}

#[test]
fn the_last_bytes_of_a_client_wait_for_a_backends_window() {
    for is_ended in [false, true] {
        let (mut backend, mut client, _gateway) = narrow();
        client.send("hello, world");
        if is_ended {
            client.finish();
        }
        assert_eq!(data(&mut backend, 1, 1), b"h");
        // Nobody says anything any more: it is the window alone that moves the rest.
        std::thread::sleep(std::time::Duration::from_millis(300));
        backend.send(WINDOW_UPDATE, 0, 1, &5_u32.to_be_bytes());
        assert_eq!(data(&mut backend, 1, 5), b"ello,");
        backend.send(WINDOW_UPDATE, 0, 1, &100_u32.to_be_bytes());
        let rest = if is_ended { usize::MAX } else { 6 };
        assert_eq!(data(&mut backend, 1, rest), b" world", "and the end, where there is one");
        backend.send(DATA, END_STREAM, 1, b"bye");
        client.finish();
        assert_eq!(client.read_to_close(), b"bye");
    }
}

#[test]
fn a_backend_that_has_said_all_and_breaks_off_is_noticed_at_once() {
    let (mut backend, mut client, gateway) = narrow();
    backend.send(DATA, END_STREAM, 1, b"bye");
    assert_eq!(client.read_exact(3).unwrap(), b"bye");
    let active =
        || gateway.get("/proxy-status").json()["upstreams"][0]["backends"][0]["active_connections"].clone();
    assert_eq!(active(), 1, "the client may go on");
    backend.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    eventually("it is let go", PATIENCE, || active() == 0);
}
