//! A webhook call for each change of a backend's health or circuit.
//!
//! Changes are queued, up to a bound, and delivered one after the other, each tried a few times with growing pauses.
//! Where the queue is full the oldest makes room, so that how things stand at last is told; it is counted, and so is what cannot be
//! delivered: an alert delays nobody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use lb_config::AlertsConfig;
use lb_health::{Change, EventSink, HealthEvent};
use lb_observe::control::{Alert, alerted};
use serde_json::json;
use tokio::sync::Notify;

use crate::client::Callee;

/// Alerts that wait to be delivered.
const QUEUE: usize = 256;
/// Tries of one alert, and the pause after the first; it doubles.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How long one try may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where changes are put.
pub(crate) struct Alerts {
    queue: Arc<Queue>,
}

/// Alerts that wait, oldest first.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<String>>,
    came: Notify,
}

impl Queue {
    /// Puts one behind the others; false where the oldest had to go for it.
    fn put(&self, alert: String) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < QUEUE;
        if !has_room {
            waiting.pop_front();
        }
        waiting.push_back(alert);
        drop(waiting);
        self.came.notify_one();
        has_room
    }

    fn take(&self) -> Option<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// The next, once there is one.
    async fn next(&self) -> String {
        loop {
            let came = self.came.notified();
            if let Some(alert) = self.take() {
                return alert;
            }
            came.await;
        }
    }
}

impl Alerts {
    /// Begins to deliver to this address.
    pub(crate) fn start(config: AlertsConfig) -> anyhow::Result<Arc<Self>> {
        let webhook = Callee::new(config.webhook).context("[alerts]")?;
        let queue = Arc::<Queue>::default();
        tokio::spawn(deliver(webhook, Arc::clone(&queue)));
        Ok(Arc::new(Self { queue }))
    }
}

impl EventSink for Alerts {
    fn changed(&self, event: &HealthEvent) {
        if !self.queue.put(document(event)) {
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

async fn deliver(webhook: Callee, queue: Arc<Queue>) {
    loop {
        let alert = queue.next().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_too_many_wait_the_oldest_goes_and_the_latest_is_told() {
        let queue = Queue::default();
        assert!((0..QUEUE).all(|number| queue.put(number.to_string())));
        assert!(!queue.put("last".to_owned()));
        assert_eq!(queue.take().as_deref(), Some("1"));
        assert_eq!(std::iter::from_fn(|| queue.take()).last().as_deref(), Some("last"));
    }
}
