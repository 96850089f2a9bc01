//! One client connection from accept to close: hyper parses, the exchange answers, and this task keeps time.

use std::future::Future;
use std::io::Write;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpStream;

use crate::client::Client;
use crate::exchange;
use crate::io::ClientIo;
use crate::reject::Reject;
use crate::watch::{Phase, Timer};

/// Serves a connection until either side is done with it. Dropping the future closes the connection and breaks
/// off what is in flight.
pub(crate) async fn connection(stream: TcpStream, client: Rc<Client>) {
    let limits = client.listener.config.limits;
    let service = service_fn(|request| exchange::serve(Rc::clone(&client), request));
    let io = ClientIo::new(stream, Rc::clone(&client));
    let mut connection = http1::Builder::new()
        .half_close(false)
        .writev(false)
        .max_header_size(limits.max_header_bytes)
        .max_headers(limits.max_headers)
        .serve_connection(io, service);

    let mut timer = Timer::new(&client.watch);
    let mut drain = pin!(client.worker.drain_started());
    let mut draining = false;
    let end = std::future::poll_fn(|cx| {
        loop {
            if !draining && drain.as_mut().poll(cx).is_ready() {
                draining = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            if let Poll::Ready(result) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(End::Closed(result));
            }
            if timer.poll(cx, &client.watch).is_pending() {
                return Poll::Pending;
            }
            match client.watch.phase() {
                Phase::Idle => return Poll::Ready(End::Idle),
                Phase::Head => return Poll::Ready(End::SlowHead),
                Phase::Relay => return Poll::Ready(End::Stalled),
                // The exchange learns of it at its next poll, and answers.
                Phase::Connect | Phase::Upload | Phase::Wait if !client.watch.is_expired() => {
                    client.watch.expire();
                }
                Phase::Connect | Phase::Upload | Phase::Wait => return Poll::Ready(End::Stalled),
            }
        }
    });
    match end.await {
        End::Closed(Ok(())) | End::Idle => {}
        End::Closed(Err(error)) => {
            tracing::debug!(peer = %client.peer, %error, "client connection ended");
        }
        End::SlowHead => {
            tracing::debug!(peer = %client.peer, "request head did not arrive within header_timeout");
            let id = client.worker.request_ids.next();
            refuse_raw(connection.into_parts().io.into_stream(), &Reject::RequestTimeout, &id);
        }
        End::Stalled => {
            tracing::debug!(peer = %client.peer, "body made no progress within idle_timeout");
        }
    }
}

/// How a connection came to its end.
enum End {
    Closed(hyper::Result<()>),
    /// No request within `keep_alive_timeout`.
    Idle,
    /// A head that was begun and not finished.
    SlowHead,
    /// A body that neither side moved on.
    Stalled,
}

/// Answers a connection whose head never became a request: once, without waiting, for what it is worth.
fn refuse_raw(stream: TcpStream, rejected: &Reject, request_id: &http::HeaderValue) {
    let response = rejected.response(request_id);
    let mut text = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"x-request-id: ");
    text.extend_from_slice(request_id.as_bytes());
    text.extend_from_slice(format!("\r\ncontent-length: {}\r\n\r\n", response.body().len()).as_bytes());
    text.extend_from_slice(response.body());
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&text);
    }
}
