//! What a balancer does beside its strategy: slow start and subsets.

use std::num::NonZeroUsize;
use std::time::Duration;

use lb_core::{BalancerOptions, StrategyConfig, Subset, strategy};

use super::Context;
use crate::written;
use crate::written::values::{At, Time};

/// What an upstream, or a rule with backends of its own, says. The panic threshold is the health monitor's, which knows why a
/// backend is out.
pub(super) fn options(
    context: &mut Context<'_>,
    strategy: &StrategyConfig,
    slow_start: Option<&At<Time>>,
    subset: Option<&At<written::upstream::Subset>>,
) -> BalancerOptions {
    BalancerOptions {
        slow_start: slow_start.map(|time| slow_start_of(context, strategy, time)),
        panic_threshold: None,
        subset: subset.and_then(|subset| subset_of(context, subset)),
    }
}

fn slow_start_of(context: &mut Context<'_>, strategy: &StrategyConfig, time: &At<Time>) -> Duration {
    if let Some(info) = strategy::find(&strategy.name).ok().filter(|info| !info.weighted) {
        let name = info.name;
        let message = format!("`slow_start` works through weights, and `{name}` heeds none");
        context.warning_at_key(time.id, message, "no effect").help(
            "take a strategy that does, such as \"weighted_round_robin\", which is round robin where weights are equal",
        );
    }
    time.value.0
}

fn subset_of(context: &mut Context<'_>, written: &At<written::upstream::Subset>) -> Option<Subset> {
    let size = match &written.value.size {
        Some(size) => context.at_least_one(size, "it is how many backends this gateway uses"),
        None => {
            context
                .error_at_key(written.id, "`subset` does not say how many backends it has", "no `size`")
                .help("write `subset = { size = 20, client = 0 }`, with another `client` in each gateway, from 0");
            None
        }
    };
    let size = NonZeroUsize::try_from(size?).ok()?;
    Some(Subset { client: written.value.client.unwrap_or(0).into(), size })
}
