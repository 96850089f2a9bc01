//! A backend that is taken out of service under load as an operator does it, so that nobody notices anything.

use super::Scale;
use crate::report::Goal;
use crate::stage::Stage;
use crate::time::micros;

pub(super) fn drain(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(1.0);
    stage.fault_begins();
    stage.change("drain", 0);
    // What had been given to it before is still on its way.
    scale.wait(0.4);
    let drained = micros();
    scale.wait(0.6);
    stage.fleet.kill(0);
    scale.wait(0.3);
    stage.fleet.restart(0);
    scale.wait(0.2);
    let (undrained, again) = (micros(), stage.has_recovered(0));
    stage.change("undrain", 0);
    stage.finish(load);

    let failed = stage.records.iter().filter(|record| record.failed()).count();
    let received = stage.ledgers()[0].clone();
    let meanwhile = received.iter().filter(|entry| (drained..undrained).contains(&entry.at)).count();
    vec![
        Goal::at_most("requests that failed", 0, failed),
        Goal::at_most("requests that it received while it was drained", 0, meanwhile),
        Goal::at_most("backends that were blamed", 0, stage.said("backend unhealthy")),
        Goal::holds("it served before", received.iter().any(|entry| entry.at < drained)),
        Goal::holds("it serves again", received.iter().any(|entry| entry.at >= again)),
    ]
}
