//! A run's end as SVG: a lane for each CPU, time downwards, an arrow from the cause to the end. One file
//! with nothing from elsewhere.

use super::Run;
use super::lanes::{Row, Shown, end, wrap};
use std::fmt::{self, Write};

/// Pixels.
const LANE: usize = 400;
const MARGIN: usize = 100;
/// Between the numbers of steps and the boxes, for the arrow.
const BEND: usize = 40;
const LINE: usize = 16;
const GAP: usize = 12;
const TOP: usize = 100;
/// Characters in a lane.
const WIDTH: usize = 52;

const STYLE: &str = "text{font:12px ui-monospace,monospace;fill:#222}\
.title{font-size:16px;font-weight:bold}.step{fill:#888;text-anchor:end}\
.lane{stroke:#ccc}.box{fill:#f4f6f8;stroke:#b8c0c8}\
.cause{fill:#fff3d6;stroke:#d9a400}.end{fill:#ffe1e1;stroke:#c62828}\
.arrow{fill:none;stroke:#c62828;stroke-width:2}.missing{fill:#c62828}";

/// A step's box.
struct Boxed<'a> {
    row: &'a Row<'a>,
    lines: Vec<String>,
    y: usize,
}

impl Boxed<'_> {
    fn x(&self) -> usize {
        MARGIN + self.row.told.cpu * LANE
    }

    fn height(&self) -> usize {
        self.lines.len() * LINE + 8
    }
}

/// The picture of `run`, of the search `name`.
pub(super) fn draw(name: &str, run: &Run) -> String {
    let mut svg = String::new();
    // Writing to a string works.
    let _ = write(&mut svg, name, run);
    svg
}

fn write(svg: &mut String, name: &str, run: &Run) -> fmt::Result {
    let end = end(run);
    let shown = Shown::of(run, &end);
    let mut y = TOP;
    let mut boxes = Vec::new();
    for row in &shown.rows {
        let boxed = Boxed { row, lines: wrap(&row.told.text, WIDTH), y };
        y += boxed.height() + GAP;
        boxes.push(boxed);
    }
    // The last box has it, where there is one.
    let mut foot = match end {
        Some(_) => Vec::new(),
        None => wrap(&format!("broken: {}", shown.broken), shown.cpus * WIDTH),
    };
    if let Some(step) = shown.missing {
        foot.extend(wrap(&format!("missing: {step}"), shown.cpus * WIDTH));
    }
    let (width, height) = (MARGIN + shown.cpus * LANE, y + (foot.len() + 2) * LINE);
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <defs><marker id=\"head\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"4\" \
         orient=\"auto\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#c62828\"/></marker></defs>"
    )?;
    text(svg, "title", MARGIN, 30, name)?;
    for cpu in 0..shown.cpus {
        let x = MARGIN + cpu * LANE;
        text(svg, "title", x, TOP - 30, &format!("cpu {cpu}"))?;
        let lane = x + (LANE - 20) / 2;
        writeln!(svg, "<path class=\"lane\" d=\"M{lane},{} V{y}\"/>", TOP - 20)?;
    }
    boxes.iter().try_for_each(|boxed| write_box(svg, boxed))?;
    // What happens in one step has its number once.
    let steps = || boxes.iter().map(|boxed| boxed.row.told.step);
    let before = std::iter::once(None).chain(steps().map(Some));
    for ((boxed, step), before) in boxes.iter().zip(steps()).zip(before) {
        if before != Some(step) {
            text(svg, "step", MARGIN - BEND, boxed.y + LINE, &step.to_string())?;
        }
    }
    arrow(svg, &boxes)?;
    for (n, line) in foot.iter().enumerate() {
        text(svg, "missing", MARGIN, y + (n + 1) * LINE, line)?;
    }
    writeln!(svg, "</svg>")
}

fn write_box(svg: &mut String, boxed: &Boxed<'_>) -> fmt::Result {
    let class = match boxed.row {
        Row { is_end: true, .. } => "end",
        Row { is_cause: true, .. } => "cause",
        _ => "box",
    };
    let (x, y, width, height) = (boxed.x(), boxed.y, LANE - 20, boxed.height());
    writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>"
    )?;
    let mut lines = (1..).zip(&boxed.lines);
    lines.try_for_each(|(n, line)| text(svg, "what", x + 8, y + n * LINE, line))
}

/// From what was changed to where that went wrong, along the left edges.
fn arrow(svg: &mut String, boxes: &[Boxed<'_>]) -> fmt::Result {
    let (Some(from), Some(to)) =
        (boxes.iter().find(|b| b.row.is_cause), boxes.iter().find(|b| b.row.is_end))
    else {
        return Ok(());
    };
    let middle = |boxed: &Boxed<'_>| boxed.y + boxed.height() / 2;
    let (x0, y0, x1, y1) = (from.x(), middle(from), to.x(), middle(to));
    // It leaves and arrives from the left, and bends out a little.
    let (c0, c1) = (x0.saturating_sub(BEND), x1.saturating_sub(BEND));
    writeln!(
        svg,
        "<path class=\"arrow\" d=\"M{x0},{y0} C{c0},{y0} {c1},{y1} {x1},{y1}\" \
         marker-end=\"url(#head)\"/>"
    )
}

fn text(svg: &mut String, class: &str, x: usize, y: usize, text: &str) -> fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(svg, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>")
}
