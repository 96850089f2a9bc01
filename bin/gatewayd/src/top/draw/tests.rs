//! The screen as it is seen, character by character.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;

fn event() -> Event {
    let figures = |rate: f64, errors: f64, p99: f64| json!({ "requests": 100, "failed": 1, "requests_per_second": rate, "error_rate": errors, "p50": 1.0, "p95": 2.0, "p99": p99 });
    let with = |mut object: serde_json::Value, figures: serde_json::Value| {
        object.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
        object
    };
    let page =
        |shown: serde_json::Value| json!({ "total": 2, "found": 2, "page": 1, "pages": 1, "shown": shown });
    let totals = json!({ "active": 7, "states": { "healthy": 1, "ejected": 1 }, "history": { "first": 1, "requests_per_second": [10.0, 500.0] } });
    let upstream = json!({ "name": "app", "strategy": "round_robin", "active": 7, "states": { "healthy": 1, "ejected": 1 } });
    let good = json!({ "upstream": "app", "url": "http://10.0.0.1:8080", "weight": 1.0, "state": "healthy", "active": 7, "share": 1.0 });
    let bad = json!({ "upstream": "app", "url": "http://10.0.0.2:8080", "weight": 1.0, "state": "ejected", "active": 0, "share": 0.0, "why": "5 requests in a row failed" });
    let event = json!({
        "version": "1.2.3", "time_ms": 90_000, "uptime_seconds": 3_723.0, "draining": false,
        "totals": with(totals, figures(12_345.0, 0.021, 42.0)),
        "rules": page(json!([])),
        "upstreams": page(json!([with(upstream, figures(12_345.0, 0.021, 42.0))])),
        "backends": page(json!([with(good, figures(12_345.0, 0.0, 42.0)), with(bad, figures(0.0, 0.0, 0.5))])),
        "errors": [{ "time_ms": 85_000, "times": 3, "status": 502, "path": "/pay", "reason": "The backend closed the connection." }],
        "changes": [{ "time_ms": 30_000, "backend": "http://10.0.0.2:8080", "change": "backend unhealthy", "why": "5 requests in a row failed" }],
    });
    serde_json::from_value(event).unwrap()
}

fn drawn(screen: &Screen, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn screen() -> Screen {
    let mut screen = Screen::new(Sort::Place, String::new());
    screen.take(event());
    screen
}

#[track_caller]
fn assert_has(lines: &[String], parts: &[&str]) {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line has {parts:?}:\n{}", lines.join("\n"));
}

#[test]
fn a_small_terminal_shows_what_matters() {
    let lines = drawn(&screen(), 80, 24);
    assert_has(&lines, &["gatewayd 1.2.3  up 1 h 2 min  ● 1 of 2 backends up, 1 ejected"]);
    assert_has(&lines, &["12.3k req/s   2.1% errors   p50 1.0ms   p95 2.0ms   p99 42ms   7 in flight"]);
    assert_has(&lines, &["█"]);
    assert_has(&lines, &["app", "round_robin", "1/2", "12.3k", "2.1%", "42ms"]);
    assert_has(&lines, &["10.0.0.1:8080", "app", "● healthy", "12.3k", "0%", "42ms", "7"]);
    assert_has(&lines, &["10.0.0.2:8080", "✖ ejected", "0.50ms"]);
    assert_has(&lines, &[" Backends  Rules  Problems  Changes", "/ find", "q quit"]);
}

#[test]
fn a_wide_terminal_says_why() {
    assert_has(&drawn(&screen(), 140, 24), &["✖ ejected", "5 requests in a row failed"]);
}

#[test]
fn errors_and_changes_say_when_and_why() {
    let mut screen = screen();
    screen.list = List::Errors;
    let lines = drawn(&screen, 80, 24);
    assert_has(&lines, &["5 s ago  502 ×3  /pay"]);
    assert_has(&lines, &["The backend closed the connection."]);
    screen.list = List::Changes;
    assert_has(
        &drawn(&screen, 80, 24),
        &["1 min ago  backend unhealthy", "10.0.0.2:8080: 5 requests in a row failed"],
    );
}

#[test]
fn it_says_what_it_waits_for() {
    let mut screen = Screen::new(Sort::Place, String::new());
    assert_has(&drawn(&screen, 80, 24), &["Connecting"]);
    screen.lost("connection refused".to_owned());
    assert_has(&drawn(&screen, 80, 24), &["The gateway does not answer: connection refused."]);
    screen.take(event());
    screen.lost("it closed the connection".to_owned());
    assert_has(&drawn(&screen, 80, 24), &["no answer: it closed the connection"]);
    screen.take(Event::default());
    screen.find = "nowhere".to_owned();
    assert_has(&drawn(&screen, 80, 24), &["Nothing is called or stands like \"nowhere\""]);
}

#[test]
fn no_size_is_too_small() {
    for list in List::ALL {
        let mut screen = screen();
        screen.list = list;
        for (width, height) in [(1, 1), (10, 3), (40, 12), (79, 19), (300, 100)] {
            drawn(&screen, width, height);
        }
    }
}
