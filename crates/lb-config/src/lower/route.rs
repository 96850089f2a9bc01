//! The router's own checks, each at the key it is about.

use lb_router::{RouteError, RouteProblem, Router, Shadowed};

use super::Context;
use super::matching::Route;

pub(super) fn check(context: &mut Context<'_>, routes: &[Route]) {
    match Router::new(routes.iter().map(|route| &*route.config)) {
        Ok(router) => {
            for shadowed in router.warnings() {
                never_matches(context, routes, shadowed);
            }
        }
        Err(errors) => {
            for error in errors {
                report(context, routes, &error);
            }
        }
    }
}

fn never_matches(context: &mut Context<'_>, routes: &[Route], shadowed: Shadowed) {
    let (Some(rule), Some(by)) = (routes.get(shadowed.rule), routes.get(shadowed.by)) else { return };
    if !rule.is_whole || !by.is_whole {
        // Without the condition that could not be read, it would be another rule.
        return;
    }
    let message = format!(
        "rule `{}` can never match: rule `{}` stands before it and takes every request that it would",
        rule.config.name, by.config.name
    );
    let earlier = context.key_place(by.place);
    context
        .warning_at_key(rule.place, message, "never reached")
        .also(earlier, "this one takes them")
        .help("put the narrower rule first, or remove it");
}

fn report(context: &mut Context<'_>, routes: &[Route], error: &RouteError) {
    let Some(route) = routes.get(error.rule) else { return };
    let id = route.field(error.field);
    let excerpt = match error.problem.span() {
        Some(span) => context.part_place(id, span),
        None => context.value_place(id),
    };
    let label = match &error.problem {
        RouteProblem::Regex { message, .. } => message.clone(),
        _ => "here".to_owned(),
    };
    context.error_in(id, excerpt, error.problem.to_string(), label).help(error.problem.remedy());
}
