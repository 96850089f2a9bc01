//! A gateway that is changed under load, so that nobody notices anything.

use super::Scale;
use crate::report::Goal;
use crate::stage::Stage;

const UPGRADES: usize = 3;

/// Another process takes over, and another one after it.
pub(super) fn upgrade(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(0.5);
    for _ in 0..UPGRADES {
        stage.fault_begins();
        stage.upgrade();
        scale.wait(1.0);
    }
    stage.finish(load);
    let failed = stage.records.iter().filter(|record| record.failed()).count();
    let served = stage.said("another process serves");
    vec![
        Goal::at_most("requests that failed", 0, failed),
        Goal::at_most("backends that were blamed", 0, stage.said("backend unhealthy")),
        Goal::holds("every process took over", served == UPGRADES),
    ]
}
