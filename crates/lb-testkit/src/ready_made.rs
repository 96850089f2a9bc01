//! Backends that many tests need: the echo, and those that misbehave in a usual way.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;

use crate::backend::{Backend, Conn};
use crate::gate::Gate;
use crate::message::Request;

impl Backend {
    /// Answers every request with 200 and JSON: its own name and the exact request
    /// (`backend, method, target, version, headers [[name, value], …], body, connection`).
    pub fn echo(name: &str) -> Self {
        Self::echo_at(name, (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// An [`echo`](Self::echo) on a given address.
    pub fn echo_at(name: &str, address: SocketAddr) -> Self {
        let name = name.to_owned();
        Self::scripted_at(address, move |conn| answer_all(conn, |request| echo(&name, request)))
    }

    /// An echo that takes this long before each answer.
    pub fn slow(name: &str, delay: Duration) -> Self {
        let name = name.to_owned();
        Self::scripted(move |conn| {
            answer_all(conn, |request| {
                std::thread::sleep(delay);
                echo(&name, request)
            });
        })
    }

    /// An echo that answers only those whom the gate admits.
    pub fn held(name: &str, gate: &Gate) -> Self {
        let (name, gate) = (name.to_owned(), gate.clone());
        Self::scripted(move |conn| {
            answer_all(conn, |request| {
                gate.wait();
                echo(&name, request)
            });
        })
    }

    /// Answers each request with exactly these bytes and keeps the connection.
    pub fn fixed(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |conn| answer_all(conn, |_| bytes.clone()))
    }

    /// Answers the first request of each connection with exactly these bytes and closes it.
    pub fn once(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |conn| {
            if conn.request().is_some() {
                conn.reply(&bytes);
            }
        })
    }

    /// An HTTP/1.1 answer whose body ends with the connection.
    pub fn close_delimited(body: &str) -> Self {
        Self::once(format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{body}"))
    }

    /// An HTTP/1.0 answer, as `python3 -m http.server` gives it.
    pub fn http10(body: &str) -> Self {
        let length = body.len();
        Self::once(format!("HTTP/1.0 200 OK\r\nServer: old\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// Resets the connection in the middle of the response's head.
    pub fn reset_mid_head() -> Self {
        Self::scripted(|conn| {
            if conn.request().is_some() {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Le").ok();
                // Long enough for the bytes to arrive before the reset discards them.
                std::thread::sleep(Duration::from_millis(20));
                conn.reset();
            }
        })
    }

    /// Accepts, reads, and never says a word.
    pub fn silent() -> Self {
        Self::scripted(|conn| {
            conn.request();
            conn.wait_for_close();
        })
    }

    /// Answers with what is not HTTP.
    pub fn garbage() -> Self {
        Self::once("\u{1}\u{2}SSH-2.0-what?\r\n\r\n\u{0}\u{0}\r\n\r\n")
    }

    /// Answers with header fields without end.
    pub fn endless_head() -> Self {
        Self::scripted(|conn| {
            conn.request();
            conn.try_send("HTTP/1.1 200 OK\r\n").ok();
            let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
            while conn.try_send(&line).is_ok() {}
        })
    }
}

fn answer_all(conn: &mut Conn, answer: impl Fn(&Request) -> Vec<u8>) {
    while let Some(request) = conn.request() {
        let answer = answer(&request);
        if !conn.reply(answer) {
            return;
        }
    }
}

fn echo(name: &str, request: &Request) -> Vec<u8> {
    let body = json!({
        "backend": name,
        "method": request.method,
        "target": request.target,
        "version": request.version,
        "headers": request.head.fields,
        "body": request.text(),
        "connection": request.connection,
    })
    .to_string();
    let shown = if request.method == "HEAD" { "" } else { &body };
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{shown}")
        .into_bytes()
}
