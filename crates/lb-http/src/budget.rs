//! How much further load retries may be: a share of the requests that an upstream answers, over the whole process.
//!
//! Requests that fail earn nothing, as in gRPC's throttling of retries (proposal A6): while some are answered a retry has a
//! chance, and in a total outage there is nothing but what the last second before it has earned. So an outage never sees more
//! than the share, and the longer it lasts the less.
//!
//! Cost: nothing to a request that is not retried. The backends count their requests anyway; a retry looks how many
//! were answered of late, at most a hundred times a second, and draws on them with one atomic update. What was earned
//! and not used decays within seconds, so that a calm night does not pay for a storm in the morning.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long an answer is remembered.
const MEMORY: Duration = Duration::from_secs(1);
/// From one look at the requests to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Retries that even an upstream without traffic may make, and how many of them come back in a second.
const FLOOR: f64 = 10.0;
const FLOOR_RATE: f64 = 1.0;
/// Everything is counted in thousandths.
const UNIT: f64 = 1000.0;

/// One upstream's budget. `Relaxed` throughout: every figure stands for itself.
#[derive(Debug)]
pub(crate) struct Budget {
    origin: Instant,
    /// When answers were last looked at, in nanoseconds from `origin`.
    looked: AtomicU64,
    /// The most there had been by then: a reading beside other workers may be a few off, and none must earn twice.
    seen: AtomicU64,
    /// Answers of late that no retry has drawn on.
    answers: AtomicU64,
    /// Retries that are free whatever the traffic.
    floor: AtomicU64,
    /// Attempts beside another one of the same request.
    rivals: AtomicU64,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: now,
            looked: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            floor: AtomicU64::new(units(FLOOR)),
            rivals: AtomicU64::new(0),
        }
    }

    /// The same for other backends, which have answered so many by now: what was earned stays.
    pub(crate) fn resumed(&self, answered: u64) -> Self {
        let copy = |figure: &AtomicU64| AtomicU64::new(figure.load(Relaxed));
        Self {
            origin: self.origin,
            looked: copy(&self.looked),
            seen: AtomicU64::new(answered),
            answers: copy(&self.answers),
            floor: copy(&self.floor),
            rivals: AtomicU64::new(0),
        }
    }

    /// Draws one retry. `share` is how many there may be for each request that was answered, and `answered` tells how many
    /// attempts ever were.
    pub(crate) fn draw(&self, share: f64, now: Instant, answered: impl FnOnce() -> u64) -> bool {
        if share <= 0.0 {
            return false;
        }
        self.look(now, answered);
        take(&self.answers, units(1.0 / share)) || take(&self.floor, units(1.0))
    }

    /// A second backend is asked beside the first: one of two attempts that are answered earns nothing.
    pub(crate) fn count_rival(&self) {
        self.rivals.fetch_add(1, Relaxed);
    }

    /// Gives back what was drawn for a retry that was not made.
    pub(crate) fn give_back(&self, share: f64) {
        self.answers.fetch_add(units(1.0 / share), Relaxed);
    }

    fn look(&self, now: Instant, answered: impl FnOnce() -> u64) {
        let at = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        let last = self.looked.load(Relaxed);
        let since = Duration::from_nanos(at.saturating_sub(last));
        let is_ours =
            since >= LOOK_INTERVAL && self.looked.compare_exchange(last, at, Relaxed, Relaxed).is_ok();
        if !is_ours {
            return;
        }
        let total = answered().saturating_sub(self.rivals.load(Relaxed));
        let fresh = total.saturating_sub(self.seen.fetch_max(total, Relaxed));
        // Of a long time only the part that is remembered counts.
        let remembered = (MEMORY.as_secs_f64() / since.as_secs_f64()).min(1.0);
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
        let fresh = fresh as f64 * remembered;
        let kept = (-since.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        change(&self.answers, |left| left * kept + fresh);
        change(&self.floor, |left| (left + since.as_secs_f64() * FLOOR_RATE).min(FLOOR));
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is too large to be counted is as good as the largest number"
)]
fn units(number: f64) -> u64 {
    (number * UNIT) as u64
}

