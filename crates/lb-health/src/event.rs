//! What is told of a change: one line in the log and one call of whoever listens, once a change.

use std::sync::Arc;

/// How a request at a backend failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection was made.
    Connect,
    /// The connection broke before the answer was whole, or what came was no answer.
    Reset,
    /// The backend took too long.
    Timeout,
    /// It answered with this status, a 5xx.
    Status(u16),
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect => f.write_str("a failed connect"),
            Self::Reset => f.write_str("a broken connection"),
            Self::Timeout => f.write_str("a timeout"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Probes fail, or requests did and it is ejected.
    Unhealthy,
    /// Neither any more.
    Recovered,
    /// The circuit breaker lets nothing pass.
    CircuitOpened,
    /// The circuit breaker lets trial calls pass.
    CircuitHalfOpened,
    /// The circuit breaker lets everything pass.
    CircuitClosed,
}

/// A change of one backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthEvent {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The backend's URL as configured.
    pub backend: String,
    /// What has changed.
    pub change: Change,
    /// Whether the backend is healthy now: not so while probes fail or it is ejected. The circuit is another matter.
    pub healthy: bool,
    /// Why, where something went wrong.
    pub error: Option<String>,
}

/// Told of every change, in each backend's order.
///
/// Called where changes are settled, which is the task of [`Supervisor::run`](crate::Supervisor::run), with no lock of the
/// monitor held; it must not wait. A sink that sends mail puts it in a queue.
pub trait EventSink: Send + Sync {
    /// A backend has changed.
    fn changed(&self, event: &HealthEvent);
}

/// Several listeners, each told of everything.
impl EventSink for Vec<Arc<dyn EventSink>> {
    fn changed(&self, event: &HealthEvent) {
        self.iter().for_each(|sink| sink.changed(event));
    }
}

impl Change {
    /// As logs have it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Unhealthy => "backend unhealthy",
            Self::Recovered => "backend recovered",
            Self::CircuitOpened => "circuit opened",
            Self::CircuitHalfOpened => "circuit half-open",
            Self::CircuitClosed => "circuit closed",
        }
    }
}

impl HealthEvent {
    /// Writes the line.
    pub(crate) fn log(&self) {
        let Self { upstream, backend, change, healthy, error } = self;
        let error = error.as_deref().unwrap_or_default();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    component = "proxy",
                    backend,
                    healthy,
                    error,
                    upstream = &**upstream,
                    "{}",
                    change.describe()
                )
            };
        }
        match change {
            Change::Unhealthy | Change::CircuitOpened => line!(error),
            Change::Recovered | Change::CircuitHalfOpened | Change::CircuitClosed => line!(info),
        }
    }
}
