//! What keeps failure from clients: probes, ejection, breakers, retries, the queue for a free slot.

use serde::Deserialize;

use super::values::{At, List, Patience, Size, Time};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthCheck {
    pub(crate) enabled: Option<bool>,
    /// What is asked; "http" where a path is given.
    #[serde(rename = "type")]
    pub(crate) kind: Option<At<Probe>>,
    pub(crate) path: Option<At<String>>,
    /// The Host field, or the authority of gRPC, in place of the backend's own.
    pub(crate) host: Option<At<String>>,
    /// Whose health gRPC asks for; by default the server's as a whole.
    pub(crate) service: Option<At<String>>,
    pub(crate) interval: Option<At<Time>>,
    /// Servex's name for the interval of backends that name none.
    pub(crate) default_interval: Option<At<Time>>,
    pub(crate) timeout: Option<At<Time>>,
    pub(crate) retry_count: Option<At<u32>>,
    pub(crate) healthy_threshold: Option<At<u32>>,
    pub(crate) unhealthy_threshold: Option<At<u32>>,
    pub(crate) expect: Option<At<String>>,
    /// Whether HTTP probes ask on the connection of the one before.
    pub(crate) keep_alive: Option<bool>,
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Probe {
    Http,
    Tcp,
    Grpc,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passive {
    pub(crate) enabled: Option<bool>,
    pub(crate) consecutive_failures: Option<At<u32>>,
    pub(crate) ejection_time: Option<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CircuitBreaker {
    pub(crate) enabled: Option<bool>,
    pub(crate) failure_threshold: Option<At<u32>>,
    pub(crate) recovery_timeout: Option<Time>,
    pub(crate) half_open_max_calls: Option<At<u32>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retries {
    /// Extra tries, each on another backend; 0 turns retries off.
    pub(crate) attempts: Option<At<u32>>,
    /// What idempotent requests are retried on: "connect", "reset", "timeout", "5xx", or a status.
    pub(crate) on: Option<At<List<String>>>,
    /// Extra requests as a share of those that are answered.
    pub(crate) budget: Option<At<f64>>,
    /// Until the response head, for one attempt; an upload that cannot be sent again does not count.
    pub(crate) attempt_timeout: Option<At<Time>>,
    /// The largest request body that is kept to be sent again.
    pub(crate) replay_body: Option<At<Size>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    /// Requests that wait at once; 0 turns waiting off.
    pub(crate) max_pending: Option<u32>,
    /// Then 503.
    pub(crate) timeout: Option<Time>,
}

/// How many requests of a rule are under way at once.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Concurrency {
    /// At most, over the whole process.
    pub(crate) max: Option<At<u32>>,
    /// Whether the limit follows how long the backends take.
    pub(crate) adaptive: Option<bool>,
}

/// When a second backend is asked beside the first.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hedge {
    /// How long the first is waited for: a time, or "p95".
    pub(crate) after: Option<At<Patience>>,
    /// Further backends: 1, or 0 for none.
    pub(crate) max: Option<At<u32>>,
}
