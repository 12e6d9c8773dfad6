//! A chart of how late the ticks were, sorted from the least late to the latest, with a line for
//! each way to write. Both scales are logarithmic, so that one tick in a thousand is visible.

use std::{io, path::Path};

use svg::{
    Document, Node,
    node::element::{Line, Polyline, Rectangle, Text},
};

use super::{
    figures::Histogram, machine::Machine, measured::Measured, phase::Phase, report::Report,
};

const SIZE: (u32, u32) = (900, 470);
/// Where the scales begin and end.
const LEFT: f64 = 84.0;
const RIGHT: f64 = 830.0;
const TOP: f64 = 100.0;
const BOTTOM: f64 = 376.0;
/// The distance between the names of two lines.
const LEGEND: f64 = 250.0;

/// The colours of the charts of `cargo xtask bench --report`.
const IN_LINE: &str = "#e08a2c";
const WORKER: &str = "#1f6fb4";
const KILLED: &str = "#8a8a8a";
const INK: &str = "#222222";
const GRID: &str = "#dddddd";

/// The lines. Each is drawn over the earlier ones.
const LINES: [(Phase, &str, &str); 3] = [
    (Phase::InLine, "written inline", IN_LINE),
    (Phase::Worker, "written by a worker", WORKER),
    (Phase::Killed, "by a worker, killed", KILLED),
];

/// The ticks are due this often.
const PERIOD_US: u64 = 1000;
/// The scale of lateness, and its grid.
const LATE_US: [(u64, &str); 6] = [
    (10, "10 µs"),
    (100, "100 µs"),
    (PERIOD_US, "1 ms"),
    (10_000, "10 ms"),
    (100_000, "100 ms"),
    (1_000_000, "1 s"),
];
/// The grid of percentiles: all but one of this many ticks.
const ALL_BUT_ONE_OF: [(u64, &str); 5] =
    [(1, "min"), (2, "p50"), (10, "p90"), (100, "p99"), (1000, "p99.9")];

/// Draws the steady phases of a demo and the one in which the worker is killed.
pub(super) fn draw(path: &Path, report: &Report<'_>) -> io::Result<()> {
    let phase = |phase| report.columns().find(move |of| of.phase == phase);
    let lines: Vec<(&Measured, &str, &str)> =
        LINES.iter().filter_map(|&(of, name, color)| Some((phase(of)?, name, color))).collect();
    let most = lines.iter().map(|(of, ..)| of.late.count()).max().unwrap_or(0);
    let scale = Scale { most };
    let mut chart = Chart::new();
    chart.text("Lateness of a daemon's 1 ms tick", (16.0, 24.0), 20, START);
    chart.text(&conditions(report), (16.0, 50.0), 14, START);
    grid(&mut chart, &scale);
    for (index, (of, name, color)) in (0_u32..).zip(&lines) {
        chart.steps(&scale.line(&of.late), color);
        let name = match of.kills.len() {
            0 => name.to_string(),
            kills => format!("{name} {kills} times"),
        };
        chart.legend(&name, (LEFT + f64::from(index) * LEGEND, 77.0), color);
    }
    chart.text(&measured_on(report.machine, &lines), (16.0, BOTTOM + 74.0), 12, START);
    svg::save(path, &chart.0)
}

fn grid(chart: &mut Chart, scale: &Scale) {
    for (late_us, label) in LATE_US {
        let y = scale.y(late_us);
        let color = if late_us == PERIOD_US { INK } else { GRID };
        chart.line((LEFT - 6.0, y), (RIGHT, y), color);
        chart.text(label, (LEFT - 12.0, y), 13, END);
    }
    let above = (LEFT + 34.0, scale.y(PERIOD_US) - 9.0);
    chart.text("late by a whole tick", above, 12, START);
    for (of, label) in ALL_BUT_ONE_OF.into_iter().filter(|(of, _)| *of < scale.most) {
        let x = scale.x(1, of);
        chart.line((x, TOP), (x, BOTTOM + 6.0), GRID);
        chart.text(label, (x, BOTTOM + 18.0), 13, MIDDLE);
    }
    chart.line((RIGHT, TOP), (RIGHT, BOTTOM + 6.0), GRID);
    chart.text("max", (RIGHT, BOTTOM + 18.0), 13, MIDDLE);
    chart.text("percentile of the ticks", ((LEFT + RIGHT) / 2.0, BOTTOM + 44.0), 14, MIDDLE);
}

