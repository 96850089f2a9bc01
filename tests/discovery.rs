//! Backends that are discovered: they appear, get traffic and go without a failed request; what cannot be asked for, or is
//! answered with nonsense, leaves the last good ones and is said.

mod dns;
mod dns_server;
mod docker;
mod engine;
mod etcd;
mod file;
mod registered;

use std::collections::BTreeSet;

use std::net::SocketAddr;

use lb_testkit::{Backend, Client, Gateway, PATIENCE, Response, eventually, fetch};
use serde_json::Value;

use crate::support::{STATUS_LISTENER, launch};

/// A gateway whose upstream `app` has this `discover` table, with status endpoints and an admin address; both rules and plan
/// are as small as they can be.
#[track_caller]
fn discovering(discover: &str, more: &str) -> Gateway {
    launch().config(&config(discover, more)).start()
}

fn config(discover: &str, more: &str) -> String {
    format!(
        "{STATUS_LISTENER}[admin]\naddress = \"{{admin}}\"\n[upstreams.app]\ndiscover = {{ {discover} }}\n{more}\n[[rules]]\nname = \"r\"\nupstream = \"app\"\n"
    )
}

/// A request with a body on a connection of its own.
fn ask(address: SocketAddr, method: &str, path: &str, fields: &str, body: &str) -> Response {
    let mut client = Client::connect(address);
    let length = body.len();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ));
    client.response()
}

/// What `/proxy-status` says of the one source.
fn source(gateway: &Gateway) -> Value {
    gateway.get("/proxy-status").json()["discovery"][0].clone()
}

/// The URLs of the upstream's backends at present.
fn present(gateway: &Gateway) -> BTreeSet<String> {
    let status = gateway.get("/proxy-status").json();
    let backends = status["upstreams"][0]["backends"].as_array().cloned().unwrap_or_default();
    backends.iter().filter_map(|backend| backend["url"].as_str().map(str::to_owned)).collect()
}

#[track_caller]
fn eventually_present(gateway: &Gateway, urls: &[String]) {
    let wanted: BTreeSet<String> = urls.iter().cloned().collect();
    eventually(&format!("the backends are {wanted:?}"), PATIENCE, || present(gateway) == wanted);
}

/// Both get requests.
#[track_caller]
fn eventually_serves(gateway: &Gateway, backends: &[&Backend]) {
    let before: Vec<usize> = backends.iter().map(|backend| backend.hits()).collect();
    eventually("each gets requests", PATIENCE, || {
        assert_eq!(gateway.get("/serves").status, 200);
        backends.iter().zip(&before).all(|(backend, before)| backend.hits() > *before)
    });
}

/// One figure of a source in `/metrics`.
fn figure(gateway: &Gateway, row: &str) -> Option<f64> {
    let metrics = fetch(gateway.address_of("admin"), "GET", "/metrics", &[]).text();
    let row = format!("{row} ");
    metrics.lines().find_map(|line| line.strip_prefix(&row)).and_then(|value| value.parse().ok())
}
