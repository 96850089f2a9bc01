//! Figures as the terminal writes them, and the page that `--once` prints.

use std::fmt::Write;

use super::model::{Event, Figures, up};

/// A rate in at most six characters.
pub(super) fn rate(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{:.1}M", value / 1e6),
        _ if value >= 1e4 => format!("{:.1}k", value / 1e3),
        _ if value >= 100.0 || value <= 0.0 => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}

/// A share as per cent.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        value if value <= 0.0 => "0%".to_owned(),
        value if value < 0.1 => "<0.1%".to_owned(),
        value if value < 10.0 => format!("{value:.1}%"),
        value => format!("{value:.0}%"),
    }
}

/// Milliseconds; a dash where nothing was answered.
pub(super) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms >= 1_000.0 => format!("{:.2}s", ms / 1_000.0),
        Some(ms) if ms >= 10.0 => format!("{ms:.0}ms"),
        Some(ms) if ms >= 1.0 => format!("{ms:.1}ms"),
        Some(ms) => format!("{ms:.2}ms"),
    }
}

/// Time since the start.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds of an uptime")]
pub(super) fn uptime(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// How long before the event something was.
pub(super) fn ago(time_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(time_ms) / 1_000 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..86_400 => format!("{} h", seconds / 3_600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

/// A backend's URL without what all of them begin with.
pub(super) fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

/// How many backends there are, and how they stand.
pub(super) fn backends(event: &Event) -> String {
    let states = &event.totals.states;
    let (up, all) = up(states);
    if event.draining {
        return "draining".to_owned();
    }
    let mut text = format!("{up} of {all} backends up");
    for (state, count) in states.iter().filter(|(state, _)| *state != "healthy") {
        let _never_fails = write!(text, ", {count} {}", state.replace('_', "-"));
    }
    text
}

/// The whole's figures on one line.
pub(super) fn totals(event: &Event) -> String {
    let Figures { requests_per_second, error_rate, p50, p95, p99, .. } = event.totals.figures;
    format!(
        "{} req/s   {} errors   p50 {}   p95 {}   p99 {}   {} in flight",
        rate(requests_per_second),
        percent(error_rate),
        latency(p50),
        latency(p95),
        latency(p99),
        event.totals.active,
    )
}

/// The page that is printed.
pub(super) fn page(event: &Event) -> String {
    let mut page = format!(
        "gatewayd {}, up {}: {}\n{}\n\n",
        event.version,
        uptime(event.uptime_seconds),
        backends(event),
        totals(event)
    );
    let head = ["UPSTREAM", "STRATEGY", "UP", "REQUESTS", "REQ/S", "ERRORS", "P50", "P95", "P99", "ACTIVE"];
    let rows = event.upstreams.shown.iter().map(|upstream| {
        let (up, all) = up(&upstream.states);
        let names = [upstream.name.clone(), upstream.strategy.clone(), format!("{up}/{all}")];
        row(names, &upstream.figures, upstream.active)
    });
    table(&mut page, &head, rows.collect());
    if event.upstreams.shown.len() < event.upstreams.found {
        let _never_fails =
            writeln!(page, "… and {} more", event.upstreams.found - event.upstreams.shown.len());
    }
    page.push('\n');
    let head =
        ["BACKEND", "UPSTREAM", "STATE", "REQUESTS", "REQ/S", "ERRORS", "P50", "P95", "P99", "ACTIVE", "WHY"];
    let rows = event.backends.shown.iter().map(|backend| {
        let names = [backend.url.clone(), backend.upstream.clone(), backend.state.replace('_', "-")];
        let mut row = row(names, &backend.figures, backend.active);
        row.push(backend.why.clone().unwrap_or_default());
        row
    });
    table(&mut page, &head, rows.collect());
    if event.backends.shown.len() < event.backends.found {
        let _never_fails = writeln!(
            page,
            "… and {} more; --find narrows",
            event.backends.found - event.backends.shown.len()
        );
    }
    page
}

fn row(names: [String; 3], figures: &Figures, active: u64) -> Vec<String> {
    let mut row = Vec::from(names);
    row.extend([
        figures.requests.to_string(),
        rate(figures.requests_per_second),
        percent(figures.error_rate),
        latency(figures.p50),
        latency(figures.p95),
        latency(figures.p99),
        active.to_string(),
    ]);
    row
}

/// Names to the left, figures to the right, each column as wide as it must be.
fn table(page: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    const NAMES: usize = 3;
    let mut lines = vec![head.iter().map(|&title| title.to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let wide = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..head.len()).map(|column| wide(column).unwrap_or(0)).collect();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let is_left = column < NAMES || head.get(column) == Some(&"WHY");
            let _never_fails = match is_left {
                true => write!(text, "{cell:<width$}  "),
                false => write!(text, "{cell:>width$}  "),
            };
        }
        page.push_str(text.trim_end());
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let rates = [0.0, 0.5, 99.94, 100.0, 9_999.0, 12_345.0, 2_500_000.0].map(rate);
        assert_eq!(rates, ["0", "0.5", "99.9", "100", "9999", "12.3k", "2.5M"]);
        let shares = [0.0, 0.0004, 0.021, 0.5].map(percent);
        assert_eq!(shares, ["0%", "<0.1%", "2.1%", "50%"]);
        let latencies = [None, Some(0.42), Some(3.12), Some(42.4), Some(1_234.0)].map(latency);
        assert_eq!(latencies, ["-", "0.42ms", "3.1ms", "42ms", "1.23s"]);
        let times = [5.2, 65.0, 7_260.0, 180_000.0].map(uptime);
        assert_eq!(times, ["5 s", "1 min 5 s", "2 h 1 min", "2 d 2 h"]);
    }
}
