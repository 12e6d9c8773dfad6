//! A measured row, and the file of all rows.

use std::fmt::Display;

use super::goal::{Goal, judge};
use super::plan::Plan;
use super::sample::Figures;

/// A row that was measured.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What was measured.
    pub plan: Plan,
    /// The result.
    pub figures: Figures,
    /// System calls per operation, both sides together; `None` if they cannot be counted.
    pub syscalls: Option<f64>,
    /// Allocations per operation, both sides together.
    pub allocations: f64,
}

/// Returns the rows as a JSON array with one object per line.
pub fn json(rows: &[Row]) -> String {
    let lines: Vec<String> = rows.iter().map(|row| format!("  {{{}}}", fields(row))).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

fn fields(row: &Row) -> String {
    let Row { plan, figures, syscalls, allocations } = row;
    let goal = Goal::of(plan);
    let missed = judge(row).unwrap_or_default().join("; ");
    let fields = [
        ("work", text(plan.work)),
        ("subject", text(plan.subject)),
        ("level", text(plan.level)),
        ("size", plan.size.to_string()),
        ("fds", plan.fds.to_string()),
        ("cpus", plan.cpus.to_string()),
        ("spin", plan.spin.to_string()),
        ("median_us", number(figures.median_us)),
        ("p99_us", number(figures.p99_us)),
        ("floor", text(plan.floor)),
        ("ratio", number(figures.ratio)),
        ("syscalls", syscalls.map_or("null".into(), number)),
        ("allocations", number(*allocations)),
        ("ratio_of", text(if plan.is_throughput() { "throughput" } else { "time" })),
        ("ratio_quartiles", both(figures.quartiles)),
        ("ratio_range", both(figures.range)),
        ("pairs", figures.pairs.to_string()),
        ("floor_median_us", number(figures.floor_median_us)),
        ("goal", goal.map_or("null".into(), text)),
        ("goal_met", goal.map_or("null".into(), |goal| goal.is_met(figures).to_string())),
        ("missed", text(missed)),
    ];
    fields.map(|(key, value)| format!("\"{key}\": {value}")).join(", ")
}

/// Quotes a text. Our texts contain no quotes, backslashes or control characters.
fn text(text: impl Display) -> String {
    format!("\"{text}\"")
}

fn both((lower, upper): (f64, f64)) -> String {
    format!("[{}, {}]", number(lower), number(upper))
}

/// Formats a figure to three decimals, or as null: JSON has no NaN or infinity.
fn number(figure: f64) -> String {
    if figure.is_finite() { format!("{figure:.3}") } else { "null".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_has_the_promised_keys() {
        let plan = Plan::all()[1];
        let figures = Figures { ratio: 1.0399, median_us: 6.5, ..Figures::default() };
        let row = Row { plan, figures, syscalls: None, allocations: 0.0 };
        let text = json(&[row, row]);
        let promised = r#"[
  {"work": "round trip", "subject": "stream", "level": "transport", "size": 64, "fds": 0, \
"cpus": 1, "spin": false, "median_us": 6.500, "p99_us": 0.000, "floor": "send + recvmsg", \
"ratio": 1.040, "syscalls": null, "allocations": 0.000, "#
            .replace("\\\n", "");
        assert!(text.starts_with(&promised), "{text}");
        assert!(text.contains(r#""goal": "≤ 1.05", "goal_met": true, "missed": ""},"#), "{text}");
        assert!(text.ends_with("}\n]\n"), "{text}");
    }

    #[test]
    fn what_is_no_number_is_null() {
        assert_eq!(number(f64::INFINITY), "null");
        assert_eq!(number(0.0395), "0.040");
    }
}
