//! What is recorded: the access log, the traffic dump, traces.

use serde::Deserialize;

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
    pub(crate) enabled: Option<bool>,
    pub(crate) directory: Option<String>,
    pub(crate) max_file_size: Option<Size>,
    pub(crate) max_files: Option<u32>,
    pub(crate) include_body: Option<bool>,
    pub(crate) max_body_size: Option<Size>,
    pub(crate) sample_rate: Option<At<f64>>,
    pub(crate) redact: Option<List<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tracing {
    pub(crate) endpoint: Option<String>,
    pub(crate) sample: Option<At<f64>>,
}
