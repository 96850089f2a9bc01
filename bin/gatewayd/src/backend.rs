//! Echo backends for trials and the demo: each tells what it was asked, and who it is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use lb_http::control::{self, ControlBody, ControlRequest};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::signals::Stop;
use crate::{Outcome, cli, exit, run};

/// The longest delay that `?delay=` may ask for.
const MAX_DELAY: Duration = Duration::from_secs(600);

/// `gatewayd backend`.
pub(crate) fn backend(args: &cli::Backend) -> Outcome {
    run::control_runtime()?.block_on(async {
        let mut stop = Stop::listen()?;
        let mut running = Vec::new();
        for address in &args.listen {
            let (address, task) = start(*address, None).await?;
            exit::say(&format!("echo backend on http://{address}"));
            running.push(task);
        }
        stop.next().await;
        Ok(())
    })
}

/// Starts one echo backend; without a name it goes by its address.
pub(crate) async fn start(
    address: SocketAddr,
    name: Option<String>,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let echo = Arc::new(Echo {
        name: name.unwrap_or_else(|| address.to_string()),
        health: AtomicU16::new(StatusCode::OK.as_u16()),
    });
    let task = tokio::spawn(control::serve(listener, None, move |request| {
        let echo = Arc::clone(&echo);
        async move { echo.answer(request).await }
    }));
    Ok((address, task))
}

struct Echo {
    name: String,
    health: AtomicU16,
}

impl Echo {
    async fn answer(&self, request: ControlRequest) -> Response<ControlBody> {
        let query = request.head.uri.query().unwrap_or_default();
        if request.head.uri.path() == "/health" {
            return self.health(&request.head.method, query);
        }
        match Steering::read(query) {
            Ok(steering) => {
                tokio::time::sleep(steering.delay).await;
                self.echo(&request, &steering)
            }
            Err(message) => {
                respond(StatusCode::BAD_REQUEST, &json!({ "backend": self.name, "error": message }))
            }
        }
    }

    /// `GET /health` tells the status, `PUT /health?status=503` sets it.
    fn health(&self, method: &Method, query: &str) -> Response<ControlBody> {
        if method == Method::PUT {
            match Steering::read(query) {
                Ok(Steering { status, .. }) => self.health.store(status.as_u16(), Ordering::Relaxed),
                Err(message) => return respond(StatusCode::BAD_REQUEST, &json!({ "error": message })),
            }
        }
        let status = StatusCode::from_u16(self.health.load(Ordering::Relaxed)).unwrap_or_default();
        let shown = if method == Method::PUT { StatusCode::OK } else { status };
        respond(shown, &json!({ "backend": self.name, "health": status.as_u16() }))
    }

    fn echo(&self, request: &ControlRequest, steering: &Steering) -> Response<ControlBody> {
        if let Some(bytes) = steering.bytes {
            let mut response = Response::new(ControlBody::Filler(bytes));
            *response.status_mut() = steering.status;
            return response;
        }
        let uri = &request.head.uri;
        let document = json!({
            "backend": self.name,
            "method": request.head.method.as_str(),
            "path": uri.path(),
            "query": uri.query(),
            "headers": headers(&request.head.headers),
            "body_bytes": request.body_bytes,
            "client": request.peer.to_string(),
        });
        respond(steering.status, &document)
    }
}

/// What the query asks of one answer.
struct Steering {
    delay: Duration,
    status: StatusCode,
    bytes: Option<u64>,
}

impl Steering {
    fn read(query: &str) -> Result<Self, String> {
        let mut steering = Self { delay: Duration::ZERO, status: StatusCode::OK, bytes: None };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let bad = |what: &str| format!("?{name}={value}: expected {what}");
            match name {
                "delay" => {
                    let delay =
                        humantime::parse_duration(value).map_err(|_| bad("a duration such as 50ms"))?;
                    steering.delay = delay.min(MAX_DELAY);
                }
                "status" => {
                    let status = value.parse().ok().filter(|status| (200..=599).contains(status));
                    steering.status = status
                        .and_then(|status| StatusCode::from_u16(status).ok())
                        .ok_or_else(|| bad("a status from 200 to 599"))?;
                }
                "bytes" => steering.bytes = Some(value.parse().map_err(|_| bad("a number of bytes"))?),
                _ => {}
            }
        }
        Ok(steering)
    }
}

/// A name's values as JSON: one as a string, more as a list.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let values = |name| headers.get_all(name).iter().map(text).collect::<Vec<_>>();
    headers
        .keys()
        .map(|name| {
            let mut values = values(name);
            let value = if values.len() == 1 { values.pop().map(Value::from) } else { Some(values.into()) };
            (name.as_str().to_owned(), value.unwrap_or_default())
        })
        .collect()
}

fn respond(status: StatusCode, document: &Value) -> Response<ControlBody> {
    let mut response = Response::new(ControlBody::Full(Bytes::from(format!("{document}\n"))));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_steers_one_answer() {
        let steering = Steering::read("delay=50ms&status=503&bytes=7&other=1").unwrap();
        assert_eq!(steering.delay, Duration::from_millis(50));
        assert_eq!(steering.status, 503);
        assert_eq!(steering.bytes, Some(7));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        for query in ["delay=soon", "status=99", "status=999", "bytes=-1"] {
            assert!(Steering::read(query).err().unwrap().contains("expected"), "{query}");
        }
    }
}
