//! The task that sends: gathers for a moment, makes spans, and waits for the collector to take them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lb_observe::control::SpansCounted;
use opentelemetry::InstrumentationScope;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Answer;
use crate::finished::Finished;
use crate::semantics::spans;

/// Spans of one batch, about.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How often the queue is looked into meanwhile, so that workers need not wake the task for each exchange.
const LOOK: Duration = Duration::from_millis(50);

/// What the task is told.
#[derive(Debug)]
pub(crate) enum Message {
    Exchange(Box<Finished>),
    /// Answered when everything before it has been sent or given up.
    Flush(oneshot::Sender<()>),
}

/// The gateway's own client, as the exporter wants it.
pub(crate) struct Post(pub(crate) Arc<SendRequest>);

type SendRequest = dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        (self.0)(request).await
    }
}

pub(crate) struct Sender {
    exporter: SpanExporter,
    counted: SpansCounted,
    scope: InstrumentationScope,
    /// Whether the collector did not take the last batch, which has been said.
    is_failing: bool,
}

/// What goes out together.
#[derive(Default)]
struct Batch {
    spans: Vec<SpanData>,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Sender {
    pub(crate) fn new(exporter: SpanExporter, counted: SpansCounted, version: &'static str) -> Self {
        let scope = InstrumentationScope::builder("gatewayd").with_version(version).build();
        Self { exporter, counted, scope, is_failing: false }
    }

    /// Runs until whoever records traces has gone and everything in the queue is sent or given up.
    pub(crate) async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.recv().await {
            let mut batch = Batch::default();
            self.take(&mut batch, first);
            let due = Instant::now() + GATHER;
            while batch.spans.len() < BATCH && batch.flushes.is_empty() {
                match messages.try_recv() {
                    Ok(message) => self.take(&mut batch, message),
                    Err(TryRecvError::Empty) if Instant::now() < due => tokio::time::sleep(LOOK).await,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.send(batch).await;
        }
    }

    fn take(&self, batch: &mut Batch, message: Message) {
        match message {
            Message::Exchange(finished) => spans(&finished, &self.scope, &mut batch.spans),
            Message::Flush(done) => batch.flushes.push(done),
        }
    }

    /// Says when the collector begins to take nothing, and when that ends.
    async fn send(&mut self, batch: Batch) {
        let count = batch.spans.len() as u64;
        if count > 0 {
            match self.exporter.export(batch.spans).await {
                Ok(()) => {
                    self.counted.sent(count);
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!(component = "tracing", "traces reach the collector again");
                    }
                }
                Err(error) => {
                    self.counted.dropped(count);
                    if !std::mem::replace(&mut self.is_failing, true) {
                        tracing::warn!(
                            component = "tracing",
                            %error,
                            "traces do not reach the collector: spans are dropped and counted until they do"
                        );
                    }
                }
            }
        }
        for done in batch.flushes {
            let _nobody_waits = done.send(());
        }
    }
}
