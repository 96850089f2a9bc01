//! Backends that switch to WebSocket: one that agrees to anything and looks at no frame, and one of a real library.

use std::process::Command;

use lb_testkit::{Conn, PATIENCE, Port, Process, eventually};

use super::python;

/// Consent to the key of RFC 6455 §1.3.
pub(crate) const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

/// Agrees to switch, then sends every byte back until the peer has said all, and says goodbye.
pub(crate) fn echo(conn: &mut Conn) {
    let Some(request) = conn.request() else { return };
    if request.header("upgrade").is_none() {
        conn.reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        return;
    }
    conn.reply(AGREED);
    while let Ok(bytes) = conn.read_some(64 << 10)
        && !bytes.is_empty()
        && conn.try_send(&bytes).is_ok()
    {}
    conn.try_send("bye").ok();
}

const SERVER: &str = "
import sys
from websockets.sync.server import serve
def echo(ws):
    for message in ws:
        ws.close(4001, 'as asked') if message == 'close' else ws.send(message)
with serve(echo, '127.0.0.1', int(sys.argv[1]), max_size=1 << 24, subprotocols=['chat']) as server:
    server.serve_forever()
";

/// A server of the `websockets` library, by HTTP/1.1: it sends every message back, and closes with 4001 when it is told to.
pub(crate) struct Library {
    port: Port,
    _process: Process,
}

impl Library {
    #[track_caller]
    pub(crate) fn start() -> Self {
        let port = Port::free();
        let mut command = Command::new(python("websockets==15.0.1"));
        let process = Process::spawn(command.args(["-c", SERVER, &port.address().port().to_string()]));
        eventually("it listens", PATIENCE, || std::net::TcpStream::connect(port.address()).is_ok());
        Self { port, _process: process }
    }

    /// Its address.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.port.address()
    }
}
