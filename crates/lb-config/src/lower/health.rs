//! What keeps failure from clients: checks of what is written, and what it means.

mod watch;

pub(super) use watch::{Watch, Written};

use lb_health::StatusSet;

use super::Context;
use crate::written::health::{CircuitBreaker, HealthCheck, Passive, Probe};
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
    if let Some(expect) = &table.expect
        && let Err(error) = expect.value.parse::<StatusSet>()
    {
        let message = format!(
            "`expect` names the statuses of a healthy backend, and {} does not",
            context.quote(expect.id)
        );
        context
            .error(expect.id, message, error.to_string())
            .help("write \"200-299\", \"200\" or \"200,204,301-308\"");
    }
    check_kind(context, table);
}

/// What only some types of probe can be told.
fn check_kind(context: &mut Context<'_>, table: &HealthCheck) {
    if let Some(host) = &table.host
        && (host.value.is_empty() || !host.value.bytes().all(|byte| byte.is_ascii_graphic()))
    {
        let message = format!("{} is no host", context.quote(host.id));
        context.error(host.id, message, "not a host").help("write a host such as \"app.internal\"");
    }
    let Some(At { value: kind, .. }) = table.kind else { return };
    let keys = [
        ("path", table.path.as_ref().map(|at| at.id), &[Probe::Http][..]),
        ("expect", table.expect.as_ref().map(|at| at.id), &[Probe::Http]),
        ("host", table.host.as_ref().map(|at| at.id), &[Probe::Http, Probe::Grpc]),
        ("service", table.service.as_ref().map(|at| at.id), &[Probe::Grpc]),
    ];
    let name = match kind {
        Probe::Http => "http",
        Probe::Tcp => "tcp",
        Probe::Grpc => "grpc",
    };
    for (key, id, kinds) in keys {
        let Some(id) = id.filter(|_| !kinds.contains(&kind)) else { continue };
        context
            .error_at_key(id, format!("a probe of type \"{name}\" has no `{key}`"), "not for this type")
            .help("leave it out, or change `type`");
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
