//! The access log, alerts and traces.

use lb_observe::access_log::Field;

use super::{Context, tls};
use crate::loaded::{AccessLogConfig, AlertsConfig, Called, TracingConfig};
use crate::suggest;
use crate::written::observe::{AccessLog, Tracing};
use crate::written::root::Alerts;
use crate::written::upstream::BackendTls;
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
    let Alerts { webhook, tls } = &written?.value;
    let expected = Expected { what: "webhook", example: "http://127.0.0.1:9000/alerts" };
    Some(AlertsConfig { webhook: called(context, webhook.as_ref()?, tls.as_ref(), &expected)? })
}

/// Where spans are sent, and the share of requests that have any.
pub(super) fn tracing(
    context: &mut Context<'_>,
    written: Option<&At<Tracing>>,
) -> Option<(TracingConfig, f64)> {
    let written = &written?.value;
    let share = match &written.sample {
        Some(sample) => context.fraction(sample),
        None => Some(1.0),
    };
    let expected = Expected { what: "collector", example: "http://127.0.0.1:4318" };
    let endpoint = called(context, written.endpoint.as_ref()?, written.tls.as_ref(), &expected)?;
    Some((TracingConfig { endpoint, service_name: written.service_name.clone() }, share?))
}

/// What a URL is for, to say it where it is none.
struct Expected {
    what: &'static str,
    example: &'static str,
}

/// A URL with a host, and how it is believed.
fn called(
    context: &mut Context<'_>,
    written: &At<String>,
    tls: Option<&At<BackendTls>>,
    expected: &Expected,
) -> Option<Called> {
    let url = written.value.parse::<http::Uri>().ok();
    let host = url.as_ref().and_then(http::Uri::host).map(|host| host.trim_matches(['[', ']']).to_owned());
    match (url, host) {
        (Some(url), Some(host)) if matches!(url.scheme_str(), Some("http" | "https")) => {
            let is_secure = url.scheme_str() == Some("https");
            let tls = tls::called(context, written.id, (&host, is_secure), tls).ok()?;
            Some(Called { url, tls })
        }
        _ => {
            let message = format!("{} is not the URL of a {}", context.quote(written.id), expected.what);
            context
                .error(written.id, message, "not an http URL")
                .help(format!("write a URL such as \"{}\"", expected.example));
            None
        }
    }
}

/// Fields that every line has.
const FIXED_FIELDS: [&str; 4] = ["time", "level", "msg", "component"];

fn known_fields(context: &mut Context<'_>, written: &List<String>) -> Vec<String> {
    let mut fields = Vec::new();
    for field in written.iter() {
        if FIXED_FIELDS.contains(&field.value.as_str()) || field.value.parse::<Field>().is_ok() {
            fields.push(field.value.clone());
            continue;
        }
        let known: Vec<&str> = FIXED_FIELDS.into_iter().chain(Field::ALL.map(Field::name)).collect();
        let help = suggest::did_you_mean(&field.value, known.iter().copied())
            .unwrap_or_else(|| format!("fields are {}", suggest::list(&known, "and")));
        let message = format!("the access log has no field {}", context.quote(field.id));
        context.error(field.id, message, "unknown field").help(help);
    }
    fields
}
