//! Copies of a rule's requests for another upstream.

use http::Method;
use lb_http::config::{BackendProtocol, MirrorConfig};

use super::upstream::Upstreams;
use super::{Context, rule as rules};
use crate::written::rule::{Mirror, Rule};
use crate::written::values::{At, List};

/// What is meant; what is wrong is said.
pub(super) fn lower(context: &mut Context<'_>, upstreams: &Upstreams, rule: &Rule) -> Option<MirrorConfig> {
    let written = rule.mirror.as_ref()?;
    if rule.redirect.is_some() {
        context
            .error_at_key(
                written.id,
                "`mirror` copies what goes to backends, and this rule redirects",
                "copies nothing",
            )
            .help("remove `mirror`, or `redirect`");
    }
    let Mirror { upstream, percent, methods, max_pending, max_body, compare, timeout } = &written.value;
    let percent = super::percent(context, percent.as_ref()).unwrap_or(100.0);
    let methods: Vec<Method> =
        methods.iter().flat_map(List::iter).filter_map(|it| method(context, it)).collect();
    let max_pending = match max_pending {
        Some(written) => context.at_least_one(written, "remove `mirror` for no copies")?.get(),
        None => MirrorConfig::MAX_PENDING,
    };
    let Some(upstream) = upstream else {
        if context.tree.is_whole(written.id) {
            context
                .error_at_key(written.id, "`mirror` names no upstream", "no `upstream`")
                .help("add `upstream = \"NAME\"`");
        }
        return None;
    };
    let place = rules::find(context, upstreams, upstream)?;
    let members = upstreams.entries.get(place).map(|entry| &*entry.members).unwrap_or_default();
    let speaks_otherwise = members.iter().map(|member| &member.config).any(|config| {
        !matches!(config.protocol, BackendProtocol::Http1 | BackendProtocol::Auto)
            || config.proxy_protocol.is_some()
    });
    if speaks_otherwise {
        let message = format!(
            "copies go out by HTTP/1.1, which {} does not speak as it stands",
            context.quote(upstream.id)
        );
        context
            .error(upstream.id, message, "not HTTP/1.1")
            .help("mirror to an upstream without `protocol` and `proxy_protocol`");
    }
    Some(MirrorConfig {
        name: upstream.value.clone(),
        upstream: place,
        percent,
        methods,
        max_pending,
        max_body: max_body
            .map_or(MirrorConfig::MAX_BODY, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        compare: compare.unwrap_or(false),
        timeout: timeout.map_or(MirrorConfig::TIMEOUT, |time| time.0),
    })
}

fn method(context: &mut Context<'_>, written: &At<String>) -> Option<Method> {
    let method = Method::from_bytes(written.value.as_bytes());
    if method.is_err() {
        let message = format!("{} is no method", context.quote(written.id));
        context.error(written.id, message, "not a method").help("write one such as \"GET\"");
    }
    method.ok()
}
