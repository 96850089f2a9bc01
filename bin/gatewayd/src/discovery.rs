//! Puts in force what is discovered, and counts how its sources do.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lb_discovery::Discovery;
use lb_observe::SourceState;
use lb_observe::control::discovered;

use crate::reload::{Cause, Reloading};

/// How long a source that is new may take for its first answer before its upstream is in force without.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// Changes within this time are one.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long after a change that could not be put in force the next try is.
const RETRY: Duration = Duration::from_secs(5);
/// How often the figures are brought up to date.
const FIGURES: Duration = Duration::from_secs(1);

/// Puts each change of members in force, for as long as it is polled.
pub(crate) async fn follow(reloading: Arc<Reloading>) {
    loop {
        reloading.discovery().changed().await;
        loop {
            tokio::time::sleep(TOGETHER).await;
            let discovery = Arc::clone(reloading.discovery());
            let changed = reloading.change(Cause::Discovery, move |effective| {
                effective.rediscover(&discovery);
                Ok(())
            });
            // What is wrong with it has been said.
            if changed.await.is_ok() {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Keeps the figures of sources, for as long as it is polled.
pub(crate) async fn keep_figures(discovery: Arc<Discovery>) {
    let mut before: HashMap<(String, &'static str), SourceState> = HashMap::new();
    loop {
        let states = discovery.states().into_iter();
        let now: HashMap<_, _> = states.map(|state| ((state.upstream.clone(), state.kind), state)).collect();
        for (key, state) in &now {
            discovered(state, before.get(key));
        }
        before = now;
        tokio::time::sleep(FIGURES).await;
    }
}
