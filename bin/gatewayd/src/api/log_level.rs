//! `/api/log-level`: which lines are written, asked for and changed while the gateway runs.

use std::time::Duration;

use http::{Method, StatusCode};
use lb_http::control::ControlRequest;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Lasts, Refused, refused};
use crate::logging::{self, Directives, InForce};

/// The longest that a passing level lasts.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// `info,lb_http=debug`
    level: String,
    /// Until it is as before: `"10m"`, or seconds.
    #[serde(rename = "for")]
    lasts: Option<Lasts>,
}

impl Api {
    pub(super) fn log_level(&self, request: &ControlRequest) -> Result<Value, Refused> {
        let gone = || refused(StatusCode::SERVICE_UNAVAILABLE, "no_log", "there is no log to change");
        let level = logging::level().ok_or_else(gone)?;
        match request.head.method {
            Method::GET => return Ok(document(&level.in_force())),
            Method::POST => {}
            _ => {
                let detail = "the level is asked for by GET and changed by POST";
                return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail));
            }
        }
        self.authorise(request)?;
        let bad = |detail: String| refused(StatusCode::BAD_REQUEST, "bad_request", detail);
        let asked: Asked = serde_json::from_slice(&request.body).map_err(|error| {
            bad(format!("the body must be JSON such as {{\"level\": \"info,lb_http=debug\"}}: {error}"))
        })?;
        let wanted: Directives = asked.level.parse().map_err(|error| bad(format!("`level`: {error}")))?;
        let lasts = asked.lasts.as_ref().map(duration).transpose().map_err(bad)?;
        // Said at the more talkative of the two levels.
        let before = level.in_force().level;
        let say = || {
            tracing::info!(
                component = "admin", action = "log-level", directives = %wanted, %before, lasts = ?lasts,
                peer = %request.peer, "log level changed"
            );
        };
        let is_heard = tracing::enabled!(tracing::Level::INFO);
        if is_heard {
            say();
        }
        level.change(wanted.clone(), lasts);
        if !is_heard {
            say();
        }
        Ok(document(&level.in_force()))
    }
}

fn document(in_force: &InForce) -> Value {
    let until =
        in_force.until.as_ref().map(|(until, _)| humantime::format_rfc3339_seconds(*until).to_string());
    let then = in_force.until.as_ref().map(|(_, then)| then.to_string());
    json!({ "level": in_force.level.to_string(), "until": until, "then": then })
}

fn duration(lasts: &Lasts) -> Result<Duration, String> {
    let lasts = lasts.of("for")?;
    match lasts > Duration::ZERO && lasts <= LONGEST {
        true => Ok(lasts),
        false => Err("`for` must be more than nothing and at most 7 days; leave it out for good".to_owned()),
    }
}
