//! What keeps failure from clients: probes, ejection, breakers, retries, the queue for a free slot.

use serde::Deserialize;

use super::values::{At, List, Time};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealthCheck {
    pub(crate) enabled: Option<bool>,
    pub(crate) path: Option<At<String>>,
    pub(crate) interval: Option<At<Time>>,
    /// Servex's name for the interval of backends that name none.
    pub(crate) default_interval: Option<At<Time>>,
    pub(crate) timeout: Option<Time>,
    pub(crate) retry_count: Option<At<u32>>,
    pub(crate) healthy_threshold: Option<At<u32>>,
    pub(crate) unhealthy_threshold: Option<At<u32>>,
    pub(crate) expect: Option<At<String>>,
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
    pub(crate) attempts: Option<At<u32>>,
    pub(crate) on: Option<List<String>>,
    pub(crate) budget: Option<At<f64>>,
    pub(crate) attempt_timeout: Option<Time>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    pub(crate) max_pending: Option<u32>,
    pub(crate) timeout: Option<Time>,
}
