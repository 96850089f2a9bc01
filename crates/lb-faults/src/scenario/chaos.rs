//! Everything at once, by chance: an hour of mishaps in as little time as they can be met in.

use std::time::Duration;

use super::Scale;
use crate::behaviour::Behaviour;
use crate::load::Load;
use crate::record::Outcome;
use crate::report::Goal;
use crate::stage::Stage;

/// What is wrong with a backend.
enum Ill {
    Dead,
    Frozen,
    Misbehaving,
}

pub(super) fn chaos(stage: &mut Stage, scale: &Scale) -> Vec<Goal> {
    let mut random = fastrand::Rng::with_seed(scale.seed);
    let load = stage.begin(Load { unruly: 0.2, ..scale.load(f64::from(scale.chaos)) });
    stage.fault_begins();
    // The third stays well, so that there is always somebody who can answer.
    let mut ill: [Option<Ill>; 2] = [None, None];
    for _ in 0..scale.chaos * 5 {
        let position = random.usize(..ill.len());
        ill[position] = match ill[position].take() {
            None => Some(harm(stage, position, &mut random)),
            Some(ill) => {
                heal(stage, position, &ill);
                None
            }
        };
        scale.wait(0.2);
    }
    for (position, ill) in ill.iter().enumerate() {
        if let Some(ill) = ill {
            heal(stage, position, ill);
        }
    }
    stage.finish(load);
    let total = stage.records.len();
    let right = stage
        .records
        .iter()
        .filter(|record| matches!(record.outcome, Outcome::Right | Outcome::Left))
        .count();
    let mut goals = vec![Goal::holds("nine of ten are served all the same", right * 10 >= total * 9)];
    goals[0].found = format!("{:.1} %", right as f64 * 100.0 / total.max(1) as f64);
    let again = (0..stage.fleet.len()).all(|position| stage.serves_again(position));
    goals.push(Goal::holds("every backend serves again", again));
    goals
}

fn harm(stage: &mut Stage, position: usize, random: &mut fastrand::Rng) -> Ill {
    let behaviour = match random.u8(..9) {
        0 | 1 => {
            stage.fleet.kill(position);
            return Ill::Dead;
        }
        2 | 3 => {
            stage.fleet.freeze(position);
            return Ill::Frozen;
        }
        4 => Behaviour::Status(500),
        5 => Behaviour::ResetMidBody,
        6 => Behaviour::ResetMidHead,
        7 => Behaviour::Silent,
        _ => Behaviour::Slow(Duration::from_millis(800)),
    };
    stage.fleet.behave(position, &behaviour);
    Ill::Misbehaving
}

fn heal(stage: &mut Stage, position: usize, ill: &Ill) {
    match ill {
        Ill::Dead => stage.fleet.restart(position),
        Ill::Frozen => stage.fleet.thaw(position),
        Ill::Misbehaving => stage.fleet.behave(position, &Behaviour::Well),
    }
    stage.has_recovered(position);
}
