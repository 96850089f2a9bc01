//! One backend of three that is there and does wrong.

use std::time::Duration;

use super::loss::longest;
use super::{Scale, no_failed_get};
use crate::behaviour::Behaviour;
use crate::record::Outcome;
use crate::report::Goal;
use crate::stage::Stage;

/// Well for a unit, ill for two, well again.
fn ill(stage: &mut Stage, scale: &Scale, behaviour: &Behaviour) {
    let load = stage.begin(scale.load(4.0));
    scale.wait(1.0);
    stage.fault_begins();
    stage.fleet.behave(0, behaviour);
    scale.wait(2.0);
    stage.fleet.behave(0, &Behaviour::Well);
    stage.has_recovered(0);
    stage.finish(load);
}

fn serves_again(stage: &mut Stage) -> Goal {
    Goal::holds("it serves again", stage.serves_again(0))
}

pub(super) fn slow(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    ill(stage, scale, &Behaviour::Slow(Duration::from_secs(2)));
    vec![no_failed_get(stage), longest(stage), serves_again(stage)]
}

pub(super) fn silent(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    ill(stage, scale, &Behaviour::Silent);
    vec![no_failed_get(stage), longest(stage), serves_again(stage)]
}

pub(super) fn reset(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    ill(stage, scale, &Behaviour::Reset);
    vec![no_failed_get(stage), serves_again(stage)]
}

pub(super) fn reset_mid_head(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    ill(stage, scale, &Behaviour::ResetMidHead);
    vec![no_failed_get(stage), few_failed(stage), serves_again(stage)]
}

pub(super) fn reset_mid_body(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    ill(stage, scale, &Behaviour::ResetMidBody);
    let cut = stage.records.iter().filter(|record| record.outcome == Outcome::Cut).count();
    let backend = &stage.fleet.urls()[0];
    let counted = stage.metric(&format!(
        "gatewayd_backend_failures_total{{upstream=\"app\",backend=\"{backend}\",reason=\"upstream_reset\"}}"
    ));
    vec![
        Goal::holds("some were broken off", cut > 0),
        Goal::equal("answers that were broken off, by the gateway's own count", cut, counted),
        few_failed(stage),
        serves_again(stage),
    ]
}

/// Ejection has kept the number small of those that nothing could be done for.
fn few_failed(stage: &Stage) -> Goal {
    let failed =
        stage.records.iter().filter(|record| matches!(record.outcome, Outcome::Cut | Outcome::Honest(_)));
    // Without ejection a third of all requests of half of the time would fail.
    Goal::at_most("requests that failed for it", stage.records.len() / 12, failed.count())
}

pub(super) fn bursts(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let load = stage.begin(scale.load(4.0));
    scale.wait(0.5);
    stage.fault_begins();
    for _ in 0..6 {
        stage.fleet.behave(0, &Behaviour::Status(500));
        scale.wait(0.25);
        stage.fleet.behave(0, &Behaviour::Well);
        stage.has_recovered(0);
        scale.wait(0.25);
    }
    stage.finish(load);
    vec![no_failed_get(stage), serves_again(stage)]
}
