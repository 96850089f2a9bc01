//! One JSON line an exchange, written where nobody waits for it.
//!
//! A worker copies what the line needs behind what it has copied before; a thread of its own formats and writes
//! ([`write_behind`](crate::write_behind)). What does not fit is dropped and counted.

mod entry;
mod field;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::control::ACCESS_LOG_DROPPED;
use crate::write_behind::WriteBehind;
use crate::{Exchange, Recorder};
use entry::Waiting;
pub use field::{Field, UnknownField};

/// What the access log writes, and how much of it.
#[derive(Debug, Clone)]
pub struct AccessLogConfig {
    /// The fields of a line beside `time`, `level`, `msg`, `component` and, where something went wrong, `error`;
    /// in this order.
    pub fields: Vec<Field>,
    /// The share of exchanges that are written, 0..=1. Those that ended in a 5xx or were broken off by a backend
    /// are always written.
    pub sample: f64,
    /// Lines of a worker that may wait to be written.
    pub queue: usize,
    /// Workers that record at the same time.
    pub workers: usize,
}

impl Default for AccessLogConfig {
    fn default() -> Self {
        Self { fields: Field::DEFAULT.to_vec(), sample: 1.0, queue: 8192, workers: 1 }
    }
}

/// The recorder that writes the access log.
///
/// Dropping it writes what waits, for at most two seconds; [`flush`](Self::flush) does so before.
///
/// ```
/// use lb_observe::{AccessLog, AccessLogConfig, Exchange, Recorder};
/// # use std::{io::Write, sync::{Arc, Mutex}, time::Duration};
/// # #[derive(Clone, Default)]
/// # struct Buffer(Arc<Mutex<Vec<u8>>>);
/// # impl Write for Buffer {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let buffer = Buffer::default();
/// let log = AccessLog::start(AccessLogConfig::default(), buffer.clone())?;
/// log.record(&Exchange { method: "GET", path: "/users", ..Exchange::new(0) });
/// assert!(log.flush(Duration::from_secs(5)));
/// # assert!(String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap().contains(r#""path":"/users""#));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct AccessLog {
    queue: WriteBehind<Waiting>,
    /// Lines of a worker that may wait.
    most: usize,
    sample: f64,
    dropped: Dropped,
}

/// Lines that were lost, counted here and in the metrics.
#[derive(Debug, Clone)]
struct Dropped {
    lines: Arc<AtomicU64>,
    metric: metrics::Counter,
}

impl Dropped {
    fn new() -> Self {
        Self { lines: Arc::default(), metric: metrics::counter!(ACCESS_LOG_DROPPED) }
    }

    fn add(&self, lines: u64) {
        self.lines.fetch_add(lines, Relaxed);
        self.metric.increment(lines);
    }
}

impl AccessLog {
    /// Starts the writing thread. Lost lines are counted in the metrics too where
    /// [`ControlMetrics`](crate::control::ControlMetrics) has been installed before.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(config: AccessLogConfig, output: impl Write + Send + 'static) -> io::Result<Self> {
        let dropped = Dropped::new();
        let writer = writer::Writer::new(config.fields, output, dropped.clone());
        let queue = WriteBehind::start("access-log", config.workers, writer)?;
        Ok(Self { queue, most: config.queue, sample: config.sample, dropped })
    }

    /// Starts a log that goes to standard error.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn to_stderr(config: AccessLogConfig) -> io::Result<Self> {
        Self::start(config, io::stderr())
    }

    /// Lines that were dropped because too many waited, or that could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped.lines.load(Relaxed)
    }

    /// Waits until every line recorded so far has been written; false where that takes longer.
    pub fn flush(&self, deadline: Duration) -> bool {
        self.queue.flush(deadline)
    }

    fn is_kept(&self, exchange: &Exchange<'_>) -> bool {
        self.sample >= 1.0 || is_error(exchange) || fastrand::f64() < self.sample
    }
}

impl Recorder for AccessLog {
    fn record(&self, exchange: &Exchange<'_>) {
        if !self.is_kept(exchange) {
            return;
        }
        if !self.queue.with(exchange.worker, |waiting| waiting.push(exchange, self.most)) {
            self.dropped.add(1);
        }
    }
}

/// Whether something went wrong on our side or a backend's; a client that leaves or errs is everyday traffic.
fn is_error(exchange: &Exchange<'_>) -> bool {
    exchange.status.is_server_error() || exchange.code.and_then(crate::FailureKind::of_code).is_some()
}

#[cfg(test)]
mod tests;
