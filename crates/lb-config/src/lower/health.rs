//! What keeps failure from clients: checks of what is written, and what it means.

mod watch;

pub(super) use watch::{Watch, Written};

use super::Context;
use crate::written::health::{CircuitBreaker, HealthCheck, Passive};
use crate::written::upstream::Upstream;
use crate::written::values::{At, SwitchOr};

pub(super) fn check_upstream(context: &mut Context<'_>, upstream: &Upstream) {
    check_switch(context, upstream.health_check.as_ref());
    check_passive(context, upstream.passive.as_ref());
    check_breaker(context, upstream.circuit_breaker.as_ref());
    if let Some(threshold) = &upstream.panic_threshold {
        context.fraction(threshold);
    }
}

pub(super) fn check_switch(context: &mut Context<'_>, written: Option<&At<SwitchOr<HealthCheck>>>) {
    let Some(At { value: SwitchOr::Table(table), .. }) = written else { return };
    check_path(context, table.path.as_ref());
    for count in
        [&table.retry_count, &table.healthy_threshold, &table.unhealthy_threshold].into_iter().flatten()
    {
        context.at_least_one(count, "it counts from the first: 1 acts at once");
    }
    if let (Some(interval), Some(default)) = (&table.interval, &table.default_interval) {
        let first = context.key_place(interval.id);
        context
            .error_at_key(default.id, "`interval` and `default_interval` are one key", "the second")
            .also(first, "the first")
            .help("keep one of them");
    }
    if let Some(expect) = table.expect.as_ref().filter(|expect| !is_status_list(&expect.value)) {
        let message = format!(
            "`expect` names the statuses of a healthy backend, and {} does not",
            context.quote(expect.id)
        );
        context
            .error(expect.id, message, "not statuses")
            .help("write \"200-299\", \"200\" or \"200,204,301-308\"");
    }
}

pub(super) fn check_path(context: &mut Context<'_>, path: Option<&At<String>>) {
    let Some(path) = path.filter(|path| !path.value.starts_with('/')) else { return };
    let message = format!("{} is not a path: it does not begin with `/`", context.quote(path.id));
    context.error(path.id, message, "no leading `/`").help("write a path such as \"/health\"");
}

pub(super) fn check_passive(context: &mut Context<'_>, written: Option<&At<SwitchOr<Passive>>>) {
    if let Some(At { value: SwitchOr::Table(table), .. }) = written
        && let Some(count) = &table.consecutive_failures
    {
        context.at_least_one(count, "it counts from the first: 1 acts at once");
    }
}

pub(super) fn check_breaker(context: &mut Context<'_>, written: Option<&At<SwitchOr<CircuitBreaker>>>) {
    let Some(At { value: SwitchOr::Table(table), .. }) = written else { return };
    for count in [&table.failure_threshold, &table.half_open_max_calls].into_iter().flatten() {
        context.at_least_one(count, "it counts from the first: 1 acts at once");
    }
}

fn is_status_list(text: &str) -> bool {
    let status = |text: &str| text.trim().parse::<u16>().ok().filter(|status| (100..600).contains(status));
    text.split(',').all(|part| match part.split_once('-') {
        Some((from, to)) => status(from).zip(status(to)).is_some_and(|(from, to)| from <= to),
        None => status(part).is_some(),
    })
}
