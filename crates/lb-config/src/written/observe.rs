//! What is recorded: the access log, the traffic dump, traces.

use serde::Deserialize;

use super::upstream::BackendTls;
use super::values::{At, List, Size};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccessLog {
    pub(crate) enabled: Option<bool>,
    pub(crate) fields: Option<List<String>>,
    pub(crate) sample: Option<At<f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrafficDump {
    /// Unset in a rule's table, it follows the root's.
    pub(crate) enabled: Option<bool>,
    /// `./traffic_dumps`, from where the gateway was started.
    pub(crate) directory: Option<At<String>>,
    /// After which the next file is begun: 100 MiB.
    pub(crate) max_file_size: Option<At<Size>>,
    /// The oldest go first: 10.
    pub(crate) max_files: Option<At<u32>>,
    /// Heads alone where it is false, as by default.
    pub(crate) include_body: Option<bool>,
    /// Bytes kept of each body: 64 KiB.
    pub(crate) max_body_size: Option<Size>,
    /// The share of exchanges: 1.
    pub(crate) sample_rate: Option<At<f64>>,
    /// Header fields, query parameters and fields of forms by name, values in JSON bodies by path (`$.password`), beside
    /// Authorization, Cookie, Set-Cookie and Proxy-Authorization.
    pub(crate) redact: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tracing {
    /// An OpenTelemetry collector that takes OTLP over HTTP; without it `traceparent` passes as it came.
    pub(crate) endpoint: Option<At<String>>,
    /// How an `https` one is believed.
    pub(crate) tls: Option<At<BackendTls>>,
    /// The share of requests that are traced where whoever sent them has not decided it: 1.
    pub(crate) sample: Option<At<f64>>,
    /// What the gateway is called in traces: `gatewayd`.
    pub(crate) service_name: Option<String>,
}
