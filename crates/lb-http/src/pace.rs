//! The least rate at which a client moves a body (`min_rate`), so that nobody holds a backend by a trickle.
//!
//! A client is charged only for the time in which everyone waits for it: a slow backend is not its fault, and an
//! event stream that rests is nobody's. It has a store of time, which the bytes it moves fill again, up to a bound;
//! when the store is empty the body is cut.
//!
//! Cost: nothing where no rate is set, and nothing a request either way; a look at the clock each time a body moves
//! or stops where one is.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::watch::{Phase, Watch, later};

/// What a client starts with, and the most that it can save by sending.
const GRACE: Duration = Duration::from_secs(5);
/// What a kernel may take off our hands at once, and tell only much later that it has gone.
const IN_SOCKET: f64 = (4 << 20) as f64;

/// One body's pace.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: f64,
    most: Duration,
    left: Duration,
    /// Since when the client has been waited for.
    since: Option<Instant>,
    moved: u64,
    idle: Duration,
    idle_until: Instant,
}

impl Pace {
    /// For a request's body.
    pub(crate) fn upload(rate: NonZeroU64, idle: Duration, now: Instant) -> Self {
        Self::new(rate, GRACE, idle, now)
    }

    /// For an answer's. What the kernel takes at once counts as moved, so that there may be long pauses then.
    pub(crate) fn download(rate: NonZeroU64, idle: Duration, now: Instant) -> Self {
        let in_socket = Duration::try_from_secs_f64(IN_SOCKET / per_second(rate)).unwrap_or(Duration::MAX);
        Self::new(rate, GRACE.saturating_add(in_socket), idle, now)
    }

    fn new(rate: NonZeroU64, most: Duration, idle: Duration, now: Instant) -> Self {
        let rate = per_second(rate);
        Self { rate, most, left: GRACE, since: None, moved: 0, idle, idle_until: later(now, idle) }
    }

    /// So many bytes have moved by now, and it is or is not the client that everyone waits for: sets the deadline.
    pub(crate) fn look(&mut self, moved: u64, waits_for_client: bool, watch: &Watch, phase: Phase) {
        watch.begin_until(phase, self.deadline(moved, waits_for_client, Instant::now()));
    }

    fn deadline(&mut self, moved: u64, waits_for_client: bool, now: Instant) -> Instant {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(now.saturating_duration_since(since));
        }
        let fresh = moved.saturating_sub(self.moved);
        if fresh > 0 {
            self.moved = moved;
            self.idle_until = later(now, self.idle);
            #[expect(clippy::cast_precision_loss, reason = "bytes stay far below 2^53")]
            let earned = Duration::try_from_secs_f64(fresh as f64 / self.rate).unwrap_or(Duration::MAX);
            self.left = self.left.saturating_add(earned).min(self.most);
        }
        if !waits_for_client {
            return self.idle_until;
        }
        self.since = Some(now);
        self.idle_until.min(later(now, self.left))
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates stay far below 2^53")]
fn per_second(rate: NonZeroU64) -> f64 {
    rate.get() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU64 = NonZeroU64::new(1000).unwrap();
    const IDLE: Duration = Duration::from_secs(60);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_trickle_runs_out_of_time_and_the_rate_does_not() {
        let start = Instant::now();
        for (bytes, cut_at) in [(100, Some(6)), (900, Some(41)), (1000, None)] {
            let mut pace = Pace::upload(RATE, IDLE, start);
            let mut deadline = pace.deadline(0, true, start);
            let cut = (1..100).find(|second| {
                let now = start + seconds(*second);
                let is_late = now >= deadline;
                deadline = pace.deadline(second * bytes, true, now);
                is_late
            });
            assert_eq!(cut, cut_at, "{bytes} bytes a second");
        }
    }

    #[test]
    fn time_spent_on_the_other_side_is_not_the_clients() {
        let start = Instant::now();
        let mut pace = Pace::upload(RATE, IDLE, start);
        assert_eq!(pace.deadline(0, false, start), start + IDLE);
        let later = start + seconds(50);
        assert_eq!(pace.deadline(1, true, later), later + GRACE);
        assert_eq!(pace.deadline(1, false, later + seconds(4)), later + IDLE);
        assert_eq!(pace.deadline(1, true, later + seconds(30)), later + seconds(31));
    }

    #[test]
    fn a_fast_start_buys_no_slow_end() {
        let start = Instant::now();
        let mut pace = Pace::upload(RATE, IDLE, start);
        pace.deadline(1_000_000, true, start);
        assert_eq!(pace.deadline(1_000_000, true, start), start + GRACE);
    }
}
