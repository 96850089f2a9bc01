//! The monitor against the rules as plainly as they can be put, over generated histories.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{backends, listen, watch, with_probe};
use crate::event::{Change, FailureKind};

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    Good(usize),
    Bad(usize),
    Probe(usize, bool),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0_usize..3).prop_map(Step::Good),
        8 => (0_usize..3).prop_map(Step::Bad),
        3 => (0_usize..3, any::<bool>()).prop_map(|(at, good)| Step::Probe(at, good)),
        1 => (0_u64..20).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

/// The rules, as plainly as they can be put.
#[derive(Default, Clone)]
struct Model {
    row: u64,
    ejected: Option<u64>,
    /// Would be ejected, were there another.
    failing: bool,
    probes: Vec<bool>,
    down: bool,
}

impl Model {
    fn healthy(&self) -> bool {
        !self.down && self.ejected.is_none()
    }

    fn dependable(&self) -> bool {
        self.healthy() && !self.failing
    }
}

proptest! {
    #[test]
    fn the_monitor_does_what_the_rules_say_and_tells_each_change_once(steps in steps()) {
        let backends = backends(3);
        let monitor = watch(&backends, &with_probe());
        let kept = listen(&monitor);
        let (start, mut clock) = (Instant::now(), 0);
        let mut models = vec![Model::default(); 3];
        for step in steps {
            let now = start + Duration::from_secs(clock);
            match step {
                Step::Good(at) => {
                    monitor.succeeded(at, now);
                    let deserted = !models.iter().any(Model::dependable);
                    let model = &mut models[at];
                    (model.row, model.failing) = (0, false);
                    model.ejected = model.ejected.filter(|_| !deserted);
                }
                Step::Bad(at) => {
                    monitor.failed(at, FailureKind::Reset, now);
                    let spare = models.iter().enumerate().any(|(other, model)| other != at && model.dependable());
                    let model = &mut models[at];
                    if model.ejected.is_none() {
                        model.row += 1;
                        if model.row % 5 == 0 {
                            model.ejected = spare.then_some(clock + 30);
                            model.failing = !spare;
                        }
                    }
                }
                Step::Probe(at, good) => {
                    monitor.probed(at, if good { Ok(()) } else { Err(String::new()) }, now);
                    let model = &mut models[at];
                    model.probes.push(good);
                    let ends_with = |run: &[bool]| model.probes.ends_with(run);
                    model.down = if model.down { !ends_with(&[true; 2]) } else { ends_with(&[false; 3]) };
                    if ends_with(&[false, true, true]) {
                        (model.ejected, model.failing) = (None, false);
                    }
                }
                Step::Wait(seconds) => {
                    clock += seconds;
                    monitor.tick(start + Duration::from_secs(clock));
                    for model in &mut models {
                        model.ejected = model.ejected.filter(|until| *until > clock);
                    }
                }
            }
            monitor.settle(now);
            let deserted = !models.iter().any(Model::dependable);
            let used: Vec<bool> = models.iter().map(|model| model.healthy() || deserted && !model.down).collect();
            prop_assert_eq!(&used, &backends.iter().map(|backend| backend.is_healthy()).collect::<Vec<_>>());
            prop_assert_eq!(monitor.balancer().eligible(), used.iter().filter(|used| **used).count());
        }
        for (at, model) in models.iter().enumerate() {
            let told = kept.0.lock().unwrap();
            let mut own = told.iter().filter(|(backend, _)| backend == backends[at].name());
            let mut healthy = true;
            let alternate = own.all(|(_, change)| {
                healthy = !healthy;
                *change == if healthy { Change::Recovered } else { Change::Unhealthy }
            });
            prop_assert!(alternate);
            prop_assert_eq!(healthy, model.healthy());
        }
    }
}
