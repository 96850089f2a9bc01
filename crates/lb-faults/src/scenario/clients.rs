//! Clients that misbehave while backends are well: nobody else may notice, and no backend may be blamed.

use std::time::Duration;

use super::Scale;
use crate::conduct::Conduct;
use crate::load::Load;
use crate::report::Goal;
use crate::stage::Stage;
use crate::time::{in_micros, in_millis};

pub(super) fn unruly(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(Load { unruly: 0.5, ..scale.load(4.0) });
    stage.finish(load);
    let failed = stage.records.iter().filter(|record| record.failed()).count();
    vec![
        Goal::at_most("patient clients that were failed", 0, failed),
        Goal::at_most("backends that were blamed", 0, stage.said("backend unhealthy")),
    ]
}

/// What a client is given before it must have moved something, what the kernel's buffers are worth at the rate, and a second
/// for the machine.
const BOUND: Duration = Duration::from_millis(5000 + 500 + 1000);

pub(super) fn endless(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = Load { unruly: 0.01, manners: Conduct::ENDLESS, ..scale.load(4.0) };
    let running = stage.begin(load);
    stage.finish(running);
    let endless: Vec<_> =
        stage.records.iter().filter(|record| Conduct::ENDLESS.contains(&record.conduct)).collect();
    let longest = endless.iter().map(|record| record.latency).max().unwrap_or(0);
    let failed = stage.records.iter().filter(|record| record.failed()).count();
    let counted = stage.metric("gatewayd_clients_stalled_total{rule=\"app\"}");
    vec![
        Goal::holds("there were some that would have stayed", !endless.is_empty()),
        Goal::timed(
            "the longest that one was kept",
            format!("≤ {} ms", BOUND.as_millis()),
            format!("{:.0} ms", in_millis(longest)),
            longest <= in_micros(BOUND),
        ),
        Goal::equal("those that were given up, by the gateway's own count", endless.len(), counted),
        Goal::at_most("patient clients that were failed", 0, failed),
        Goal::at_most("backends that were blamed", 0, stage.said("backend unhealthy")),
    ]
}
