//! `/health`, which says that the process lives, and `/ready`, which says whether to send it traffic.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pages::{Scene, ok_or_unavailable};
use crate::response;
use crate::time::rfc3339;
use crate::view::BackendView;

/// Always 200: an orchestrator that restarted a gateway because its backends are down would make it worse.
pub(crate) fn health(scene: &Scene<'_>) -> Response<Bytes> {
    let status = if scene.view.draining { "draining" } else { "ok" };
    response::json(StatusCode::OK, &body(scene, status))
}

/// 503 while draining, and while there are backends but none can be given a request.
pub(crate) fn ready(scene: &Scene<'_>) -> Response<Bytes> {
    let eligible = scene.view.backends().any(BackendView::is_eligible);
    let status = match () {
        () if scene.view.draining => "draining",
        () if !eligible && scene.view.backends().next().is_some() => "no backend eligible",
        () => "ready",
    };
    response::json(ok_or_unavailable(status == "ready"), &body(scene, status))
}

fn body(scene: &Scene<'_>, status: &str) -> Value {
    let view = scene.view;
    json!({
        "status": status,
        "timestamp": rfc3339(scene.time),
        "version": view.version,
        "uptime_seconds": view.uptime.as_secs(),
        "rules": view.rules.len(),
        "upstreams": view.upstreams.len(),
        "backends": view.backends().count(),
        "healthy_backends": view.backends().filter(|backend| backend.healthy).count(),
    })
}
