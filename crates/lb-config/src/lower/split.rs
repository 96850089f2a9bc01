//! Rules whose requests are shared out between upstreams.

use http::HeaderName;
use lb_core::{KeySource, StrategyConfig};
use lb_http::config::{ArmConfig, SplitConfig};

use super::upstream::Upstreams;
use super::{Context, backend, rollback, rule};
use crate::tree::NodeId;
use crate::written::rule::{Rule, Share};
use crate::written::values::{At, List};

/// What belongs to a split stands beside one.
pub(super) fn check(context: &mut Context<'_>, rule: &Rule) {
    if rule.split.is_some() {
        return;
    }
    let keys = [
        ("split_by", rule.split_by.as_ref().map(|it| it.id)),
        ("split_header", rule.split_header.as_ref().map(|it| it.id)),
        ("split_rollback", rule.split_rollback.as_ref().map(|it| it.id)),
    ];
    for (key, written) in keys {
        // A split that could not be read has been reported.
        if let Some(written) = written
            && !context.tree.has(context.tree.parent(written), "split")
        {
            context
                .error_at_key(
                    written,
                    format!("`{key}` belongs to a `split`, and this rule has none"),
                    "not here",
                )
                .help("add `split = [{ upstream = \"NAME\", weight = 90 }, …]`, or remove it");
        }
    }
}

/// What is meant; `None` where it is wrong. A strategy of the rule's own holds in each upstream.
pub(super) fn lower(
    context: &mut Context<'_>,
    upstreams: &mut Upstreams,
    rule: &Rule,
    written: &At<List<Share>>,
    (name, strategy): (&str, Option<&StrategyConfig>),
) -> Option<SplitConfig> {
    let key = rule.split_by.as_ref().map(|written| key(context, written));
    let header = rule.split_header.as_ref().map(|written| header(context, written));
    let mut arms: Vec<ArmConfig> = Vec::new();
    let mut places: Vec<NodeId> = Vec::new();
    let mut is_whole = true;
    for share in written.value.iter() {
        let weight = backend::weight(context, share.value.weight.as_ref());
        let Some(upstream) = &share.value.upstream else {
            is_whole = false;
            if !context.tree.has(share.id, "upstream") {
                context
                    .error(share.id, "a part of a split names no upstream", "no `upstream`")
                    .help("write `{ upstream = \"NAME\", weight = 10 }`");
            }
            continue;
        };
        let found = rule::find(context, upstreams, upstream);
        if let Some(first) = arms.iter().zip(&places).find(|(arm, _)| arm.name == upstream.value) {
            let first = context.value_place(*first.1);
            let message = format!("{} stands twice in one split", context.quote(upstream.id));
            context
                .error(upstream.id, message, "the second time")
                .also(first, "first here")
                .help("remove one of them; a larger share is a `weight`");
            is_whole = false;
        }
        let (Some(found), Some(weight)) = (found, weight) else {
            is_whole = false;
            continue;
        };
        let place = match strategy {
            Some(strategy) => upstreams.with_strategy(found, name, strategy.clone()),
            None => found,
        };
        arms.push(ArmConfig { name: upstream.value.clone(), upstream: place, weight });
        places.push(upstream.id);
    }
    if is_whole && !arms.iter().any(|arm| arm.weight > 0.0) {
        context
            .error(
                written.id,
                "no part of the split has a weight above 0, so nothing would be served",
                "no share",
            )
            .help("give at least one upstream a `weight`");
        return None;
    }
    let (key, header) =
        (key.map_or(Some(None), |key| key.map(Some))?, header.map_or(Some(None), |it| it.map(Some))?);
    let rollback = rule.split_rollback.as_ref().and_then(|written| rollback::lower(context, written));
    is_whole.then_some(SplitConfig { arms, key, header, rollback, turn: 0 })
}

fn key(context: &mut Context<'_>, written: &At<String>) -> Option<KeySource> {
    let read = written.value.parse::<KeySource>();
    if let Err(error) = &read {
        context
            .error(written.id, format!("`split_by`: {error}"), "not a key")
            .help("leave the key out for turns, exactly by weight");
    }
    read.ok()
}

fn header(context: &mut Context<'_>, written: &At<String>) -> Option<HeaderName> {
    let read = written.value.parse::<HeaderName>();
    if read.is_err() {
        let message = format!("{} is not the name of a header", context.quote(written.id));
        context.error(written.id, message, "not a header name").help("write one such as \"X-Arm\"");
    }
    read.ok()
}
