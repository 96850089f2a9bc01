//! `/strategies`: which there are, which rule uses which, and how its backends share.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::pages::Scene;
use crate::response;
use crate::view::{RuleView, UpstreamView};

pub(crate) fn strategies(scene: &Scene<'_>) -> Response<Bytes> {
    let view = scene.view;
    let mut in_use = Map::new();
    let mut endpoints = Map::new();
    for rule in &view.rules {
        let endpoint = endpoint(rule);
        endpoints.entry(endpoint.clone()).or_insert_with(|| json!(rule.strategy));
        let entry = in_use.entry(rule.strategy.clone()).or_insert_with(|| {
            let backends = view.upstream_of(rule).map_or_else(Vec::new, backends);
            json!({
                "endpoint": endpoint,
                "description": summary(scene, &rule.strategy),
                "use_case": use_case(&rule.strategy),
                "backends": backends,
                "endpoints": [],
            })
        });
        if let Some(Value::Array(all)) = entry.get_mut("endpoints") {
            all.push(json!(endpoint));
        }
    }
    let all: Map<String, Value> =
        view.strategies.iter().map(|row| (row.name.to_owned(), json!(row.summary))).collect();
    let mut body = json!({
        "load_balancing_strategies": in_use,
        "strategies": all,
        "endpoints": endpoints,
        "default": view.default_strategy,
    });
    if let (true, Some(body)) = (scene.is_demo, body.as_object_mut()) {
        body.insert("tutorial".to_owned(), json!("10-advanced-proxy"));
    }
    response::json(StatusCode::OK, &body)
}

/// What a rule takes, in a word: `/api/v1/*`, `api.example.com/*`.
fn endpoint(rule: &RuleView) -> String {
    format!("{}{}", rule.host.as_deref().unwrap_or(""), rule.path)
}

/// `localhost:8081 (weight 3)`, as the tutorial lists them.
fn backends(upstream: &UpstreamView) -> Vec<String> {
    let line = |backend: &crate::BackendView| {
        let url = backend.stats.backend();
        let address = url.strip_prefix("http://").unwrap_or(url);
        if upstream.weights().iter().all(|weight| *weight == backend.weight) {
            return address.to_owned();
        }
        format!("{address} (weight {})", backend.weight)
    };
    upstream.backends.iter().map(line).collect()
}

fn summary(scene: &Scene<'_>, strategy: &str) -> &'static str {
    scene.view.strategies.iter().find(|row| row.name == strategy).map_or("", |row| row.summary)
}

/// When one would choose it: the tutorial's words for the tutorial's strategies.
fn use_case(strategy: &str) -> Option<&'static str> {
    Some(match strategy {
        "round_robin" => "Backends with equal capacities",
        "weighted_round_robin" | "weighted_random" => "Backends with different capacities",
        "least_connections" => "Variable request processing times",
        "least_response_time" => "Backends whose speed differs or changes",
        "ip_hash" => "Stateful applications requiring sticky sessions",
        "random" => "Stateless content serving",
        _ => return None,
    })
}
