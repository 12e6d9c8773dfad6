//! The pure parts of the bench `speed`: the rows, their goals, and the figures.

mod goal;
mod plan;
mod row;
mod sample;

pub use goal::{Goal, judge};
pub use plan::{BATCH, Floor, Level, Plan, Subject, With, Work};
pub use row::{Row, json};
pub use sample::{Figures, Pair, median, percentile, summary};
