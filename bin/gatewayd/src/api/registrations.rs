//! `/api/upstreams/NAME/registrations`: backends that come and tell, for upstreams with `discover = { api = true }`.
//!
//! Each has an id of its own choice and is heard of again before its time is over; then it goes as it came: it finishes what it
//! has and gets nothing new.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use lb_discovery::{HeardOf, Member, Registrations};
use lb_http::control::ControlRequest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::MutexGuard;

use super::{Api, Lasts, PREFIX, Refused, answer, refused, succeeded};
use crate::effective::Effective;
use crate::registered::LONGEST_TTL;

/// What they are called in the log.
pub(super) const ACTION: &str = "registrations";
/// How long a registration holds that does not say.
const TTL: Duration = Duration::from_secs(30);
const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// Bytes of an id and of a URL.
const LONGEST_ID: usize = 128;
const LONGEST_URL: usize = 2048;

/// What a backend registers with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    url: String,
    weight: Option<f64>,
    #[serde(default)]
    backup: bool,
    /// `"30s"`, or seconds.
    ttl: Option<Lasts>,
}

/// Whether this path is one of these.
pub(crate) fn has(path: &str) -> bool {
    parts(path).is_some()
}

/// The upstream's name as it is written in the path, and the id.
fn parts(path: &str) -> Option<(&str, Option<&str>)> {
    let (upstream, rest) = path.strip_prefix(PREFIX)?.strip_prefix("upstreams/")?.split_once('/')?;
    match rest.strip_prefix("registrations")? {
        "" => Some((upstream, None)),
        id => Some((upstream, Some(id.strip_prefix('/')?))),
    }
}

impl Api {
    /// `GET` for all of an upstream; `PUT` and `DELETE` with an id.
    pub(crate) async fn registrations(&self, request: &ControlRequest) -> Response<Bytes> {
        match self.registered(request).await {
            Ok((status, document)) => answer(status, "application/json", &document),
            Err(refused) => refused.response(ACTION, request.peer),
        }
    }

    async fn registered(&self, request: &ControlRequest) -> Result<(StatusCode, Value), Refused> {
        self.authorise(request)?;
        let not_found = |code, detail: String| refused(StatusCode::NOT_FOUND, code, detail);
        let (upstream, id) = parts(request.head.uri.path())
            .ok_or_else(|| not_found("no_page", "the admin API has no such path".to_owned()))?;
        let upstream = percent_encoding::percent_decode_str(upstream).decode_utf8_lossy();
        let registrations = self.reloading.discovery().registrations(&upstream).ok_or_else(|| {
            let detail = format!(
                "nobody registers with an upstream `{upstream}`: it needs `discover = {{ api = true }}`"
            );
            not_found("no_registrations", detail)
        })?;
        match (&request.head.method, id) {
            (&Method::GET, None) => Ok((StatusCode::OK, list(&upstream, &registrations))),
            (&Method::PUT, Some(id)) => self.register(request, &upstream, id, &registrations).await,
            (&Method::DELETE, Some(id)) => {
                match self.serving().await.map(|_held| registrations.remove(id))? {
                    true => {
                        let (peer, subject) = (request.peer, request.subject.as_deref());
                        tracing::info!(component = "admin", action = "deregister", %upstream, id, subject, %peer, "backend deregistered");
                        Ok((StatusCode::OK, json!({ "upstream": upstream, "id": id })))
                    }
                    false => Err(not_found("not_registered", format!("`{id}` is not registered"))),
                }
            }
            _ => {
                let detail =
                    "registrations are listed by GET; with an id one is made by PUT and ended by DELETE";
                Err(refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail))
            }
        }
    }

    /// Holds what is in force, where it is this process that serves.
    async fn serving(&self) -> Result<MutexGuard<'_, Effective>, Refused> {
        let held = self.reloading.pause().await;
        if self.reloading.is_succeeded() {
            return Err(succeeded());
        }
        Ok(held)
    }

    async fn register(
        &self,
        request: &ControlRequest,
        upstream: &str,
        id: &str,
        registrations: &Arc<Registrations>,
    ) -> Result<(StatusCode, Value), Refused> {
        let bad = |detail: String| refused(StatusCode::BAD_REQUEST, "bad_request", detail);
        let is_id =
            !id.is_empty() && id.len() <= LONGEST_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_id || id.contains('/') {
            return Err(bad(format!("an id is visible ASCII without `/`, of at most {LONGEST_ID} bytes")));
        }
        let asked: Asked = serde_json::from_slice(&request.body).map_err(|error| {
            bad(format!("the body must be JSON such as {{\"url\": \"http://10.0.0.1:8080\", \"ttl\": \"30s\"}}: {error}"))
        })?;
        let ttl = asked.ttl.as_ref().map_or(Ok(TTL), |ttl| ttl.of("ttl")).map_err(bad)?;
        if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
            return Err(bad(format!("`ttl` is from {SHORTEST_TTL:?} to a day")));
        }
        let weight = asked.weight.unwrap_or(1.0);
        if !(weight.is_finite() && weight >= 0.0) {
            return Err(bad("`weight` is a number from 0".to_owned()));
        }
        if asked.url.len() > LONGEST_URL {
            return Err(bad(format!("`url` is longer than {LONGEST_URL} bytes")));
        }
        let member = Member { weight, backup: asked.backup, ..Member::at(asked.url) };
        // Held until it is registered: whatever is known is handed over, or refused.
        let effective = self.serving().await?;
        if let Some(reason) = effective.refuses(upstream, &member) {
            return Err(bad(format!("`url`: {reason}")));
        }
        let url = member.url.clone();
        let heard = registrations
            .register(id, member, ttl)
            .map_err(|full| refused(StatusCode::TOO_MANY_REQUESTS, "too_many", full.to_string()))?;
        drop(effective);
        let said = match heard {
            HeardOf::New => Some("backend registered"),
            HeardOf::Another => Some("registration changed"),
            HeardOf::Again => None,
        };
        if let Some(said) = said {
            let (peer, subject) = (request.peer, request.subject.as_deref());
            tracing::info!(component = "admin", action = "register", upstream, id, backend = url, weight, ?ttl, subject, %peer, "{said}");
        }
        let status = if heard == HeardOf::New { StatusCode::CREATED } else { StatusCode::OK };
        let document = json!({
            "upstream": upstream, "id": id, "url": url, "weight": weight, "ttl_seconds": ttl.as_secs_f64(),
        });
        Ok((status, document))
    }
}

fn list(upstream: &str, registrations: &Registrations) -> Value {
    let one = |it: lb_discovery::Registered| {
        json!({
            "id": it.id,
            "url": it.member.url,
            "weight": it.member.weight,
            "backup": it.member.backup,
            "remaining_seconds": it.remaining.as_secs_f64(),
        })
    };
    json!({ "upstream": upstream, "registrations": registrations.list().into_iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_upstream_and_perhaps_an_id() {
        assert_eq!(parts("/api/upstreams/app/registrations"), Some(("app", None)));
        assert_eq!(parts("/api/upstreams/app/registrations/a1"), Some(("app", Some("a1"))));
        for path in [
            "/api/upstreams/app",
            "/api/upstreams/app/registrationsx",
            "/api/reload",
            "/api/upstreams/registrations",
        ] {
            assert_eq!(parts(path), None, "{path}");
        }
    }
}
