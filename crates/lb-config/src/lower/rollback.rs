//! When a part of a split is taken back by itself.

use std::num::NonZeroU32;
use std::time::Duration;

use lb_http::config::RollbackConfig;

use super::Context;
use crate::written::rule::Rollback;
use crate::written::values::At;

/// What is meant; what is wrong is said.
pub(super) fn lower(context: &mut Context<'_>, written: &At<Rollback>) -> Option<RollbackConfig> {
    let Rollback { error_rate, p99, min_requests, window } = &written.value;
    if error_rate.is_none() && p99.is_none() && context.tree.is_whole(written.id) {
        context
            .error_at_key(written.id, "`split_rollback` watches nothing", "neither `error_rate` nor `p99`")
            .help("add `error_rate = 0.05` for 5 % more failures than the largest part has, or `p99 = 2.0` for twice its time");
    }
    let error_rate = error_rate.as_ref().and_then(|written| context.fraction(written));
    if let Some(p99) = p99.as_ref().filter(|it| !(it.value.is_finite() && it.value >= 1.0)) {
        let message = format!(
            "`p99` counts how many times the largest part's, and cannot be {}",
            context.quote(p99.id)
        );
        context.error(p99.id, message, "less than 1").help("write 2.0 for twice its time");
    }
    let least = Duration::from_secs(1);
    if let Some(window) =
        window.as_ref().filter(|it| it.value.0 < least || it.value.0 > RollbackConfig::LONGEST)
    {
        let message = format!("{} is no `window` to compare parts by", context.quote(window.id));
        context.error(window.id, message, "not from 1s to 1h").help("write one such as \"1m\"");
    }
    let min_requests = match min_requests {
        Some(written) => context.at_least_one(written, "leave the key out for 100")?,
        None => RollbackConfig::MIN_REQUESTS,
    };
    Some(RollbackConfig {
        error_rate,
        p99: p99.as_ref().map(|it| it.value),
        min_requests: NonZeroU32::max(min_requests, NonZeroU32::MIN),
        window: window.as_ref().map_or(RollbackConfig::WINDOW, |it| it.value.0),
    })
}