fn take(from: &AtomicU64, amount: u64) -> bool {
    from.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount)).is_ok()
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn change(figure: &AtomicU64, change: impl Fn(f64) -> f64) {
    let _ = figure.fetch_update(Relaxed, Relaxed, |left| Some(units(change(left as f64 / UNIT))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a retry of every request over so many milliseconds, at so many answers a millisecond.
    fn storm(budget: &Budget, start: Instant, from: u64, millis: u64, rate: u64, share: f64) -> u64 {
        let mut granted = 0;
        for millisecond in 0..millis {
            let now = start + Duration::from_millis(millisecond);
            for request in 1..=rate {
                let total = from + millisecond * rate + request;
                granted += u64::from(budget.draw(share, now, || total));
            }
        }
        granted
    }

    #[test]
    fn in_a_storm_no_more_is_granted_than_the_share_and_the_floor() {
        let start = Instant::now();
        for (rate, share) in [(1, 0.2), (10, 0.2), (100, 0.1), (10, 1.0)] {
            let budget = Budget::new(start);
            let granted = storm(&budget, start, 0, 10_000, rate, share) as f64;
            let requests = (10_000 * rate) as f64;
            assert!(granted <= requests * share + 21.0, "{granted} of {requests} at {share}");
            assert!(granted >= requests * share * 0.9, "{granted} of {requests} at {share}");
        }
    }

    #[test]
    fn a_calm_hour_is_worth_a_second_of_requests() {
        let start = Instant::now();
        let budget = Budget::new(start);
        let hour = 3600;
        let later = start + Duration::from_secs(hour);
        // A thousand a second, and then none.
        let granted = (0..10_000).filter(|_| budget.draw(0.2, later, || hour * 1000)).count();
        assert_eq!(granted, 200 + 10);
    }

    #[test]
    fn without_traffic_there_is_the_floor_and_it_comes_back_slowly() {
        let start = Instant::now();
        let budget = Budget::new(start);
        let granted = |seconds| {
            let now = start + Duration::from_secs(seconds);
            (0..100).filter(|_| budget.draw(0.2, now, || 0)).count()
        };
        assert_eq!((granted(0), granted(1), granted(3), granted(1000)), (10, 1, 2, 10));
    }

    #[test]
    fn in_a_total_outage_there_is_what_the_second_before_has_earned_and_the_floor() {
        let start = Instant::now();
        let budget = Budget::new(start);
        // A thousand a second are answered, and then none; a few that are still counted as under way come and go.
        let granted = (0..20_000_u64)
            .filter(|millisecond| {
                let now = start + Duration::from_secs(10) + Duration::from_millis(*millisecond);
                budget.draw(0.2, now, || 10_000 - millisecond % 3)
            })
            .count();
        // Some of it is forgotten before it is asked for.
        assert!((200..=200 + 10 + 19).contains(&granted), "{granted}");
    }

    #[test]
    fn a_second_attempt_beside_the_first_earns_nothing() {
        let start = Instant::now();
        let budget = Budget::new(start);
        (0..50).for_each(|_| budget.count_rival());
        let granted = (0..100).filter(|_| budget.draw(0.2, start + Duration::from_secs(1), || 150)).count();
        assert_eq!(granted, 20 + 10);
    }

    #[test]
    fn other_backends_are_counted_from_where_they_stand_and_what_was_earned_stays() {
        let start = Instant::now();
        let budget = Budget::new(start);
        assert!(budget.draw(0.2, start + Duration::from_secs(1), || 100));
        let granted = |answered: u64| {
            let budget = budget.resumed(answered);
            (0..1000).filter(|_| budget.draw(0.2, start + Duration::from_secs(1), || answered)).count()
        };
        assert_eq!((granted(5), granted(1_000_000)), (19 + 10, 19 + 10));
    }

    #[test]
    fn a_budget_of_nothing_grants_nothing() {
        assert!(!Budget::new(Instant::now()).draw(0.0, Instant::now(), || 1_000_000));
    }
}
