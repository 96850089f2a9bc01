//! The strategy of an upstream: its name, whatever its spelling, and its options.

use lb_core::{OptionValue, StrategyConfig, StrategyError, StrategyInfo, strategy};

use super::Context;
use crate::suggest;
use crate::tree::NodeId;
use crate::written::upstream::{Balancing, Scalar};
use crate::written::values::{At, WordOr};

/// Checks a strategy and lowers it.
pub(super) fn lower(context: &mut Context<'_>, written: &At<WordOr<Balancing>>) -> Option<StrategyConfig> {
    let default = Balancing::default();
    let (name, table) = match &written.value {
        WordOr::Word(name) => (At { id: written.id, value: name.clone() }, &default),
        WordOr::Table(table) => match &table.strategy {
            Some(name) => (name.clone(), table),
            None => {
                missing_name(context, written.id);
                return None;
            }
        },
    };
    let Ok(info) = strategy::find(&name.value) else {
        unknown_name(context, &name);
        return None;
    };
    let mut config = StrategyConfig::named(info.name);
    let mut is_good = true;
    for (key, option) in &table.options {
        let value = lower_option(&option.value);
        // One at a time, so that each problem is found, and found at its option.
        if let Err(error) =
            strategy::validate(&StrategyConfig::named(info.name).with(key.clone(), value.clone()))
        {
            refused_option(context, info, key, option, &error);
            is_good = false;
        }
        config = config.with(key.clone(), value);
    }
    is_good.then_some(config)
}

fn missing_name(context: &mut Context<'_>, id: NodeId) {
    if !context.tree.has(id, "strategy") {
        context
            .error_at_key(id, "`load_balancing` does not say which strategy", "no `strategy`")
            .help("add `strategy = \"round_robin\"`");
    }
}

fn lower_option(value: &Scalar) -> OptionValue {
    match value {
        Scalar::Integer(number) => OptionValue::Integer(*number),
        Scalar::Float(number) => OptionValue::Float(*number),
        Scalar::String(text) => OptionValue::String(text.clone()),
        Scalar::Bool(switch) => OptionValue::Bool(*switch),
    }
}

fn unknown_name(context: &mut Context<'_>, name: &At<String>) {
    let names: Vec<&str> = strategy::names().collect();
    let aliases = strategy::ALL.iter().flat_map(|info| info.aliases.iter().copied());
    let list = format!("strategies are {}", suggest::list(&names, "and"));
    let near =
        suggest::did_you_mean(&name.value, names).or_else(|| suggest::did_you_mean(&name.value, aliases));
    let help = near.map_or(list.clone(), |near| format!("{near} {list}"));
    context
        .error(name.id, format!("unknown strategy {}", context.quote(name.id)), "unknown strategy")
        .help(help);
}

fn refused_option(
    context: &mut Context<'_>,
    info: &StrategyInfo,
    key: &str,
    option: &At<Scalar>,
    error: &StrategyError,
) {
    let strategy = info.name;
    match error {
        StrategyError::UnknownOption { accepted, .. } => {
            let help = suggest::did_you_mean(key, info.options.iter().map(|option| option.name));
            context
                .error_at_key(
                    option.id,
                    format!("strategy `{strategy}` has no option `{key}`"),
                    "unknown option",
                )
                .help(help.unwrap_or_else(|| accepted.clone()));
        }
        StrategyError::InvalidOption { accepted, .. } => {
            let message =
                format!("option `{key}` of strategy `{strategy}` cannot be {}", context.quote(option.id));
            context.error(option.id, message, format!("expected {accepted}"));
        }
        StrategyError::Unknown { .. } | StrategyError::RepeatedOption { .. } => {
            context.error_at_key(option.id, error.to_string(), "here");
        }
    }
}
