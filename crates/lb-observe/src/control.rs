//! Counters of the control side, through the `metrics` facade: what happens seldom and anywhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use metrics::{SetRecorderError, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use metrics_util::MetricKindMask;

use crate::SourceState;

/// A gauge that has not been set for so long is one of something that is gone: they are set each second.
const GONE_AFTER: Duration = Duration::from_secs(10);

const RELOADS: &str = "gatewayd_config_reloads_total";
const CERTIFICATES: &str = "gatewayd_certificate_reloads_total";
const ALERTS: &str = "gatewayd_alerts_total";
const DUMP_DROPPED: &str = "gatewayd_dump_dropped_total";
const SPANS_SENT: &str = "gatewayd_spans_sent_total";
const SPANS_DROPPED: &str = "gatewayd_spans_dropped_total";
const DISCOVERY_MEMBERS: &str = "gatewayd_discovery_members";
const DISCOVERY_UP: &str = "gatewayd_discovery_up";
const DISCOVERY_LAST: &str = "gatewayd_discovery_last_success_timestamp_seconds";
const DISCOVERY_ANSWERS: &str = "gatewayd_discovery_answers_total";
const LOG_DROPPED: &str = "gatewayd_log_dropped_total";
pub(crate) const ACCESS_LOG_DROPPED: &str = "gatewayd_access_log_dropped_total";

/// How an attempt to put a new configuration in force ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// It is in force.
    Ok,
    /// It was refused, the one before stays.
    Rejected,
}

/// Counts a reload.
pub fn reloaded(reload: Reload) {
    let result = match reload {
        Reload::Ok => "ok",
        Reload::Rejected => "rejected",
    };
    counter!(RELOADS, "result" => result).increment(1);
}

/// Counts a look at certificate files that had changed.
pub fn certificates_reloaded(reload: Reload) {
    let result = match reload {
        Reload::Ok => "ok",
        Reload::Rejected => "rejected",
    };
    counter!(CERTIFICATES, "result" => result).increment(1);
}

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alert {
    /// It was delivered.
    Sent,
    /// There were too many, or it could not be delivered.
    Dropped,
}

/// Counts an alert.
pub fn alerted(alert: Alert) {
    let result = match alert {
        Alert::Sent => "sent",
        Alert::Dropped => "dropped",
    };
    counter!(ALERTS, "result" => result).increment(1);
}

/// Shows how a source of discovery does, and counts its answers since `before`, where that is the same source's. One that is shown no more
/// is soon gone from the gauges.
pub fn discovered(source: &SourceState, before: Option<&SourceState>) {
    let labels = [("upstream", source.upstream.clone()), ("source", source.kind.to_owned())];
    #[expect(clippy::cast_precision_loss, reason = "members have a bound far below 2^53")]
    gauge!(DISCOVERY_MEMBERS, &labels).set(source.members as f64);
    gauge!(DISCOVERY_UP, &labels).set(f64::from(u8::from(source.is_up())));
    let since = source.updated.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    gauge!(DISCOVERY_LAST, &labels).set(since.unwrap_or_default().as_secs_f64());
    let earlier = before.map_or((0, 0), |before| (before.answers, before.failures));
    for (result, count, earlier) in
        [("ok", source.answers, earlier.0), ("failed", source.failures, earlier.1)]
    {
        let [upstream, source] = labels.clone();
        // One that has begun anew has fewer.
        let more = count.checked_sub(earlier).unwrap_or(count);
        counter!(DISCOVERY_ANSWERS, &[upstream, source, ("result", result.to_owned())]).increment(more);
    }
}

/// Counts dump entries that were dropped rather than delay their exchanges; the handle is found once.
#[derive(Debug)]
pub struct DumpDropped(metrics::Counter);

impl DumpDropped {
    /// The counter. Seen in the metrics where [`ControlMetrics`] has been installed before.
    #[must_use]
    pub fn new() -> Self {
        Self(counter!(DUMP_DROPPED))
    }

