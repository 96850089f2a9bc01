//! Traces, on their way out: the spans of sampled exchanges, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! A worker copies what the spans need and tries to put it into a bounded queue; a task on the control side makes OTLP of
//! it and sends it in batches. What finds the queue full, or what the collector does not take in time, is dropped and
//! counted (`gatewayd_spans_dropped_total`): a trace delays nobody.
//!
//! Span data, resource, encoding and the sending again of what a collector could not take just then are the OpenTelemetry
//! crates'. Their own batch processor is not used: it counts no drops, wants a thread of its own that blocks, and is told of
//! spans one by one, where an exchange with its attempts is one message here. Their tracer is not either, since it would
//! make spans where requests are served.

mod finished;
mod semantics;
mod sender;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use lb_observe::control::SpansCounted;
use lb_observe::{Exchange, Recorder};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::{mpsc, oneshot};

use finished::Finished;
use sender::{Message, Post, Sender};

/// Exchanges that may wait to be sent.
const QUEUE: usize = 4096;
/// How long the collector may take for a batch, with what has to be sent again.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The path of traces below a collector's address (OTLP 1.x, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";
/// What the gateway is called where nobody says otherwise.
const SERVICE: &str = "gatewayd";

/// Where traces go, and under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// The collector: `http://collector:4318`, or with a path where traces are not taken at `/v1/traces`.
    pub endpoint: http::Uri,
    /// `service.name`; `OTEL_SERVICE_NAME` or `gatewayd` where it is not said.
    pub service_name: Option<String>,
    /// `service.version`.
    pub version: &'static str,
}

/// An answer, or why there is none.
pub type Answer = Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter cannot be made, by the configuration or by `OTEL_…` of the environment.
    #[error("cannot send traces: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// The recorder that sends traces.
#[derive(Debug)]
pub struct Traces {
    queue: mpsc::Sender<Message>,
    counted: SpansCounted,
}

impl Traces {
    /// Starts the task that sends, on the runtime that this is called in; `post` sends one request, within its own bounds.
    ///
    /// # Errors
    /// The environment asks for what this build cannot do, such as compression.
    pub fn start<F>(
        config: &TracesConfig,
        post: impl Fn(Request<Bytes>) -> F + Send + Sync + 'static,
    ) -> Result<Self, TracesError>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let post = move |request| Box::pin(post(request)) as Pin<Box<dyn Future<Output = Answer> + Send>>;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Post(Arc::new(post)))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(traces_url(&config.endpoint))
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        exporter.set_resource(&resource(config));
        let (queue, messages) = mpsc::channel(QUEUE);
        let counted = SpansCounted::new();
        tokio::spawn(Sender::new(exporter, counted.clone(), config.version).run(messages));
        Ok(Self { queue, counted })
    }

    /// Waits until every trace so far has been sent or given up; false where that takes longer.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let (done, flushed) = oneshot::channel();
        let flush = async { self.queue.send(Message::Flush(done)).await.is_ok() && flushed.await.is_ok() };
        tokio::time::timeout(deadline, flush).await.unwrap_or(false)
    }
}

impl Recorder for Traces {
    fn record(&self, exchange: &Exchange<'_>) {
        let Some(trace) = exchange.trace.filter(|trace| trace.is_sampled()) else { return };
        let finished = Message::Exchange(Box::new(Finished::copy(exchange, trace)));
        if self.queue.try_send(finished).is_err() {
            self.counted.dropped(1 + trace.attempts().len() as u64);
        }
    }
}

/// Where traces are taken.
fn traces_url(endpoint: &http::Uri) -> String {
    let text = endpoint.to_string();
    match endpoint.path() {
        "" | "/" => format!("{}{TRACES_PATH}", text.trim_end_matches('/')),
        _ => text,
    }
}

/// Who sends: by the configuration, or else by `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(config: &TracesConfig) -> Resource {
    let version = opentelemetry::KeyValue::new("service.version", config.version);
    let builder = Resource::builder().with_attribute(version);
    let name = match &config.service_name {
        Some(name) => name.clone(),
        None => {
            let found = Resource::builder().build().get(&"service.name".into()).map(|name| name.to_string());
            found.filter(|name| !name.starts_with("unknown_service")).unwrap_or_else(|| SERVICE.to_owned())
        }
    };
    builder.with_service_name(name).build()
}

#[cfg(test)]
mod tests;
