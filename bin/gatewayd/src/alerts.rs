//! A webhook call for each change of a backend's health or circuit.
//!
//! Changes are queued, up to a bound, and delivered one after the other, each tried a few times with growing pauses.
//! What finds the queue full or cannot be delivered is dropped and counted: an alert delays nobody.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use lb_config::AlertsConfig;
use lb_health::{Change, EventSink, HealthEvent};
use lb_observe::control::{Alert, alerted};
use serde_json::json;
use tokio::sync::mpsc;

use crate::client::Callee;

/// Alerts that wait to be delivered.
const QUEUE: usize = 256;
/// Tries of one alert, and the pause after the first; it doubles.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long one try may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where changes are put; the task behind it ends when this is dropped.
pub(crate) struct Alerts {
    queue: mpsc::Sender<String>,
}

impl Alerts {
    /// Begins to deliver to this address.
    pub(crate) fn start(config: AlertsConfig) -> anyhow::Result<Arc<Self>> {
        let webhook = Callee::new(config.webhook).context("[alerts]")?;
        let (queue, alerts) = mpsc::channel(QUEUE);
        tokio::spawn(deliver(webhook, alerts));
        Ok(Arc::new(Self { queue }))
    }
}

impl EventSink for Alerts {
    fn changed(&self, event: &HealthEvent) {
        if self.queue.try_send(document(event)).is_err() {
            alerted(Alert::Dropped);
        }
    }
}

fn document(event: &HealthEvent) -> String {
    let what = match event.change {
        Change::Unhealthy => "backend unhealthy",
        Change::Recovered => "backend recovered",
        Change::CircuitOpened => "circuit opened",
        Change::CircuitHalfOpened => "circuit half-open",
        Change::CircuitClosed => "circuit closed",
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "event": what,
        "component": "proxy",
        "upstream": &*event.upstream,
        "backend": event.backend,
        "healthy": event.healthy,
        "error": event.error,
        "unix_ms": u64::try_from(since.as_millis()).unwrap_or_default(),
    })
    .to_string()
}

async fn deliver(webhook: Callee, mut alerts: mpsc::Receiver<String>) {
    while let Some(alert) = alerts.recv().await {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            match call(&webhook, alert.clone()).await {
                Ok(()) => {
                    alerted(Alert::Sent);
                    break;
                }
                Err(error) if tries == TRIES => {
                    tracing::warn!(component = "alerts", error = %format!("{error:#}"), tries, "alert given up");
                    alerted(Alert::Dropped);
                    break;
                }
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    tries += 1;
                }
            }
        }
    }
}

async fn call(webhook: &Callee, alert: String) -> anyhow::Result<()> {
    let path = webhook.url().path_and_query().map_or("/", |path| path.as_str());
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(alert)))?;
    let (status, _) = webhook.send(request, DEADLINE).await?;
    anyhow::ensure!(status.is_success(), "the webhook answered {status}");
    Ok(())
}
