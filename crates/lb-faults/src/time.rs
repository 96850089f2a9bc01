//! One clock for several processes: microseconds since 1970.

use std::time::{Duration, SystemTime};

/// Microseconds since 1970. Comparable between the processes of one machine, which a monotonic instant is not.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    in_micros(since)
}

/// A duration in the clock's unit.
pub(crate) fn in_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The clock's unit in milliseconds.
pub(crate) fn in_millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}
