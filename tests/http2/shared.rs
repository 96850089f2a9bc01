//! Clients that share a connection to a backend of HTTP/2.

use super::backends::Origin;
use super::frames::{HEADERS, Peer};
use crate::support::launch;

const LARGE: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/large")];

#[test]
fn clients_that_take_nothing_hold_up_nobody_else() {
    let origin = Origin::start();
    let url = format!("http://{}", origin.address());
    let config = format!(
        "[server]\nworkers = 1\n[[rules]]\nbackends = [{{ url = \"{url}\", protocol = \"h2c\" }}]\n"
    );
    let gateway = launch().config(&config).start();
    // SETTINGS_INITIAL_WINDOW_SIZE: bodies have no room at all.
    let mut stalled = Peer::with_settings(gateway.address(), &[(4, 0)]);
    for stream in (1..32).step_by(2) {
        stalled.headers(stream, &LARGE, true);
        stalled.until("a head", |frame| frame.stream == stream && frame.kind == HEADERS);
    }
    assert!(gateway.get("/large").text() == origin.body);
}
