//! The access log, and the share of requests that is traced.

use super::Context;
use crate::loaded::{ACCESS_LOG_FIELDS, AccessLogConfig, AlertsConfig};
use crate::suggest;
use crate::written::observe::AccessLog;
use crate::written::root::{Alerts, Root};
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

/// Who is told of changes of health.
pub(super) fn alerts(context: &mut Context<'_>, written: Option<&At<Alerts>>) -> Option<AlertsConfig> {
    let webhook = written?.value.webhook.as_ref()?;
    let uri = webhook.value.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
    match uri {
        Some(uri) if uri.scheme_str() == Some("http") => return Some(AlertsConfig { webhook: uri }),
        Some(uri) if uri.scheme_str() == Some("https") => {
            context
                .error(webhook.id, "webhooks over TLS: not available in this version", "not available")
                .help("name an `http` URL, such as a relay on this machine");
        }
        _ => {
            let message = format!("{} is not the URL of a webhook", context.quote(webhook.id));
            context
                .error(webhook.id, message, "not an http URL")
                .help("write a URL such as \"http://127.0.0.1:9000/alerts\"");
        }
    }
    None
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
