//! Draws the screen; made to fit 80 by 24.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table, Wrap};

use super::model::{Backend, Event, Figures, up};
use super::screen::{List, Screen};
use super::text::{address, ago, backends, latency, percent, rate, totals, uptime};
use crate::cli::Sort;

/// Lines of the sparkline.
const SPARK: u16 = 3;
/// Upstreams shown beside the list.
const UPSTREAMS: usize = 5;
/// From here on there is room for what is nice to have.
const WIDE: u16 = 110;

pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    let Some(event) = &screen.event else {
        let text = screen.lost.as_ref().map_or_else(
            || "Connecting…".to_owned(),
            |reason| format!("The gateway does not answer: {reason}.\n\nTrying again; q quits."),
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    };
    let upstreams = event.upstreams.shown.len().min(UPSTREAMS);
    let upstreams = if screen.list == List::Backends && area.height >= 20 { upstreams } else { 0 };
    let lines = if upstreams > 0 { u16::try_from(upstreams + 2).unwrap_or(0) } else { 0 };
    let spark = if area.height >= 16 { SPARK } else { 0 };
    let [head, past, table, list, keys] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(spark),
        Constraint::Length(lines),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, screen, event);
    draw_past(frame, past, screen, event);
    draw_upstreams(frame, table, event, upstreams);
    match screen.list {
        List::Backends => draw_backends(frame, list, screen, event),
        List::Rules => draw_rules(frame, list, screen, event),
        List::Errors => draw_errors(frame, list, screen, event),
        List::Changes => draw_changes(frame, list, screen, event),
    }
    draw_keys(frame, keys, screen, event);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    let (up, all) = up(&event.totals.states);
    let mood = match up {
        _ if up == all && !event.draining => Color::Green,
        0 => Color::Red,
        _ => Color::Yellow,
    };
    let mut first = vec![
        Span::from(format!("gatewayd {}", event.version)).bold(),
        Span::from(format!("  up {}  ", uptime(event.uptime_seconds))).dim(),
        Span::styled(format!("● {}", backends(event)), mood),
    ];
    if let Some(reason) = &screen.lost {
        first.truncate(1);
        first.push(Span::from(format!("  no answer: {reason}")).red().bold());
    }
    let second = Line::from(totals(event));
    let second = if event.totals.figures.error_rate > 0.0 { second.yellow() } else { second };
    frame.render_widget(Paragraph::new(vec![Line::from(first), second]), area);
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests a second, in tenths")]
fn draw_past(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    let now = std::iter::once(&event.totals.figures.requests_per_second);
    let points: Vec<u64> = screen.past.iter().chain(now).map(|rate| (rate * 10.0) as u64).collect();
    let newest = points.len().saturating_sub(usize::from(area.width));
    let shown = points.get(newest..).unwrap_or_default();
    // Now is at the right edge, however little past there is.
    let width = u16::try_from(shown.len()).unwrap_or(area.width);
    let area = Rect { x: area.right().saturating_sub(width), width: width.min(area.width), ..area };
    frame.render_widget(Sparkline::default().data(shown).style(Color::Cyan), area);
}

