//! A backend that answers without end: interim answers at `/bad/1xx`, fields at `/bad/head`, trailers at `/bad/trailers`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;

/// Listens for as long as the process lives.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let length = stream.read(&mut request)?;
    let text = String::from_utf8_lossy(request.get(..length).unwrap_or_default()).into_owned();
    let (begin, more) = match text.split(' ').nth(1) {
        Some("/bad/1xx") => ("", "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"),
        Some("/bad/head") => ("HTTP/1.1 200 OK\r\n", "X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
        _ => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X-Filler: xxxxxxxxxxxxxxx\r\n"),
    };
    stream.write_all(begin.as_bytes())?;
    let more = more.repeat(200);
    loop {
        stream.write_all(more.as_bytes())?;
    }
}