    /// Counts more of them.
    pub fn add(&self, entries: u64) {
        self.0.increment(entries);
    }
}

impl Default for DumpDropped {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts a line of the log, other than the access log's, that was dropped since nobody read those before it.
pub fn log_line_dropped() {
    counter!(LOG_DROPPED).increment(1);
}

/// Counts the spans of traces; the handles are found once.
#[derive(Debug, Clone)]
pub struct SpansCounted {
    sent: metrics::Counter,
    dropped: metrics::Counter,
}

impl SpansCounted {
    /// The counters. Seen in the metrics where [`ControlMetrics`] has been installed before.
    #[must_use]
    pub fn new() -> Self {
        Self { sent: counter!(SPANS_SENT), dropped: counter!(SPANS_DROPPED) }
    }

    /// So many more were taken by the collector.
    pub fn sent(&self, spans: u64) {
        self.sent.increment(spans);
    }

    /// So many more were lost: too many waited, or the collector did not take them.
    pub fn dropped(&self, spans: u64) {
        self.dropped.increment(spans);
    }
}

impl Default for SpansCounted {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the facade's counters are kept; crates that use `metrics` are heard here too.
#[derive(Debug)]
pub struct ControlMetrics {
    handle: PrometheusHandle,
    // Rendering publishes descriptions: one at a time.
    rendering: Mutex<()>,
}

impl ControlMetrics {
    /// Makes this the process's recorder of the `metrics` facade. Once a process, before anything is counted.
    ///
    /// # Errors
    /// There is one already.
    pub fn install() -> Result<Self, SetRecorderError<PrometheusRecorder>> {
        let recorder =
            PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(GONE_AFTER)).build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder)?;
        describe();
        Ok(Self { handle, rendering: Mutex::default() })
    }

    /// The counters as Prometheus text.
    pub(crate) fn render(&self) -> String {
        let _one_at_a_time = self.rendering.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.render()
    }
}

/// Describes our own counters, and has them read 0 before the first event: a rate needs a start.
fn describe() {
    describe_counter!(RELOADS, "Attempts to put a new configuration in force.");
    counter!(RELOADS, "result" => "ok").increment(0);
    counter!(RELOADS, "result" => "rejected").increment(0);
    describe_counter!(CERTIFICATES, "Certificate files that changed and were taken up or turned down.");
    counter!(CERTIFICATES, "result" => "ok").increment(0);
    counter!(CERTIFICATES, "result" => "rejected").increment(0);
    describe_counter!(ALERTS, "Calls of the webhook for changes of health.");
    counter!(ALERTS, "result" => "sent").increment(0);
    counter!(ALERTS, "result" => "dropped").increment(0);
    describe_counter!(DUMP_DROPPED, "Traffic dump entries dropped rather than delay their exchanges.");
    counter!(DUMP_DROPPED).increment(0);
    describe_counter!(SPANS_SENT, "Spans of traces that the collector took.");
    counter!(SPANS_SENT).increment(0);
    describe_counter!(SPANS_DROPPED, "Spans of traces dropped rather than delay their exchanges.");
    counter!(SPANS_DROPPED).increment(0);
    describe_gauge!(DISCOVERY_MEMBERS, "Backends that a source of discovery lists.");
    describe_gauge!(DISCOVERY_UP, "Whether the last answer of a source of discovery was a good one.");
    describe_gauge!(DISCOVERY_LAST, "When a source of discovery last answered well, in seconds since 1970.");
    describe_counter!(DISCOVERY_ANSWERS, "Answers of sources of discovery.");
    describe_counter!(ACCESS_LOG_DROPPED, "Access log lines dropped rather than delay their exchanges.");
    counter!(ACCESS_LOG_DROPPED).increment(0);
    describe_counter!(
        LOG_DROPPED,
        "Log lines, other than the access log's, dropped since nobody read those before them."
    );
    counter!(LOG_DROPPED).increment(0);
}
