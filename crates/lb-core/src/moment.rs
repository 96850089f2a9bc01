//! Instants as numbers, so that they fit an atomic and compare as integers. The one place of the crate that reads a clock: once a
//! process, to relate the instants callers pass in to the wall.

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

/// An instant as nanoseconds since [`epoch`]; earlier ones count as it. Turning one into the other costs about 5 ns, which a
/// request pays once, however many strategies, reservations and estimates it meets.
///
/// ```
/// use std::time::{Duration, Instant};
/// use lb_core::Moment;
/// let now = Instant::now();
/// assert!(Moment::from(now) < Moment::from(now + Duration::from_millis(1)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let since = instant.saturating_duration_since(anchor().0);
        // 584 years fit. Never `NEVER`.
        Self(
            since
                .as_secs()
                .saturating_mul(1_000_000_000)
                .saturating_add(u64::from(since.subsec_nanos()))
                .max(1),
        )
    }
}

impl Moment {
    /// Nanoseconds since [`epoch`]; at least 1.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The instant it was made from, or else [`epoch`].
    pub fn instant(self) -> Instant {
        instant(self.0).unwrap_or(anchor().0)
    }

    /// So much later; the last moment there is where that would be none.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
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
        assert!(Moment::from(early).nanos() > NEVER);
        assert_eq!(instant(NEVER), None);
        assert_eq!(unix_ms(NEVER), None);
    }

    #[test]
    fn a_moment_is_the_instant_it_was_made_from_and_goes_no_further_than_the_last() {
        start();
        let now = Instant::now();
        let moment = Moment::from(now);
        assert_eq!(moment.instant(), now);
        assert_eq!(moment.after(Duration::from_secs(2)).instant(), now + Duration::from_secs(2));
        assert_eq!(moment.after(Duration::MAX).nanos(), u64::MAX);
    }

    #[test]
    fn a_moment_is_near_the_wall() {
        start();
        let told = unix_ms(Moment::from(Instant::now()).nanos()).unwrap();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert!(wall.abs_diff(u128::from(told)) < 60_000);
    }
}
