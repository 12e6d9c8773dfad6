//! A chart of one table. Each contender has a bar from the floor, at 1, to its ratio; faster ones
//! extend to the left. The scale is logarithmic, so 0.5 and 2 are equally far from 1.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::entrant;
use crate::results::Row;

const WIDTH: i32 = 900;
/// The ends of the scale.
const LEFT: i32 = 210;
const RIGHT: i32 = WIDTH - 60;
/// The position of the first bar, and the distance between bars.
const TOP: i32 = 84;
const STEP: i32 = 26;

const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb4);
const FLOOR: RGBColor = RGBColor(0x8a, 0x8a, 0x8a);
const OTHERS: RGBColor = RGBColor(0xe0, 0x8a, 0x2c);
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// Ratios with a grid line.
const TICKS: [f64; 13] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Maps ratios to positions.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// Covers all rows, with room for the figures at the ends of the bars.
    fn of(rows: &[&Row]) -> Self {
        let least = rows.iter().map(|row| row.ratio.min(row.p10)).fold(1.0, f64::min);
        let most = rows.iter().map(|row| row.ratio.max(row.p90)).fold(1.0, f64::max);
        Self { least: (least / 1.6).min(0.5), most: (most * 1.6).max(2.0) }
    }

    fn place(&self, ratio: f64) -> i32 {
        let share = (ratio / self.least).ln() / (self.most / self.least).ln();
        LEFT + (share * f64::from(RIGHT - LEFT)).round() as i32
    }
}

/// Draws the rows, fastest first.
pub(super) fn draw(path: &Path, title: &str, rows: &[&Row]) -> Result<(), Box<dyn Error>> {
    let mut rows = rows.to_vec();
    rows.sort_by(|one, other| one.ratio.total_cmp(&other.ratio));
    let bottom = TOP + STEP * rows.len() as i32;
    let scale = Scale::of(&rows);
    let area = SVGBackend::new(path, (WIDTH as u32, (bottom + 40) as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |text: &str, place, size, anchor, color: &RGBColor| {
        let style = ("sans-serif", size).into_font().color(color).pos(anchor);
        area.draw(&Text::new(text.to_owned(), place, style))
    };
    let (start, center, end) = (at(HPos::Left), at(HPos::Center), at(HPos::Right));
    text(title, (16, 24), 20, start, &INK)?;
    let floor = rows.iter().find(|row| is_unit(row)).map_or("the floor", |row| &row.name);
    text(&format!("time as a multiple of {floor}; lines: p10 to p90"), (16, 50), 14, start, &INK)?;
    for (index, (name, color)) in
        [("bare calls", FLOOR), ("this project", OURS), ("other crates", OTHERS)].iter().enumerate()
    {
        let x = 520 + 125 * index as i32;
        area.draw(&Rectangle::new([(x, 45), (x + 12, 57)], color.filled()))?;
        text(name, (x + 18, 51), 14, start, &INK)?;
    }
    for tick in TICKS.into_iter().filter(|tick| (scale.least..=scale.most).contains(tick)) {
        let x = scale.place(tick);
        let color = if tick == 1.0 { INK } else { GRID };
        area.draw(&PathElement::new([(x, TOP - 6), (x, bottom + 6)], color))?;
        text(&tick.to_string(), (x, bottom + 20), 13, center, &INK)?;
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + STEP * index as i32 + STEP / 2;
        text(&row.name, (LEFT - 12, y), 14, end, &INK)?;
        let (unit, tip) = (scale.place(1.0), scale.place(row.ratio));
        let bar = [(unit.min(tip), y - 8), (unit.max(tip), y + 8)];
        area.draw(&Rectangle::new(bar, color(&row.name).filled()))?;
        let (low, high) = (scale.place(row.p10), scale.place(row.p90));
        area.draw(&PathElement::new([(low, y), (high, y)], INK))?;
        // Beyond the bar and the line, on the side with room.
        let figure = format!("{:.2}", row.ratio);
        match row.ratio < 1.0 {
            true => text(&figure, (tip.min(low) - 6, y), 13, end, &INK)?,
            false => text(&figure, (tip.max(high) + 6, y), 13, start, &INK)?,
        }
    }
    area.present()?;
    Ok(())
}

fn at(side: HPos) -> Pos {
    Pos::new(side, VPos::Center)
}

fn is_unit(row: &Row) -> bool {
    (row.ratio, row.p10, row.p90) == (1.0, 1.0, 1.0)
}

fn color(name: &str) -> RGBColor {
    match entrant(name) {
        Some(entrant) if entrant.is_floor() => FLOOR,
        Some(entrant) if entrant.is_ours() => OURS,
        _ => OTHERS,
    }
}
