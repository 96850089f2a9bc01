//! `/info`: what runs, and since when.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::json;

use crate::pages::Scene;
use crate::response;
use crate::time::{hms, rfc3339};

pub(crate) fn info(scene: &Scene<'_>) -> Response<Bytes> {
    let uptime = scene.view.uptime;
    let body = json!({
        "service": "gatewayd",
        "version": scene.view.version,
        "timestamp": rfc3339(scene.time),
        "uptime": hms(uptime),
        "uptime_seconds": uptime.as_secs_f64(),
        "started": rfc3339(scene.time.checked_sub(uptime).unwrap_or(scene.time)),
    });
    response::json(StatusCode::OK, &body)
}
