//! Line charts: SVG by hand, with a logarithmic height, readable on light and dark pages.

use std::fmt::Write as _;

/// One chart of several that stand under each other.
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) lines: Vec<Line>,
}

/// A line with its name at its end.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// By rising x.
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const LEFT: f64 = 56.0;
/// Room for names at the ends of lines.
const RIGHT: f64 = 150.0;
const HEIGHT: f64 = 240.0;
/// Between panels: title above, numbers below.
const ABOVE: f64 = 46.0;
const BELOW: f64 = 34.0;
/// The least distance between two names.
const NAME: f64 = 14.0;

/// All panels in one drawing.
pub(crate) fn draw(panels: &[Panel], what: &str) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    for panel in panels {
        y += ABOVE;
        draw_panel(&mut body, panel, y);
        y += HEIGHT + BELOW;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\" role=\"img\" \
         aria-label=\"{what}\">\n{STYLE}{body}</svg>\n"
    )
}

fn draw_panel(body: &mut String, panel: &Panel, top: f64) {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let (left, right) = span(points().map(|point| point.0));
    let (least, most) = span(points().map(|point| point.1.max(f64::MIN_POSITIVE).log10()));
    // Whole decades, half of one at least.
    let (low, high) = (least - 0.1, most.max(least + 0.5) + 0.1);
    let x =
        |value: f64| LEFT + (value - left) / (right - left).max(f64::MIN_POSITIVE) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| top + HEIGHT - (value.max(f64::MIN_POSITIVE).log10() - low) / (high - low) * HEIGHT;
    _ = writeln!(body, r#"<text x="8" y="{:.1}" class="title">{}</text>"#, top - 18.0, wrap(&panel.title));
    for (value, label) in ticks(low, high) {
        let at = y(value);
        _ = writeln!(
            body,
            r#"<line x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}" class="grid"/><text x="{:.1}" y="{:.1}" class="tick">{label}</text>"#,
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
        );
    }
    let mut loads: Vec<f64> = points().map(|point| point.0).collect();
    loads.sort_by(f64::total_cmp);
    loads.dedup();
    for load in loads {
        _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}" class="load">{load}</text>"#,
            x(load),
            top + HEIGHT + 16.0
        );
    }
    let mut ends: Vec<(f64, usize)> = Vec::new();
    for (number, line) in panel.lines.iter().enumerate() {
        let path: Vec<String> =
            line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        _ = writeln!(body, r#"<polyline points="{}" class="line c{number}"/>"#, path.join(" "));
        ends.extend(line.points.last().map(|point| (y(point.1), number)));
    }
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut before = f64::NEG_INFINITY;
    for (end, number) in ends {
        before = end.max(before + NAME);
        let name = panel.lines.get(number).map_or("", |line| line.name);
        _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}" class="name n{number}">{name}</text>"#,
            WIDTH - RIGHT + 8.0,
            before + 4.0
        );
    }
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)))
}

/// 1, 2 and 5 of every decade between two logarithms.
fn ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let mut ticks = Vec::new();
    for decade in -3..7 {
        for digit in [1.0, 2.0, 5.0] {
            let value = digit * 10_f64.powi(decade);
            if (low..=high).contains(&value.log10()) {
                let places = usize::try_from(-decade).unwrap_or(0);
                ticks.push((value, format!("{value:.places$}")));
            }
        }
    }
    ticks
}

/// A title in lines of what fits.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| line.chars().count() + word.chars().count() > 112);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            _ = write!(line, "{}{word}", if line.is_empty() { "" } else { " " });
        }
    }
    let spans = lines.iter().enumerate().map(|(number, line)| {
        let shift = if number == 0 { 0 } else { 14 };
        format!(r#"<tspan x="8" dy="{shift}">{}</tspan>"#, line.replace('&', "&amp;").replace('<', "&lt;"))
    });
    spans.collect()
}

const STYLE: &str = "<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .tick { text-anchor: end; fill: #57606a } .load { text-anchor: middle; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 }
.c0 { stroke: #8c959f } .c1 { stroke: #bf8700 } .c2 { stroke: #0969da } .c3 { stroke: #8250df } .c4 { stroke: #1a7f64 }
.c5 { stroke: #bc4c00 } .c6 { stroke: #cf222e }
.n0 { fill: #8c959f } .n1 { fill: #bf8700 } .n2 { fill: #0969da } .n3 { fill: #8250df } .n4 { fill: #1a7f64 }
.n5 { fill: #bc4c00 } .n6 { fill: #cf222e }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .tick, .load { fill: #9198a1 } .grid { stroke: #30363d } }
</style>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_a_line_and_a_name_for_each_and_names_do_not_overlap() {
        let line = |name, factor: f64| Line { name, points: vec![(0.5, factor), (0.9, 100.0 * factor)] };
        let panel = Panel { title: "a < b".to_owned(), lines: vec![line("one", 1.0), line("two", 1.001)] };
        let svg = draw(&[panel], "p99");
        assert_eq!((svg.matches("<polyline").count(), svg.matches(r#"class="name"#).count()), (2, 2));
        assert!(svg.contains("a &lt; b") && svg.contains(">50</text>"), "{svg}");
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains(r#"class="name"#))
            .filter_map(|line| line.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!(heights[1] - heights[0] >= NAME - 0.1, "{heights:?}");
    }
}
