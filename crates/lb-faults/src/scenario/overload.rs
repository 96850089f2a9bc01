//! More than the backends can bear: those who are served are served quickly, and as many as ever.

use super::Scale;
use crate::load::Load;
use crate::record::{Outcome, percentile};
use crate::report::{Goal, right_latencies};
use crate::stage::Stage;
use crate::time::in_millis;

/// Three backends with four places and 40 ms a request.
const CAPACITY: u32 = 3 * 4 * 1000 / 40;

/// With a limit for each backend, and a short queue behind it.
pub(super) fn queued(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let mut goals = thrice(stage, scale);
    let places = stage.ledgers().iter().flatten().map(|entry| entry.in_hand).max().unwrap_or(0);
    goals.push(Goal::at_most("requests that a backend had in hand", 4, places));
    goals
}

/// With three steps: little, somewhat more than can be done, and three times as much.
pub(super) fn thrice(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let (_, unloaded) = step(stage, scale, 3);
    let (peak, _) = step(stage, scale, 13);
    let (goodput, p99) = step(stage, scale, 30);
    vec![
        Goal::timed(
            "answers a second at three times the load",
            format!("≥ {:.0} (90 % of {peak:.0})", peak * 0.9),
            format!("{goodput:.0} ({:.0} %)", goodput * 100.0 / peak.max(1.0)),
            goodput >= peak * 0.9,
        ),
        Goal::timed(
            "p99 of those that were served",
            format!("≤ {:.0} ms (3 × {unloaded:.0})", unloaded * 3.0),
            format!("{p99:.0} ms"),
            p99 <= unloaded * 3.0,
        ),
    ]
}

/// Right answers a second, and the p99 of their latency, at so many tenths of the capacity.
fn step(stage: &mut Stage, scale: &Scale, tenths: u32) -> (f64, f64) {
    let load = Load { rate: CAPACITY * tenths / 10, ..scale.load(1.0) };
    let running = stage.begin(load);
    let range = stage.finish(running);
    let records = &stage.records[range];
    let right = records.iter().filter(|record| record.outcome == Outcome::Right).count();
    let p99 = in_millis(percentile(right_latencies(records), 990));
    (right as f64 / load.time.as_secs_f64(), p99)
}
