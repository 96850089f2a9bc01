//! Policies of a rule: the two that change headers.

use http::{HeaderName, HeaderValue};
use lb_policy::{HeadersConfig, PolicyConfig};

use super::Context;
use crate::tree::NodeId;
use crate::written::policy::Headers;
use crate::written::rule::Rule;
use crate::written::values::{At, List, Names};

/// In their order: the request's, then the response's.
pub(super) fn policies(context: &mut Context<'_>, rule: &Rule) -> Vec<PolicyConfig> {
    let mut policies = Vec::new();
    if let Some(written) = &rule.request_headers {
        policies.push(PolicyConfig::RequestHeaders(headers(context, written)));
    }
    if let Some(written) = &rule.response_headers {
        policies.push(PolicyConfig::ResponseHeaders(headers(context, written)));
    }
    if let Some(written) = &rule.fault {
        policies.extend(super::fault::lower(context, written).map(PolicyConfig::Fault));
    }
    policies
}

fn headers(context: &mut Context<'_>, written: &Headers) -> HeadersConfig {
    let set = fields(context, written.set.as_ref());
    let add = fields(context, written.add.as_ref());
    let remove = written.remove.iter().flat_map(List::iter);
    let remove = remove.filter_map(|name| value_name(context, name)).collect();
    let rename = written.rename.iter().flat_map(|Names(names)| names);
    let rename =
        rename.filter_map(|(from, to)| key_name(context, from, to.id).zip(value_name(context, to))).collect();
    HeadersConfig { set, add, remove, rename }
}

fn fields(context: &mut Context<'_>, written: Option<&Names<String>>) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::new();
    for (name, value) in written.into_iter().flat_map(|Names(fields)| fields) {
        let name = key_name(context, name, value.id);
        fields.extend(name.zip(header_value(context, value)));
    }
    fields
}

/// A header's name that stands as a key.
pub(super) fn key_name(context: &mut Context<'_>, name: &str, id: NodeId) -> Option<HeaderName> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| {
            let message = format!("{} cannot be the name of a header", crate::tree::quoted(name));
            context.error_at_key(id, message, "not a header name").help(NAME_HELP);
        })
        .ok()
}

/// A header's name that stands as a value.
pub(super) fn value_name(context: &mut Context<'_>, name: &At<String>) -> Option<HeaderName> {
    HeaderName::from_bytes(name.value.as_bytes())
        .map_err(|_| {
            let message = format!("{} cannot be the name of a header", context.quote(name.id));
            context.error(name.id, message, "not a header name").help(NAME_HELP);
        })
        .ok()
}

const NAME_HELP: &str = "names are letters, digits and `-`, without spaces or a colon";

/// A header's value: a control character would end the field.
pub(super) fn header_value(context: &mut Context<'_>, value: &At<String>) -> Option<HeaderValue> {
    HeaderValue::from_str(&value.value)
        .map_err(|_| {
            let message = format!("{} cannot be the value of a header", context.quote(value.id));
            context
                .error(value.id, message, "not a header value")
                .help("leave out line breaks and other control characters");
        })
        .ok()
}
