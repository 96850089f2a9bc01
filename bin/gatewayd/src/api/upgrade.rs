//! `POST /api/upgrade`: another process in the place of this one.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use lb_http::control::ControlRequest;
use serde_json::json;

use super::{Api, answer, refused};
use crate::status;
use crate::upgrade::{PATIENCE, UpgradeError};

/// The longest that a new process is waited for.
const LONGEST: Duration = Duration::from_secs(3600);

impl Api {
    /// `POST /api/upgrade`, with `?timeout=30s` for the new process; answered once it serves, or why it does not.
    pub(crate) async fn upgrade(&self, request: &ControlRequest) -> Response<Bytes> {
        let action = "upgrade";
        let timeout = patience(request.head.uri.query().unwrap_or_default())
            .map_err(|detail| refused(StatusCode::BAD_REQUEST, "bad_request", detail));
        let allowed = self.must_post(request);
        let allowed = allowed.and_then(|()| self.authorise(request));
        let timeout = match allowed.and(timeout) {
            Ok(timeout) => timeout,
            Err(refused) => return refused.response(action, request.peer),
        };
        tracing::info!(component = "admin", action, peer = %request.peer, "upgrade asked for");
        let error = match self.upgrader.upgrade("the admin API", timeout).await {
            Ok(successor) => {
                let document = json!({
                    "result": "ok",
                    "pid": successor.pid,
                    "version": successor.version,
                    "old_pid": std::process::id(),
                    "old_version": status::VERSION,
                });
                return answer(StatusCode::OK, "application/json", &document);
            }
            Err(error) => error,
        };
        let status = match &error {
            UpgradeError::UnderWay | UpgradeError::Succeeded | UpgradeError::First => StatusCode::CONFLICT,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let exit_status = match &error {
            UpgradeError::Ended { status, .. } => status.code(),
            _ => None,
        };
        let document = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": format!("{error}"),
            "code": "not_upgraded",
            "exit_status": exit_status,
        });
        answer(status, "application/problem+json", &document)
    }
}

/// How long the new process may take.
fn patience(query: &str) -> Result<Duration, String> {
    let Some(timeout) = query.split('&').find_map(|part| part.strip_prefix("timeout=")) else {
        return Ok(PATIENCE);
    };
    let timeout = humantime::parse_duration(timeout)
        .map_err(|error| format!("?timeout={timeout}: {error}; such as 30s"))?;
    // Nothing else is changed meanwhile.
    match timeout <= LONGEST {
        true => Ok(timeout),
        false => Err("?timeout is at most an hour".to_owned()),
    }
}
