//! Instants as numbers, so that they fit an atomic. The one place of the crate that reads a clock: once a process, to relate
//! the instants callers pass in to the wall.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Stands for "never" in an atomic.
pub(crate) const NEVER: u64 = 0;

static ANCHOR: OnceLock<(Instant, SystemTime)> = OnceLock::new();

fn anchor() -> (Instant, SystemTime) {
    *ANCHOR.get_or_init(|| (Instant::now(), SystemTime::now()))
}

/// The instant this process counts from: earlier ones are not told apart from it. A simulation that begins here computes with
/// the same numbers every time.
pub fn epoch() -> Instant {
    anchor().0
}

/// Nanoseconds from the process' anchor to `now`; instants before the anchor count as the anchor. Never `NEVER`.
pub(crate) fn nanos(now: Instant) -> u64 {
    let since = now.saturating_duration_since(anchor().0);
    // 584 years fit.
    since.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(since.subsec_nanos())).max(1)
}

/// The instant that `nanos` stands for.
pub(crate) fn instant(nanos: u64) -> Option<Instant> {
    if nanos == NEVER { None } else { anchor().0.checked_add(Duration::from_nanos(nanos)) }
}

/// Milliseconds since 1970 of the moment that `nanos` stands for.
pub(crate) fn unix_ms(nanos: u64) -> Option<u64> {
    if nanos == NEVER {
        return None;
    }
    let wall = anchor().1.checked_add(Duration::from_nanos(nanos))?;
    let since = wall.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Sets the anchor no later than now, so that instants taken after this call are told apart.
pub(crate) fn start() {
    let _ = anchor();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_before_the_anchor_are_the_anchor_and_never_the_sentinel() {
        let early = Instant::now();
        start();
        assert!(nanos(early) > NEVER);
        assert_eq!(instant(NEVER), None);
        assert_eq!(unix_ms(NEVER), None);
    }

    #[test]
    fn a_moment_is_near_the_wall() {
        start();
        let told = unix_ms(nanos(Instant::now())).unwrap();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(wall.abs_diff(u128::from(told)) < 60_000);
    }
}