fn draw_upstreams(frame: &mut Frame<'_>, area: Rect, event: &Event, count: usize) {
    let is_wide = area.width >= WIDE;
    let rows = event.upstreams.shown.iter().take(count).map(|upstream| {
        let (up, all) = up(&upstream.states);
        let standing = Cell::from(Line::from(format!("{up}/{all}")).alignment(Alignment::Right));
        let standing = standing.style(if up == all { Style::new() } else { Style::new().red().bold() });
        let mut cells =
            vec![Cell::from(upstream.name.clone()), Cell::from(upstream.strategy.clone()).dim(), standing];
        cells.extend(figures(&upstream.figures, upstream.active, is_wide));
        Row::new(cells)
    });
    let mut widths = vec![Constraint::Fill(3), Constraint::Fill(3), Constraint::Length(9)];
    widths.extend(figure_widths(is_wide));
    let head = head(&["UPSTREAM", "STRATEGY"], &["UP"], is_wide);
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_backends(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    let is_wide = area.width >= WIDE;
    let rows = event.backends.shown.iter().skip(screen.offset).map(|backend| {
        let (mark, style) = standing(backend);
        let mut cells = vec![
            Cell::from(address(&backend.url).to_owned()),
            Cell::from(backend.upstream.clone()).dim(),
            Cell::from(format!("{mark} {}", backend.state.replace('_', "-"))).style(style),
        ];
        cells.extend(figures(&backend.figures, backend.active, is_wide));
        if is_wide {
            cells.push(right(format!("{}", backend.weight)));
            cells.push(right(format!("{:.0}%", backend.share * 100.0)));
            cells.push(Cell::from(backend.why.clone().unwrap_or_default()).dim());
        }
        Row::new(cells)
    });
    let mut widths = vec![Constraint::Fill(5), Constraint::Fill(3), Constraint::Length(11)];
    widths.extend(figure_widths(is_wide));
    let mut head = vec!["BACKEND", "UPSTREAM", "STATE"];
    let mut titles = figure_titles(is_wide);
    if is_wide {
        widths.extend([Constraint::Length(6), Constraint::Length(6), Constraint::Fill(6)]);
        titles.extend(["WEIGHT", "SHARE"]);
    }
    let mut cells: Vec<Cell<'_>> = head.drain(..).map(Cell::from).collect();
    cells.extend(titles.into_iter().map(|title| right(title.to_owned())));
    if is_wide {
        cells.push(Cell::from("WHY"));
    }
    frame.render_widget(Table::new(rows, widths).header(Row::new(cells).style(HEAD)), area);
    if event.backends.shown.is_empty() {
        nothing(frame, area, &format!("Nothing is called or stands like {:?}; Esc shows all.", screen.find));
    }
}

fn draw_rules(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    let is_wide = area.width >= WIDE;
    let rows = event.rules.shown.iter().skip(screen.offset).map(|rule| {
        let mut cells = vec![Cell::from(rule.name.clone()), Cell::from(rule.upstream.clone()).dim()];
        cells.push(right(rule.figures.requests.to_string()));
        let figures = figures(&rule.figures, 0, is_wide);
        let without_active = figures.len() - 1;
        cells.extend(figures.into_iter().take(without_active));
        Row::new(cells)
    });
    let mut widths = vec![Constraint::Fill(4), Constraint::Fill(3), Constraint::Length(10)];
    let mut figure_widths = figure_widths(is_wide);
    figure_widths.pop();
    widths.extend(figure_widths);
    let mut titles = vec!["REQUESTS"];
    titles.extend(figure_titles(is_wide));
    titles.pop();
    let cells = ["RULE", "UPSTREAM"].map(Cell::from).into_iter();
    let head = Row::new(cells.chain(titles.into_iter().map(|title| right(title.to_owned()))));
    frame.render_widget(Table::new(rows, widths).header(head.style(HEAD)), area);
}

fn draw_errors(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    if event.errors.is_empty() {
        nothing(frame, area, "No request was refused, and none has failed.");
    }
    let lines = event.errors.iter().skip(screen.offset).flat_map(|error| {
        let times = if error.times > 1 { format!(" ×{}", error.times) } else { String::new() };
        let mood = if error.status < 500 { Color::Yellow } else { Color::Red };
        let head = Line::from(vec![
            Span::from(format!("{:>6} ago  ", ago(error.time_ms, event.time_ms))).dim(),
            Span::styled(format!("{}{times}", error.status), mood).bold(),
            Span::from(format!("  {}", error.path)),
        ]);
        [head, Line::from(format!("            {}", error.reason)).dim()]
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

fn draw_changes(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    if event.changes.is_empty() {
        nothing(frame, area, "No backend has changed its state.");
    }
    let lines = event.changes.iter().skip(screen.offset).map(|change| {
        let is_good =
            change.why.is_none() || matches!(change.change.as_str(), "backend recovered" | "circuit closed");
        let mood = if is_good { Color::Green } else { Color::Red };
        let why = change.why.as_ref().filter(|_| !is_good).map(|why| format!(": {why}")).unwrap_or_default();
        Line::from(vec![
            Span::from(format!("{:>6} ago  ", ago(change.time_ms, event.time_ms))).dim(),
            Span::styled(format!("{:<18} ", change.change), mood),
            Span::from(address(&change.backend).to_owned()),
            Span::from(why).dim(),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// The last line: what is looked at, and which keys do what.
fn draw_keys(frame: &mut Frame<'_>, area: Rect, screen: &Screen, event: &Event) {
    if screen.is_finding {
        let find =
            Line::from(vec![Span::from(" find ").reversed(), Span::from(format!(" {}▏", screen.find))]);
        return frame.render_widget(find, area);
    }
    let mut spans = Vec::new();
    for list in List::ALL {
        let title = Span::from(format!(" {} ", list.title()));
        spans.push(if list == screen.list { title.reversed() } else { title.dim() });
    }
    if screen.list == List::Backends && event.backends.pages > 1 {
        let page = &event.backends;
        spans.push(Span::from(format!(" {}/{} of {}", page.page, page.pages, page.found)));
    }
    if !screen.find.is_empty() {
        spans.push(Span::from(format!(" /{}", screen.find)).yellow());
    }
    let sort =
        if screen.sort == Sort::Place { String::new() } else { format!("by {}  ", screen.sort.name()) };
    let keys = format!("{sort}Tab list  / find  nsrelao order  q quit");
    frame.render_widget(Line::from(spans), area);
    let room = area.width.saturating_sub(u16::try_from(keys.len()).unwrap_or(0));
    frame.render_widget(Line::from(keys).dim(), Rect { x: area.x + room, width: area.width - room, ..area });
}

const HEAD: Style = Style::new().add_modifier(Modifier::BOLD).add_modifier(Modifier::UNDERLINED);

fn head<'a>(left: &[&'a str], right_of_them: &[&str], is_wide: bool) -> Row<'a> {
    let mut cells: Vec<Cell<'a>> = left.iter().map(|&title| Cell::from(title)).collect();
    let titles = right_of_them.iter().copied().chain(figure_titles(is_wide));
    cells.extend(titles.map(|title| right(title.to_owned())));
    Row::new(cells).style(HEAD)
}

fn figure_titles(is_wide: bool) -> Vec<&'static str> {
    if is_wide {
        vec!["REQ/S", "ERR", "P50", "P95", "P99", "ACT"]
    } else {
        vec!["REQ/S", "ERR", "P99", "ACT"]
    }
}

fn figure_widths(is_wide: bool) -> Vec<Constraint> {
    let latencies = if is_wide { 3 } else { 1 };
    let mut widths = vec![Constraint::Length(6), Constraint::Length(5)];
    widths.extend(std::iter::repeat_n(Constraint::Length(6), latencies));
    widths.push(Constraint::Length(5));
    widths
}

fn figures(figures: &Figures, active: u64, is_wide: bool) -> Vec<Cell<'static>> {
    let errors = right(percent(figures.error_rate));
    let errors = if figures.error_rate > 0.0 { errors.style(Style::new().red().bold()) } else { errors };
    let mut cells = vec![right(rate(figures.requests_per_second)), errors];
    if is_wide {
        cells.extend([right(latency(figures.p50)), right(latency(figures.p95))]);
    }
    cells.extend([right(latency(figures.p99)), right(active.to_string())]);
    cells
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).alignment(Alignment::Right))
}

/// A mark, for those who see no colours, and the colour.
fn standing(backend: &Backend) -> (char, Style) {
    match backend.state.as_str() {
        "healthy" => ('●', Style::new().green()),
        "draining" => ('○', Style::new().yellow()),
        "half_open" => ('◐', Style::new().yellow()),
        _ => ('✖', Style::new().red().bold()),
    }
}

fn nothing(frame: &mut Frame<'_>, area: Rect, text: &str) {
    let area = Rect { y: area.y + area.height.min(2), height: area.height.saturating_sub(2), ..area };
    frame.render_widget(Paragraph::new(text).alignment(Alignment::Center).dim(), area);
}

#[cfg(test)]
mod tests;
