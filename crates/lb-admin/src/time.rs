//! Moments and durations as pages write them.

use std::time::{Duration, SystemTime};

/// RFC 3339, UTC, to the millisecond.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map_or_else(|_| String::new(), |time| format!("{time:.3}"))
}

/// Hours, minutes and seconds: `1h2m3s`, as Go writes them.
pub(crate) fn hms(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_leave_out_leading_zeroes() {
        for (seconds, written) in
            [(0, "0s"), (59, "59s"), (60, "1m0s"), (3_723, "1h2m3s"), (360_000, "100h0m0s")]
        {
            assert_eq!(hms(Duration::from_secs(seconds)), written);
        }
    }

    #[test]
    fn moments_are_utc_to_the_millisecond() {
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }
}
