//! The admin address: status pages, the dashboard and changes, on the control side.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use lb_config::AdminConfig;
use lb_http::LocalPages;
use lb_http::control::{self, ControlBody, ControlRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::api::Api;
use crate::exit::Failure;
use crate::status::Pages;

/// The admin address in force; dropping it closes it.
pub(crate) struct Admin {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// The admin address, bound and not answering yet: what else may fail at the start comes first.
pub(crate) struct Bound {
    address: SocketAddr,
    listener: TcpListener,
}

impl Bound {
    /// Binds the address.
    pub(crate) async fn bind(config: &AdminConfig) -> Result<Self, Failure> {
        let refused =
            |error| Failure::Refused(format!("admin: cannot listen on {}: {error}", config.address));
        let listener = TcpListener::bind(config.address).await.map_err(refused)?;
        Ok(Self { address: listener.local_addr().unwrap_or(config.address), listener })
    }

    /// Begins to answer.
    pub(crate) fn serve(self, pages: Arc<Pages>, api: Api) -> Admin {
        let task = tokio::spawn(control::serve(self.listener, move |request| {
            let response = answer(&pages, &api, &request);
            async move { response }
        }));
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

fn answer(pages: &Pages, api: &Api, request: &ControlRequest) -> Response<ControlBody> {
    if let Some(response) = api.respond(request) {
        return response.map(ControlBody::from);
    }
    let uri = &request.head.uri;
    let page = pages.respond(&request.head, uri.path(), uri.query());
    page.unwrap_or_else(not_found).map(ControlBody::from)
}

fn not_found() -> Response<Bytes> {
    let document = serde_json::json!({
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "the admin address has no such page; see /, /proxy-status, /metrics, /strategies, /health, /info",
        "code": "no_page",
    });
    let mut response = Response::new(Bytes::from(document.to_string()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let problem = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, problem);
    response
}
