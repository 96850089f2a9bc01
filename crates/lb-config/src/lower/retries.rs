//! What is retried, how often, who waits for a free place, and how many may be under way.

use std::time::Duration;

use lb_http::config::{ConcurrencyConfig, HedgeAfter, QueueConfig, RetryConfig, RetryOn};

use super::Context;
use crate::suggest;
use crate::written::health::{Concurrency, Hedge, Queue, Retries};
use crate::written::values::{At, List, Patience};

/// Words of `retries.on` beside statuses.
const ON: &[&str] = &["connect", "reset", "timeout", "5xx"];
/// A body of this size is not kept in memory for every request that is under way.
const LARGEST_REPLAY: u64 = 16 << 20;

/// What one `retries` table says; the nearest table speaks first, key by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Meant {
    attempts: Option<u32>,
    on: Option<RetryOn>,
    budget: Option<f64>,
    attempt_timeout: Option<Duration>,
    replay_body: Option<usize>,
}

impl Meant {
    /// What was written, checked.
    pub(super) fn of(context: &mut Context<'_>, written: Option<&At<Retries>>) -> Self {
        let Some(At { value: table, .. }) = written else { return Self::default() };
        Self {
            attempts: table.attempts.as_ref().map(|attempts| attempts.value),
            on: table.on.as_ref().map(|words| on(context, words, table.attempt_timeout.is_some())),
            budget: table.budget.as_ref().and_then(|budget| context.fraction(budget)),
            attempt_timeout: table.attempt_timeout.as_ref().map(|time| time.value.0),
            replay_body: table.replay_body.as_ref().and_then(|size| {
                let fits = usize::try_from(size.value.0).ok().filter(|_| size.value.0 <= LARGEST_REPLAY);
                if fits.is_none() {
                    let message =
                        format!("a body of {} cannot be kept to be sent again", context.quote(size.id));
                    context
                        .error(size.id, message, "too large")
                        .help("it is kept in memory for every such request under way: 16MiB is the most");
                }
                fits
            }),
        }
    }

    /// What it comes to, with another table's word where this one says nothing.
    pub(super) fn or(self, other: &Self) -> RetryConfig {
        let default = RetryConfig::default();
        RetryConfig {
            attempts: self.attempts.or(other.attempts).unwrap_or(default.attempts),
            on: self.on.or_else(|| other.on.clone()).unwrap_or(default.on),
            budget: self.budget.or(other.budget).unwrap_or(default.budget),
            attempt_timeout: self.attempt_timeout.or(other.attempt_timeout),
            replay_body: self.replay_body.or(other.replay_body).unwrap_or(default.replay_body),
        }
    }
}

fn on(context: &mut Context<'_>, written: &At<List<String>>, has_attempt_timeout: bool) -> RetryOn {
    let mut on = RetryOn { reset: false, statuses: Vec::new() };
    for word in written.value.iter() {
        match word.value.as_str() {
            // Nothing was sent then, so there is no choice to make.
            "connect" => {}
            "reset" => on.reset = true,
            "timeout" if has_attempt_timeout => {}
            "timeout" => {
                context
                    .warning_at_key(
                        written.id,
                        "retries on \"timeout\" need a time: without `attempt_timeout` one attempt has all there is",
                        "without `attempt_timeout`",
                    )
                    .help("add `attempt_timeout = \"5s\"`, shorter than the rule's `timeout`");
            }
            "5xx" => on.statuses.extend(500..600),
            status => match status.parse::<u16>().ok().filter(|status| (400..600).contains(status)) {
                Some(status) => on.statuses.push(status),
                None => unknown(context, word),
            },
        }
    }
    on.statuses.sort_unstable();
    on.statuses.dedup();
    on
}

fn unknown(context: &mut Context<'_>, word: &At<String>) {
    let help = suggest::did_you_mean(&word.value, ON.iter().copied()).unwrap_or_else(|| {
        format!("good values are {} and statuses from 400 to 599", suggest::list(ON, "and"))
    });
    let message = format!("retries cannot be made on {}", context.quote(word.id));
    context.error(word.id, message, "not a known value").help(help);
}

/// Who waits for a free place.
pub(super) fn queue(written: Option<&At<Queue>>) -> QueueConfig {
    let default = QueueConfig::default();
    let Some(At { value: table, .. }) = written else { return default };
    QueueConfig {
        max_pending: table.max_pending.unwrap_or(default.max_pending),
        timeout: table.timeout.map_or(default.timeout, |time| time.0),
    }
}

/// When a second backend is asked too.
pub(super) fn hedge(context: &mut Context<'_>, written: &At<Hedge>) -> Option<HedgeAfter> {
    if let Some(max) = written.value.max.as_ref().filter(|max| max.value > 1) {
        let message = format!("`max` counts further backends, and {} are too many", context.quote(max.id));
        context.error(max.id, message, "more than 1").help("leave it out for one; 0 turns hedging off");
    }
    let Some(after) = &written.value.after else {
        if context.tree.is_whole(written.id) {
            context
                .error_at_key(written.id, "`hedge` does not say when", "no `after`")
                .help("add `after = \"p95\"`, or a time such as \"50ms\"");
        }
        return None;
    };
    let is_off = written.value.max.as_ref().is_some_and(|max| max.value == 0);
    (!is_off).then_some(match after.value {
        Patience::Fixed(after) => HedgeAfter::Fixed(after),
        Patience::P95 => HedgeAfter::P95,
    })
}

/// How many of a rule's requests may be under way at once.
pub(super) fn concurrency(context: &mut Context<'_>, written: &At<Concurrency>) -> Option<ConcurrencyConfig> {
    let is_adaptive = written.value.adaptive.unwrap_or(false);
    let max = match &written.value.max {
        Some(max) => Some(context.at_least_one(max, "leave the table out for no limit")?),
        None => None,
    };
    if max.is_none() && !is_adaptive && context.tree.is_whole(written.id) {
        context
            .error_at_key(written.id, "`concurrency` limits nothing", "neither `max` nor `adaptive`")
            .help("add `max = 100`, or `adaptive = true` to have the limit found");
        return None;
    }
    Some(ConcurrencyConfig { max, is_adaptive })
}
