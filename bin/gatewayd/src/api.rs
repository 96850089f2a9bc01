//! What operators change through the admin address: which backends get new requests, and how many; what is logged.
//!
//! Every change is one line in the log, with who made it. Without a token changes are taken from this machine alone,
//! and then only under a name of this machine's, so that no web page can reach the address through a visitor's browser. For the same
//! reason an address that is this machine's alone tells nothing under a foreign name: a page whose name is made to lead here (DNS
//! rebinding) could read the answers.

pub(crate) mod edits;
mod log_level;
pub(crate) mod registrations;
pub(crate) mod routes;
mod upgrade;
mod why;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use lb_config::Secret;
use lb_http::config::ListenerTls;
use lb_http::control::ControlRequest;
use lb_observe::DecisionLog;
use serde::Deserialize;
use serde_json::json;

use self::routes::{Found, OPENAPI};
use crate::exit::Failure;
use crate::explain::{self, Asked};
use crate::reload::{Cause, NO_FILE, Reloading, SUCCEEDED};
use crate::status::LiveStatus;
use crate::upgrade::Upgrader;

/// The paths below which changes are made.
pub(crate) const PREFIX: &str = "/api/";
/// Where the log's level is asked for and changed.
const LOG_LEVEL: &str = "log-level";
/// What is told to whoever asks, under any name: what monitoring reads.
const FOR_MONITORING: [&str; 3] = ["/health", "/ready", "/metrics"];

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// They are not asked for one.
    Unasked,
    /// One that is believed is as good as the token.
    Welcome,
    /// Nobody is answered without one.
    Required,
}

impl Clients {
    fn of(tls: Option<&ListenerTls>) -> Self {
        match tls.and_then(|tls| tls.options.client_auth.as_ref()) {
            None => Self::Unasked,
            Some(auth) if auth.is_required => Self::Required,
            Some(_) => Self::Welcome,
        }
    }
}

/// The writing side of the admin address.
pub(crate) struct Api {
    /// Where it is reached.
    address: SocketAddr,
    scheme: &'static str,
    clients: Clients,
    live: Arc<LiveStatus>,
    token: Token,
    decisions: Arc<DecisionLog>,
    reloading: Arc<Reloading>,
    upgrader: Arc<Upgrader>,
}

/// The admin token in force, if one is asked for.
#[derive(Clone)]
pub(crate) struct Token(Arc<Mutex<Option<Secret>>>);

impl Token {
    pub(crate) fn new(token: Option<Secret>) -> Self {
        Self(Arc::new(Mutex::new(token)))
    }

