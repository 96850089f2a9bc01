//! Backends that are gone: killed, restarted, frozen, all out at once.

use std::time::Duration;

use super::{Scale, no_failed_get};
use crate::behaviour::Behaviour;
use crate::record::percentile;
use crate::report::{Goal, right_latencies};
use crate::stage::Stage;
use crate::time::{in_micros, in_millis, micros};

pub(super) fn kill(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(3.0));
    scale.wait(1.5);
    let at = stage.fault_begins();
    stage.fleet.kill(0);
    stage.finish(load);
    vec![no_failed_get(stage), next_second(stage, at)]
}

/// The p99 of the second after a fault against that of the time before it.
fn next_second(stage: &Stage, fault: u64) -> Goal {
    let p99 = |latencies| in_millis(percentile(latencies, 990));
    let before = p99(right_latencies(stage.before(fault)));
    let after = p99(right_latencies(stage.second_after(fault)));
    let found = format!("{after:.1} after {before:.1} ms");
    Goal::timed("p99 of the next second", format!("≤ {:.1} ms", before * 2.0), found, after <= before * 2.0)
}

pub(super) fn restart(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(1.0);
    stage.fault_begins();
    stage.fleet.kill(0);
    scale.wait(1.0);
    stage.fleet.restart(0);
    stage.has_recovered(0);
    stage.finish(load);
    vec![no_failed_get(stage), Goal::holds("it serves again", stage.serves_again(0))]
}

pub(super) fn flap(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(0.5);
    stage.fault_begins();
    for _ in 0..6 {
        stage.fleet.kill(0);
        scale.wait(0.25);
        stage.fleet.restart(0);
        stage.has_recovered(0);
        scale.wait(0.25);
    }
    stage.finish(load);
    vec![no_failed_get(stage), Goal::holds("it serves again", stage.serves_again(0))]
}

/// As the setup has them.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

pub(super) fn freeze(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(1.0);
    stage.fault_begins();
    stage.fleet.freeze(0);
    scale.wait(2.0);
    stage.fleet.thaw(0);
    stage.has_recovered(0);
    stage.finish(load);
    let again = Goal::holds("it serves again", stage.serves_again(0));
    vec![no_failed_get(stage), longest(stage), again]
}

/// Nobody waits for longer than one attempt that failed and one that did not. What cannot be sent again has its error by then.
pub(super) fn longest(stage: &Stage) -> Goal {
    let longest = stage.records.iter().map(|record| record.latency).max().unwrap_or(0);
    let retry = percentile(right_latencies(&stage.records), 500);
    // A tenth of a second is for the machine, which has two dozen other things to do.
    let limit = in_micros(ATTEMPT_TIMEOUT) + retry + SECOND / 10;
    let (wanted, found) = (format!("≤ {:.0} ms", in_millis(limit)), format!("{:.0} ms", in_millis(longest)));
    Goal::timed("the longest that a request waited", wanted, found, longest <= limit)
}

pub(super) fn outage(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(5.0));
    scale.wait(1.0);
    let begin = stage.fault_begins();
    stage.fleet.all_behave(&Behaviour::Reset);
    scale.wait(3.0);
    stage.fleet.all_behave(&Behaviour::Well);
    let end = stage.has_recovered(0);
    stage.finish(load);

    let (sent, retries) = retried(stage, begin, end);
    let mut added = Goal::at_most("requests that retries added", sent / 5, retries);
    added.wanted = format!("≤ {} (20 %)", sent / 5);
    added.found = format!("{retries} to {sent} ({:.1} %)", retries as f64 * 100.0 / sent.max(1) as f64);
    let late = stage.records.iter().filter(|record| record.due > end + 500_000 && record.failed()).count();
    let late = Goal::at_most("failures half a second after its end", 0, late);
    vec![added, late, served_before(stage, begin)]
}

const SECOND: u64 = 1_000_000;

/// How many requests were due in a time, and how often they arrived beyond once each.
pub(super) fn retried(stage: &Stage, begin: u64, end: u64) -> (usize, usize) {
    let due: Vec<u64> = stage
        .records
        .iter()
        .filter(|record| (begin..end).contains(&record.due))
        .map(|record| record.id)
        .collect();
    let ledgers = stage.ledgers();
    let received = ledgers.iter().flatten().filter(|entry| due.binary_search(&entry.id).is_ok()).count();
    (due.len(), received.saturating_sub(due.len()))
}

fn served_before(stage: &Stage, fault: u64) -> Goal {
    assert!(fault <= micros());
    Goal::at_most("failures before it", 0, stage.before(fault).filter(|record| record.failed()).count())
}
