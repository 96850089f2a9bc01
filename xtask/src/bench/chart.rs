//! The run as a bar chart: SVG by hand, readable on light and dark pages.

use std::fmt::Write as _;

use super::measure::Measured;
use super::peer::{CONTROL, NGINX};
use super::scenario;
use super::stats::{self, Row};

const WIDTH: f64 = 760.0;
/// Where bars begin: proxies' names stand to the left.
const LEFT: f64 = 110.0;
/// Room for the figure beside the longest bar.
const RIGHT: f64 = 120.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;
const HEADING: f64 = 34.0;

/// Processor time a request of each proxy as a ratio to nginx, a group a scenario, with the rounds' spread.
pub(crate) fn draw(measured: &[Measured]) -> String {
    let groups: Vec<(&str, Vec<Row>)> = measured
        .iter()
        .map(|measured| {
            let row = scenario::find(measured.scenario);
            let rows =
                stats::rows(measured).into_iter().filter(|row| row.proxy != CONTROL && row.errors == 0);
            (row.map_or(measured.scenario, |row| row.summary), rows.collect())
        })
        .collect();
    let most = groups.iter().flat_map(|(_, rows)| rows).map(|row| row.ratio.most).fold(1.2, f64::max);
    let x = |ratio: f64| LEFT + ratio / most * (WIDTH - LEFT - RIGHT);

    let mut body = String::new();
    let mut y = 8.0;
    for (title, rows) in &groups {
        let top = y + HEADING - 6.0;
        _ = writeln!(body, r#"<text x="{LEFT}" y="{:.1}" class="title">{}</text>"#, y + 20.0, escape(title));
        y += HEADING;
        for row in rows {
            draw_bar(&mut body, row, y, x);
            y += STEP;
        }
        let nginx = x(1.0);
        _ = writeln!(
            body,
            r#"<line x1="{nginx:.1}" y1="{top:.1}" x2="{nginx:.1}" y2="{y:.1}" class="nginx"/>"#
        );
        y += 8.0;
    }
    y += 18.0;
    _ = writeln!(
        body,
        r#"<text x="{LEFT}" y="{:.1}" class="note">processor time a request ÷ nginx doing the same work in the same run; less is better</text>"#,
        y - 6.0
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" width=\"{WIDTH}\" height=\"{y:.0}\" \
         role=\"img\" aria-label=\"processor time a request, as a ratio to nginx\">\n{STYLE}{body}</svg>\n"
    )
}

fn draw_bar(body: &mut String, row: &Row, y: f64, x: impl Fn(f64) -> f64) {
    let class = match row.proxy {
        "gatewayd" => "ours",
        NGINX => "base",
        _ => "peer",
    };
    let (middle, end) = (y + BAR / 2.0, x(row.ratio.median));
    let (least, most) = (x(row.ratio.least), x(row.ratio.most));
    _ = writeln!(
        body,
        r#"<text x="{:.1}" y="{:.1}" class="name">{}</text>
<rect x="{LEFT}" y="{y:.1}" width="{:.1}" height="{BAR}" class="{class}"/>
<line x1="{least:.1}" y1="{middle:.1}" x2="{most:.1}" y2="{middle:.1}" class="spread"/>
<text x="{:.1}" y="{:.1}" class="figure">{:.2} · {:.1} µs</text>"#,
        LEFT - 8.0,
        middle + 4.5,
        escape(row.proxy),
        end - LEFT,
        end.max(most) + 6.0,
        middle + 4.5,
        row.ratio.median,
        row.nanoseconds.median / 1000.0,
    );
}

const STYLE: &str = "<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 } .name { text-anchor: end } .note { font-size: 11px; fill: #57606a }
.ours { fill: #1a7f64 } .base { fill: #6e7781 } .peer { fill: #a8b3bf }
.spread { stroke: #24292f; stroke-width: 1.5 } .nginx { stroke: #6e7781; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .note { fill: #9198a1 } .ours { fill: #3fb68b } .base { fill: #8b949e } .peer { fill: #545d68 }
  .spread { stroke: #e6edf3 }
}
</style>
";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
