//! `/ping`: strategy, backends and what each has done; a page for browsers, JSON for all others.

use std::fmt::Write;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::pages::Scene;
use crate::response::{self, HTML};
use crate::time::{hms, rfc3339};
use crate::title;
use crate::view::{BackendView, GatewayView};

pub(crate) fn json(scene: &Scene<'_>) -> Response<Bytes> {
    let view = scene.view;
    let backend = |backend: &BackendView| {
        let totals = backend.stats.totals();
        json!({
            "url": backend.stats.backend(),
            "weight": backend.weight,
            "active_connections": backend.active_connections,
            "total_requests": requests(backend),
            "last_request_time": totals.last_request.map(rfc3339),
            "healthy": backend.healthy,
            "upstream": backend.stats.upstream(),
            "state": backend.state.name(),
        })
    };
    let backends: Vec<Value> = view.backends().map(backend).collect();
    let body = json!({
        "status": if view.draining { "draining" } else { "ok" },
        "version": view.version,
        "strategy": strategy(view),
        "strategy_title": strategy_title(view),
        "active_backends": active_backends(view),
        "total_backends": backends.len(),
        "total_requests": total_requests(view),
        "timestamp": rfc3339(scene.time),
        "backends": backends,
    });
    response::json(StatusCode::OK, &body)
}

pub(crate) fn html(scene: &Scene<'_>) -> Response<Bytes> {
    let view = scene.view;
    let mut page = String::with_capacity(4096);
    let _never_fails = write!(
        page,
        include_str!("../../web/ping.html"),
        version = escaped(view.version),
        strategy = escaped(&strategy_title(view)),
        active = active_backends(view),
        backends = view.backends().count(),
        requests = shown(total_requests(view)),
        uptime = hms(view.uptime),
        lines = lines(view),
    );
    response::new(StatusCode::OK, HTML, page)
}

fn lines(view: &GatewayView) -> String {
    let mut lines = String::new();
    for backend in view.backends() {
        let totals = backend.stats.totals();
        let (mark, state) = if backend.healthy { ("✅", "up") } else { ("❌", "down") };
        let last = totals.last_request.map_or_else(|| "never".to_owned(), rfc3339);
        let _never_fails = writeln!(
            lines,
            "<li class=\"{state}\">{url} (Weight: {weight}, Active: {active}, Total: {total}) \
             <span title=\"{name}\">{mark}</span> <span class=\"muted\">last request: {last}</span></li>",
            url = escaped(backend.stats.backend()),
            weight = backend.weight,
            active = backend.active_connections,
            total = shown(requests(backend)),
            name = backend.state.name(),
        );
    }
    lines
}

/// The strategy that all rules use, or else the default.
fn strategy(view: &GatewayView) -> &str {
    match in_use(view).as_slice() {
        [one] => one,
        _ => &view.default_strategy,
    }
}

fn strategy_title(view: &GatewayView) -> String {
    match in_use(view).as_slice() {
        [] => title::of(&view.default_strategy),
        several => several.iter().map(|strategy| title::of(strategy)).collect::<Vec<_>>().join(", "),
    }
}

fn in_use(view: &GatewayView) -> Vec<&str> {
    let mut strategies: Vec<&str> = view.rules.iter().map(|rule| rule.strategy.as_str()).collect();
    strategies.sort_unstable();
    strategies.dedup();
    strategies
}

fn active_backends(view: &GatewayView) -> usize {
    view.backends().filter(|backend| backend.is_eligible()).count()
}

/// Of all backends; nothing where figures of single backends are not kept.
fn total_requests(view: &GatewayView) -> Option<u64> {
    view.backends().map(requests).sum()
}

fn requests(backend: &BackendView) -> Option<u64> {
    backend.stats.is_kept().then(|| backend.stats.counts().0.total())
}

/// A figure for people.
fn shown(figure: Option<u64>) -> String {
    figure.map_or_else(|| "not counted".to_owned(), |figure| figure.to_string())
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
