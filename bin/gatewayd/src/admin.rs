//! The admin address: status pages, the dashboard and changes, on the control side.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use lb_admin::live::{Board, MAX_VIEWERS};
use lb_config::AdminConfig;
use lb_http::LocalPages;
use lb_http::control::{self, ControlBody, ControlRequest, Secured};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::{Api, PREFIX, edits, registrations};
use crate::exit::Failure;
use crate::inherit::Given;
use crate::status::Pages;

/// How often those who watch are told how things stand.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// The admin address in force; dropping it closes it.
pub(crate) struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// The admin address, bound and not answering yet: what else may fail at the start comes first.
pub(crate) struct Bound {
    address: SocketAddr,
    listener: TcpListener,
    tls: Option<Secured>,
}

impl Bound {
    /// Binds the address, or takes a socket up that has been bound for it.
    pub(crate) async fn bind(config: &AdminConfig, given: &mut Given) -> Result<Self, Failure> {
        let refused =
            |error| Failure::Refused(format!("admin: cannot listen on {}: {error}", config.address));
        let listener = match given.take_admin(config.address).map_err(refused)? {
            Some(socket) => TcpListener::from_std(socket),
            None => TcpListener::bind(config.address).await,
        };
        let listener = listener.map_err(refused)?;
        let tls = config.tls.as_ref().map(Secured::new).transpose();
        let tls = tls.map_err(|error| Failure::Refused(format!("admin: {error}")))?;
        Ok(Self { address: listener.local_addr().unwrap_or(config.address), listener, tls })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A duplicate of the socket, for the process that takes over.
    pub(crate) fn duplicate(&self) -> Result<(SocketAddr, std::net::TcpListener), Failure> {
        let duplicate = self.listener.as_fd().try_clone_to_owned().context("no descriptor is left")?;
        Ok((self.address, duplicate.into()))
    }

    /// Begins to answer.
    pub(crate) fn serve(self, pages: Arc<Pages>, api: Api, board: Arc<Board>) -> Admin {
        let api = Arc::new(api);
        let files = self.tls.clone();
        let serving = control::serve(self.listener, self.tls, move |mut request| {
            if request.head.method == Method::HEAD && request.head.uri.path().starts_with(PREFIX) {
                // The server sends the head alone.
                request.head.method = Method::GET;
            }
            let (pages, api, board) = (Arc::clone(&pages), Arc::clone(&api), Arc::clone(&board));
            async move {
                let mut response = answered(&pages, &api, &board, &request).await;
                if api.is_succeeded() {
                    // The next question is the other process'.
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        });
        let task = tokio::spawn(async move {
            let files = async {
                match files {
                    Some(files) => files.follow_files("admin").await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(serving, files);
        });
        Admin { address: self.address, task }
    }
}

impl Admin {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answered(
    pages: &Pages,
    api: &Api,
    board: &Arc<Board>,
    request: &ControlRequest,
) -> Response<ControlBody> {
    let refused = api.misled(request).or_else(|| api.stray(request)).or_else(|| api.late(request));
    if let Some(refused) = refused.or_else(|| api.oversized(request)) {
        return refused.map(ControlBody::from);
    }
    match request.head.uri.path() {
        "/api/reload" => api.reload(request).await.map(ControlBody::from),
        path if edits::has(path) => api.edit(request).await.map(ControlBody::from),
        "/api/upgrade" => api.upgrade(request).await.map(ControlBody::from),
        path if registrations::has(path) => api.registrations(request).await.map(ControlBody::from),
        _ => answer(pages, api, board, request),
    }
}

fn answer(pages: &Pages, api: &Api, board: &Arc<Board>, request: &ControlRequest) -> Response<ControlBody> {
    let uri = &request.head.uri;
    if uri.path() == "/api/live" && request.head.method == Method::GET {
        return live(board, uri.query().unwrap_or_default());
    }
    if let Some(response) = api.respond(request) {
        return response.map(ControlBody::from);
    }
    let accept = request.head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let page = pages.respond(&request.head.method, uri.path(), uri.query(), accept);
    page.unwrap_or_else(not_found).map(ControlBody::from)
}

/// How things stand, each second, as server-sent events.
fn live(board: &Arc<Board>, query: &str) -> Response<ControlBody> {
    let Some(mut viewer) = board.view(query) else {
        let detail = format!("{MAX_VIEWERS} dashboards and terminals watch already; close one");
        return problem(StatusCode::SERVICE_UNAVAILABLE, "too_many_viewers", &detail).map(ControlBody::from);
    };
    let events = ControlBody::periodic(LIVE_INTERVAL, move || Some(viewer.event(Instant::now())));
    let mut response = Response::new(events);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn not_found() -> Response<Bytes> {
    let pages = "/, /proxy-status, /metrics, /strategies, /health, /info, /api/live";
    problem(StatusCode::NOT_FOUND, "no_page", &format!("the admin address has no such page; see {pages}"))
}

fn problem(status: StatusCode, code: &str, detail: &str) -> Response<Bytes> {
    let document = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code,
    });
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = status;
    let problem = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, problem);
    response
}