    /// Another one is in force.
    pub(crate) fn set(&self, token: Option<Secret>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    fn secret(&self) -> Option<Secret> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A span of time in JSON: `"10m"`, or seconds.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Lasts {
    Seconds(u64),
    Text(String),
}

impl Lasts {
    /// The span, or what is wrong with what is written at this key.
    fn of(&self, key: &str) -> Result<Duration, String> {
        match self {
            Self::Seconds(seconds) => Ok(Duration::from_secs(*seconds)),
            Self::Text(text) => humantime::parse_duration(text)
                .map_err(|error| format!("`{key}` must be a duration such as \"10m\": {error}")),
        }
    }
}

/// Why a change is not made.
struct Refused {
    status: StatusCode,
    code: &'static str,
    detail: String,
    /// What is in force, where whoever asked has seen another one.
    version: Option<u64>,
    allow: Option<HeaderValue>,
}

impl Api {
    pub(crate) fn new(
        address: SocketAddr,
        tls: Option<&ListenerTls>,
        live: Arc<LiveStatus>,
        token: Token,
        decisions: Arc<DecisionLog>,
        reloading: Arc<Reloading>,
        upgrader: Arc<Upgrader>,
    ) -> Self {
        let (scheme, clients) = (if tls.is_some() { "https" } else { "http" }, Clients::of(tls));
        Self { address, scheme, clients, live, token, decisions, reloading, upgrader }
    }

    /// `POST /api/reload`, and `?dry_run` for the plan alone: what changes, or what is wrong with the file.
    pub(crate) async fn reload(&self, request: &ControlRequest) -> Response<Bytes> {
        let action = "reload";
        let allowed = self.must_post(request).and_then(|()| {
            self.authorise(request)?;
            let has_file = self.reloading.source().is_some();
            has_file.then_some(()).ok_or_else(|| refused(StatusCode::CONFLICT, "no_file", NO_FILE))
        });
        if let Err(refused) = allowed {
            return refused.response(action, request.peer);
        }
        let query = request.head.uri.query().unwrap_or_default();
        let dry_run = query.split('&').any(|part| matches!(part, "dry_run" | "dry_run=true" | "dry_run=1"));
        tracing::info!(component = "admin", action, dry_run, subject = request.subject.as_deref(), peer = %request.peer, "reload asked for");
        let result = match dry_run {
            true => self.reloading.plan().await,
            false => self.reloading.reload(Cause::Command).await,
        };
        match result {
            Ok(done) => answer(StatusCode::OK, "application/json", &done.json(dry_run)),
            Err(failure) => rejected(&failure, dry_run),
        }
    }

    /// What is said to whoever reaches an address of this machine's alone under a name that is not its own.
    pub(crate) fn misled(&self, request: &ControlRequest) -> Option<Response<Bytes>> {
        let path = request.head.uri.path();
        let is_guarded = self.has_token() || self.clients == Clients::Required;
        let is_private = self.address.ip().to_canonical().is_loopback() && !is_guarded;
        if !is_private || FOR_MONITORING.contains(&path) {
            return None;
        }
        let host = request.head.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        let host = String::from_utf8_lossy(host);
        if named(&host) != Named::Foreign {
            return None;
        }
        tracing::warn!(component = "admin", path, %host, peer = %request.peer, "asked under a foreign name: refused");
        let detail = format!(
            "without `admin.token` this address answers to localhost and to IP addresses alone, and the Host is {host:?}: ask \
             {}://{}{path}; have a proxy before it send that as the Host; or set `admin.token`",
            self.scheme, self.address
        );
        Some(refused(StatusCode::FORBIDDEN, "forbidden", detail).document())
    }

    /// What is wrong with a path or method that the API does not have.
    pub(crate) fn stray(&self, request: &ControlRequest) -> Option<Response<Bytes>> {
        let path = request.head.uri.path();
        let action = path.strip_prefix(PREFIX)?;
        let refused = match routes::find(&request.head.method, path) {
            Found::Route => return None,
            Found::Nothing => refused(
                StatusCode::NOT_FOUND,
                "no_page",
                "the admin API has no such path; see /api/openapi.json",
            ),
            Found::Allows(methods) => Refused {
                allow: HeaderValue::try_from(&methods).ok(),
                ..refused(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    format!("this path takes {methods}"),
                )
            },
        };
        Some(refused.response(action, request.peer))
    }

    /// What is said to whoever sends more than any question or change has.
    pub(crate) fn oversized(&self, request: &ControlRequest) -> Option<Response<Bytes>> {
        let action = request.head.uri.path().strip_prefix(PREFIX)?;
        let read = request.body.len();
        let detail = format!("the body has {} bytes, and no more than {read} are read", request.body_bytes);
        let is_whole = request.body_bytes == read as u64;
        (!is_whole).then(|| {
            refused(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail).response(action, request.peer)
        })
    }

    /// What is said to whoever would change something once another process serves in place of this one.
    pub(crate) fn late(&self, request: &ControlRequest) -> Option<Response<Bytes>> {
        let action = request.head.uri.path().strip_prefix(PREFIX)?;
        let is_question = matches!(request.head.method, Method::GET | Method::HEAD) || action == "explain";
        (!is_question && self.is_succeeded()).then(|| succeeded().response(action, request.peer))
    }

    /// Whether another process serves in place of this one.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.reloading.is_succeeded()
    }

    /// The answer, where the path is one of these.
    pub(crate) fn respond(&self, request: &ControlRequest) -> Option<Response<Bytes>> {
        let action = request.head.uri.path().strip_prefix(PREFIX)?;
        if action == "openapi.json" {
            return Some(document(OPENAPI.into()));
        }
        let outcome = match action {
            LOG_LEVEL => self.log_level(request),
            "explain" => self.explain(request),
            _ => match action.strip_prefix("why/") {
                Some(id) => self.why(id, request),
                None => Err(refused(StatusCode::NOT_FOUND, "no_page", "the admin API has no such path")),
            },
        };
        Some(match outcome {
            Ok(document) => answer(StatusCode::OK, "application/json", &document),
            Err(refused) => refused.response(action, request.peer),
        })
    }

    /// `GET /api/explain?method=…&url=…`, or POST with the same as JSON. It tells of rules what `/proxy-status` does not, so
    /// it asks for what changes ask for.
    fn explain(&self, request: &ControlRequest) -> Result<serde_json::Value, Refused> {
        self.authorise(request)?;
        let bad = |detail: String| refused(StatusCode::BAD_REQUEST, "bad_request", detail);
        let asked = match request.head.method {
            Method::GET => Asked::of_query(request.head.uri.query().unwrap_or_default()).map_err(bad)?,
            Method::POST => serde_json::from_slice(&request.body).map_err(|error| {
                bad(format!(
                    "the body must be JSON such as {{\"method\": \"GET\", \"url\": \"/path\"}}: {error}"
                ))
            })?,
            _ => return Err(refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET or POST")),
        };
        let question = asked.question(request.peer.ip()).map_err(bad)?;
        let unknown = || refused(StatusCode::SERVICE_UNAVAILABLE, "starting", "the gateway is starting");
        let explained = self.live.explain(&question).ok_or_else(unknown)?;
        let mut document = json!(explained);
        if let Some(document) = document.as_object_mut() {
            document.insert("text".to_owned(), json!(explain::text(&explained)));
        }
        Ok(document)
    }

    fn must_post(&self, request: &ControlRequest) -> Result<(), Refused> {
        let detail = "changes are made by POST";
        match request.head.method == Method::POST {
            true => Ok(()),
            false => Err(refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)),
        }
    }

    /// Whether changes need a token.
    fn has_token(&self) -> bool {
        self.token.secret().is_some()
    }

    /// Whether whoever asks may make changes: by the token, or by a client certificate where those are asked for.
    fn authorise(&self, request: &ControlRequest) -> Result<(), Refused> {
        let headers = &request.head.headers;
        let field = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let forbidden = |detail: &str| Err(refused(StatusCode::FORBIDDEN, "forbidden", detail));
        let unauthorized = |detail: &str| Err(refused(StatusCode::UNAUTHORIZED, "unauthorized", detail));
        let host = field(header::HOST).unwrap_or_default();
        let is_foreign = field(header::ORIGIN)
            .is_some_and(|origin| origin.split_once("://").is_none_or(|(_, from)| from != host));
        let token = self.token.secret();
        // Where everyone has a certificate, the token is a second key; else either is enough.
        let is_shown = request.subject.is_some() && (token.is_none() || self.clients == Clients::Welcome);
        if is_shown {
            // A browser shows its certificate whichever page asks.
            return if is_foreign { forbidden("another site's page cannot make changes") } else { Ok(()) };
        }
        let Some(token) = token else {
            if self.clients != Clients::Unasked {
                return unauthorized(
                    "changes need a client certificate that `admin.tls.client_auth` believes",
                );
            }
            if !request.peer.ip().to_canonical().is_loopback() {
                return forbidden("without `admin.token` changes are taken from this machine alone");
            }
            if named(host) != Named::ThisMachine {
                return forbidden("without `admin.token` the Host must be localhost or a loopback address");
            }
            if is_foreign {
                return forbidden("another site's page cannot make changes");
            }
            return Ok(());
        };
        let given = field(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        match given.is_some_and(|given| are_equal(given.trim().as_bytes(), token.expose().trim().as_bytes()))
        {
            true => Ok(()),
            false => unauthorized("changes need `Authorization: Bearer` with the admin token"),
        }
    }
}

impl Refused {
    fn response(&self, action: &str, peer: SocketAddr) -> Response<Bytes> {
        // A question that has no answer is nothing to warn of.
        if self.code != "unknown_request" {
            tracing::warn!(component = "admin", action, %peer, code = self.code, "change refused");
        }
        self.document()
    }

    fn document(&self) -> Response<Bytes> {
        let document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        let mut document = document;
        if let (Some(version), Some(document)) = (self.version, document.as_object_mut()) {
            document.insert("version".to_owned(), json!(version));
        }
        let mut response = answer(self.status, "application/problem+json", &document);
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                if let Some(allow) = &self.allow {
                    response.headers_mut().insert(header::ALLOW, allow.clone());
                }
            }
            StatusCode::UNAUTHORIZED => {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}

/// A configuration that is refused: for programs each diagnostic, for people the text that `check` prints.
fn rejected(failure: &Failure, dry_run: bool) -> Response<Bytes> {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let diagnostics: &[_] = match failure {
        Failure::Config(diagnostics) => diagnostics.as_slice(),
        _ => &[],
    };
    let document = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": failure.first_line(),
        "code": "rejected",
        "result": "rejected",
        "dry_run": dry_run,
        "diagnostics": diagnostics,
        "rendered": failure.text(false),
    });
    answer(status, "application/problem+json", &document)
}

fn refused(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Refused {
    Refused { status, code, detail: detail.into(), version: None, allow: None }
}

fn succeeded() -> Refused {
    refused(StatusCode::CONFLICT, "succeeded", SUCCEEDED)
}

fn answer(status: StatusCode, kind: &'static str, content: &serde_json::Value) -> Response<Bytes> {
    let mut response = document(content.to_string().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn document(content: Bytes) -> Response<Bytes> {
    let mut response = Response::new(content);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whom a Host names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// This machine to itself: `localhost`, a name below it, or a loopback address.
    ThisMachine,
    /// Another address, which is nobody's to lead elsewhere.
    Address,
    /// A name: one that leads here is another site's.
    Foreign,
}

/// Whom this Host names.
fn named(host: &str) -> Named {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return if address.to_canonical().is_loopback() { Named::ThisMachine } else { Named::Address };
    }
    let last = bare.rsplit('.').next().unwrap_or_default();
    if last.eq_ignore_ascii_case("localhost") { Named::ThisMachine } else { Named::Foreign }
}

/// Takes as long whether or not they are, once their lengths are the same.
fn are_equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_few_names() {
        for host in [
            "localhost",
            "LOCALHOST:8081",
            "gatewayd.localhost:8081",
            "127.0.0.1:8081",
            "127.9.9.9",
            "[::1]:8081",
            "[::1]",
            "[::ffff:127.0.0.1]:8081",
        ] {
            assert_eq!(named(host), Named::ThisMachine, "{host}");
        }
        for host in ["10.0.0.1:8081", "10.0.0.1", "[2001:db8::1]:8081"] {
            assert_eq!(named(host), Named::Address, "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evillocalhost",
            "localhost.evil.example:8081",
            "127.0.0.1.evil.example",
            "2130706433",
            "localhost:8081.evil.example",
        ] {
            assert_eq!(named(host), Named::Foreign, "{host}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        assert!(are_equal(b"secret", b"secret"));
        assert!(!are_equal(b"secret", b"secreT") && !are_equal(b"secre", b"secret"));
    }
}
