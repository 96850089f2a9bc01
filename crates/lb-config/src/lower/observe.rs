//! The access log, and the share of requests that is traced.

use super::Context;
use crate::loaded::{ACCESS_LOG_FIELDS, AccessLogConfig};
use crate::suggest;
use crate::written::observe::AccessLog;
use crate::written::root::Root;
use crate::written::values::{At, List, SwitchOr};

pub(super) fn access_log(
    context: &mut Context<'_>,
    written: Option<&At<SwitchOr<AccessLog>>>,
) -> AccessLogConfig {
    let mut config = AccessLogConfig::default();
    match written.map(|written| &written.value) {
        None => {}
        Some(SwitchOr::Switch(enabled)) => config.enabled = *enabled,
        Some(SwitchOr::Table(table)) => {
            // A table that is written is meant, as everywhere.
            config.enabled = table.enabled.unwrap_or(true);
            if let Some(fields) = &table.fields {
                config.fields = Some(known_fields(context, fields));
            }
            if let Some(share) = table.sample.as_ref().and_then(|sample| context.fraction(sample)) {
                config.sample = share;
            }
        }
    }
    config
}

fn known_fields(context: &mut Context<'_>, written: &List<String>) -> Vec<String> {
    let mut fields = Vec::new();
    for field in written.iter() {
        if ACCESS_LOG_FIELDS.contains(&field.value.as_str()) {
            fields.push(field.value.clone());
            continue;
        }
        let help = suggest::did_you_mean(&field.value, ACCESS_LOG_FIELDS.iter().copied())
            .unwrap_or_else(|| format!("fields are {}", suggest::list(ACCESS_LOG_FIELDS, "and")));
        let message = format!("the access log has no field {}", context.quote(field.id));
        context.error(field.id, message, "unknown field").help(help);
    }
    fields
}

/// Shares of what is recorded that are not shares.
pub(super) fn check(context: &mut Context<'_>, root: &Root) {
    if let Some(sample) = root.tracing.as_ref().and_then(|tracing| tracing.value.sample.as_ref()) {
        context.fraction(sample);
    }
}
