//! Clients that misbehave while backends are well: nobody else may notice, and no backend may be blamed.

use super::Scale;
use crate::load::Load;
use crate::report::Goal;
use crate::stage::Stage;

pub(super) fn unruly(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(Load { unruly: 0.5, ..scale.load(4.0) });
    stage.finish(load);
    let failed = stage.records.iter().filter(|record| record.failed()).count();
    vec![
        Goal::at_most("patient clients that were failed", 0, failed),
        Goal::at_most("backends that were blamed", 0, stage.said("backend unhealthy")),
    ]
}