fn conditions(report: &Report<'_>) -> String {
    let disk = match report.options.stall.and_then(|stall| stall.split_once('/')) {
        Some((stalls, each)) => format!("writes stall for {stalls} ms in each {each} ms"),
        None => "the disk is not slowed".into(),
    };
    format!("logd under {} messages per second; {disk}", report.options.rate)
}

fn measured_on(machine: &Machine, lines: &[(&Measured, &str, &str)]) -> String {
    let ticks: Vec<String> = lines.iter().map(|(of, ..)| of.late.count().to_string()).collect();
    let ticks = ticks.join(", ");
    let Machine { cpu, cpu_count, kernel, file_system, date } = machine;
    format!("Ticks: {ticks}. {cpu}, {cpu_count} CPUs, {kernel}, {file_system}, {date}")
}

/// Maps shares and lateness to places.
struct Scale {
    /// The most ticks of any line.
    most: u64,
}

impl Scale {
    /// Returns the place of the percentile that `left` of `all` ticks exceed. The latest tick is at
    /// the right end.
    fn x(&self, left: u64, all: u64) -> f64 {
        let share = (all as f64 / left.max(1) as f64).ln() / (self.most.max(2) as f64).ln();
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    fn y(&self, late_us: u64) -> f64 {
        let [(least, _), .., (most, _)] = LATE_US;
        let share = (late_us.max(1) as f64 / least as f64).ln() / (most as f64 / least as f64).ln();
        BOTTOM - (BOTTOM - TOP) * share.clamp(0.0, 1.0)
    }

    /// Returns the line of the times: a step for each.
    fn line(&self, late: &Histogram) -> Vec<(f64, f64)> {
        let all = late.count();
        let step = |(late_us, ranks): (u64, [u64; 2])| {
            ranks.map(|rank| (self.x(all.saturating_sub(rank), all), self.y(late_us)))
        };
        late.ranks().flat_map(step).collect()
    }
}

/// Where a text is anchored.
const START: &str = "start";
const MIDDLE: &str = "middle";
const END: &str = "end";

/// The picture.
struct Chart(Document);

impl Chart {
    fn new() -> Self {
        let chart = Document::new().set("width", SIZE.0).set("height", SIZE.1);
        let ground = Rectangle::new().set("width", "100%").set("height", "100%");
        Self(chart.set("font-family", "sans-serif").add(ground.set("fill", "#ffffff")))
    }

    fn text(&mut self, text: &str, (x, y): (f64, f64), size: u32, anchor: &str) {
        let text = Text::new(text).set("x", place(x)).set("y", place(y)).set("dy", "0.35em");
        self.0.append(text.set("font-size", size).set("text-anchor", anchor).set("fill", INK));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), color: &str) {
        let line = Line::new().set("x1", place(from.0)).set("y1", place(from.1));
        let line = line.set("x2", place(to.0)).set("y2", place(to.1));
        self.0.append(line.set("stroke", color));
    }

    fn steps(&mut self, places: &[(f64, f64)], color: &str) {
        let places: Vec<String> =
            places.iter().map(|&(x, y)| format!("{},{}", place(x), place(y))).collect();
        let steps = Polyline::new().set("points", places.join(" ")).set("fill", "none");
        self.0.append(steps.set("stroke", color).set("stroke-width", 3));
    }

    fn legend(&mut self, name: &str, (x, y): (f64, f64), color: &str) {
        let mark = Rectangle::new().set("x", place(x)).set("y", place(y - 6.0));
        self.0.append(mark.set("width", 12).set("height", 12).set("fill", color));
        self.text(name, (x + 18.0, y), 14, START);
    }
}

/// Writes a place to a tenth of a pixel.
fn place(at: f64) -> String {
    format!("{at:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_goes_from_the_least_late_tick_to_the_latest() {
        let late: Histogram = [10, 10, 10, 1_000_000].into_iter().collect();
        let line = Scale { most: late.count() }.line(&late);
        let middle = (LEFT + RIGHT) / 2.0;
        assert_eq!(line.first(), Some(&(LEFT, BOTTOM)));
        assert_eq!(line.last().map(|&(x, _)| x), Some(RIGHT));
        assert!(line.last().is_some_and(|&(_, y)| y < TOP + 5.0), "rounded down");
        // Half of the ticks are in the left half of a scale of four.
        assert_eq!(Scale { most: 4 }.x(2, 4), middle);
    }
}
