//! Traces as configured, and the requests that carry them to the collector.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use lb_config::TracingConfig;
use lb_trace::{Answer, Traces, TracesConfig};

use crate::client::Callee;
use crate::status;

/// How long the collector may take for one request.
const DEADLINE: Duration = Duration::from_secs(5);

/// Starts to send traces, where they are wanted.
pub(crate) fn start(config: Option<TracingConfig>) -> anyhow::Result<Option<Arc<Traces>>> {
    let Some(TracingConfig { endpoint, service_name }) = config else { return Ok(None) };
    let config = TracesConfig { endpoint: endpoint.url.clone(), service_name, version: status::VERSION };
    let collector = Arc::new(Callee::new(endpoint).context("[tracing]")?);
    let post = move |request| post(Arc::clone(&collector), request);
    let traces = Traces::start(&config, post).context("[tracing]")?;
    Ok(Some(Arc::new(traces)))
}

async fn post(collector: Arc<Callee>, request: Request<Bytes>) -> Answer {
    let (mut head, body) = request.into_parts();
    head.uri = head.uri.path_and_query().map_or("/", |path| path.as_str()).parse()?;
    let (status, body) = collector.send(Request::from_parts(head, Full::new(body)), DEADLINE).await?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}
