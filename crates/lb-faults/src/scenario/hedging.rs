//! A second backend asked where the first takes long: what it is worth, what it costs, and what it must not touch. PUT and
//! POST carry bodies and are never hedged, so that they show in the same run what there was to gain.

use std::time::Duration;

use super::loss::retried;
use super::{Scale, no_failed_get};
use crate::behaviour::Behaviour;
use crate::record::{Method, percentile};
use crate::report::{Goal, right_latencies};
use crate::stage::Stage;
use crate::time::in_millis;

pub(super) fn hedged(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(1.0);
    let begin = stage.fault_begins();
    stage.fleet.behave(0, &Behaviour::Slow(Duration::from_millis(400)));
    scale.wait(2.0);
    stage.fleet.behave(0, &Behaviour::Well);
    let end = stage.has_recovered(0);
    stage.finish(load);

    let p99 = |is_hedged: fn(Method) -> bool| {
        let slow = |due| (begin..end).contains(&due);
        let records = stage.records.iter().filter(|record| slow(record.due) && is_hedged(record.method));
        in_millis(percentile(right_latencies(records), 990))
    };
    let (hedged, others) = (p99(|method| method == Method::Get), p99(|method| method != Method::Get));
    let twice = |is_hedged: fn(&str) -> bool| {
        let mut ids: Vec<u64> = stage
            .ledgers()
            .iter()
            .flatten()
            .filter(|entry| is_hedged(&entry.method))
            .map(|entry| entry.id)
            .collect();
        ids.sort_unstable();
        ids.windows(2).filter(|pair| pair[0] == pair[1]).count()
    };
    let (sent, added) = retried(stage, begin, end);
    let mut cost = Goal::at_most("requests that it added", sent / 5, added);
    cost.wanted = format!("≤ {} (20 %)", sent / 5);
    cost.found = format!("{added} to {sent} ({:.1} %)", added as f64 * 100.0 / sent.max(1) as f64);
    vec![
        no_failed_get(stage),
        Goal::timed(
            "p99 of GET, which is hedged",
            format!("≤ {:.0} ms (half of POST's and PUT's {others:.0})", others / 2.0),
            format!("{hedged:.0} ms"),
            hedged <= others / 2.0,
        ),
        Goal::holds("GETs went to a second backend", twice(|method| method == "GET") > 0),
        Goal::at_most("POSTs and PUTs that did", 0, twice(|method| method == "POST" || method == "PUT")),
        cost,
    ]
}
