//! Faults that a rule injects on purpose.

use lb_policy::FaultConfig;
use lb_policy::policy::{Share, abort_status};

use super::Context;
use crate::written::policy::Fault;
use crate::written::values::At;

/// What is meant; what is wrong is said.
pub(super) fn lower(context: &mut Context<'_>, written: &At<Fault>) -> Option<FaultConfig> {
    let Fault { delay, abort, header } = &written.value;
    if delay.is_none() && abort.is_none() && header.is_none() && context.tree.is_whole(written.id) {
        context.error_at_key(written.id, "`fault` injects nothing", "neither `delay` nor `abort`").help(
            "add `delay = { duration = \"100ms\", percent = 10 }` or `abort = { status = 503, percent = 1 }`",
        );
    }
    let delay = delay.as_ref().and_then(|written| {
        let share = percent(context, written.value.percent.as_ref());
        if written.value.duration.is_none() && context.tree.is_whole(written.id) {
            context
                .error_at_key(written.id, "`delay` does not say how long", "no `duration`")
                .help("add `duration = \"100ms\"`");
        }
        Some((written.value.duration?.0, share))
    });
    let abort = abort.as_ref().and_then(|written| {
        let share = percent(context, written.value.percent.as_ref());
        let Some(status) = &written.value.status else {
            if context.tree.is_whole(written.id) {
                context
                    .error_at_key(written.id, "`abort` does not say with what", "no `status`")
                    .help("add `status = 503`");
            }
            return None;
        };
        let found = u16::try_from(status.value).ok().and_then(abort_status);
        if found.is_none() {
            let message = format!("{} is no status that a failure has", context.quote(status.id));
            context.error(status.id, message, "not an error").help("write one from 400 to 599");
        }
        Some((found?, share))
    });
    let header = header.as_ref().and_then(|written| super::policy::value_name(context, written));
    Some(FaultConfig { delay, abort, header })
}

/// All requests where nothing is said.
fn percent(context: &mut Context<'_>, written: Option<&At<f64>>) -> Share {
    let Some(percent) = super::percent(context, written) else { return Share::ALL };
    let share = Share::of_percent(percent);
    if let Some(written) = written.filter(|_| percent > 0.0 && share == Share::NONE) {
        let message = format!("{} is never", context.quote(written.id));
        context
            .warning_at_key(written.id, message, "less than half of one in a million requests")
            .help("write 0.0001 for one in a million, or 0 for none");
    }
    share
}
