//! Why a request failed, as a sentence for the operator.

use crate::Exchange;

/// The sentence: what the data path knows, or else what the code stands for.
pub(super) fn of(exchange: &Exchange<'_>) -> String {
    let why = match (exchange.error, exchange.code) {
        (Some(error), _) => error.to_owned(),
        (None, Some(code)) => of_code(code).to_owned(),
        (None, None) => format!("the backend answered {}", exchange.status),
    };
    let attempts = match exchange.attempts {
        0 | 1 => String::new(),
        attempts => format!(", after {attempts} attempts"),
    };
    capitalised(&format!("{why}{attempts}."))
}

fn of_code(code: &str) -> &str {
    match code {
        "no_rule" => "no rule takes this host, path and method",
        "method_not_allowed" => "the rule for this path does not take this method",
        "no_backend" => "no backend of the upstream takes requests",
        "overloaded" => "every backend is at its max_connections, and no place came free in time",
        "upstream_timeout" => "the backend sent no response head before the deadline",
        "request_timeout" => "the client did not send its request in time",
        "rate_limited" => "the client is over its rate limit",
        "forbidden" => "a policy does not let this client or request pass",
        "unauthorized" => "the client did not prove who it is",
        "body_too_large" => "the request body is larger than the rule allows",
        "headers_too_large" => "the request head is larger than is allowed",
        other => other,
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
