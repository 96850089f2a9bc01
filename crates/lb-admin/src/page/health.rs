//! `/health`, which says that the process lives, and `/ready`, which says whether to send it traffic.

use std::time::SystemTime;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pages::ok_or_unavailable;
use crate::response;
use crate::time::rfc3339;
use crate::view::Tally;

/// Always 200: an orchestrator that restarted a gateway because its backends are down would make it worse.
pub(crate) fn health(tally: &Tally) -> Response<Bytes> {
    let status = if tally.draining { "draining" } else { "ok" };
    response::json(StatusCode::OK, &body(tally, status))
}

/// 503 while draining, and while there are backends but none can be given a request.
pub(crate) fn ready(tally: &Tally) -> Response<Bytes> {
    let status = match tally {
        Tally { draining: true, .. } => "draining",
        Tally { backends: 1.., eligible: 0, .. } => "no backend eligible",
        _ => "ready",
    };
    response::json(ok_or_unavailable(status == "ready"), &body(tally, status))
}

fn body(tally: &Tally, status: &str) -> Value {
    json!({
        "status": status,
        "timestamp": rfc3339(SystemTime::now()),
        "version": tally.version,
        "uptime_seconds": tally.uptime.as_secs(),
        "rules": tally.rules,
        "upstreams": tally.upstreams,
        "backends": tally.backends,
        "healthy_backends": tally.healthy,
    })
}
