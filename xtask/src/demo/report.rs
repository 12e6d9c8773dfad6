//! The table of a demo, and the same figures as JSON.

use serde_json::{Value, json};

use super::{
    figures::{Histogram, ms, percent},
    machine::Machine,
    measured::Measured,
    options::Options,
    run::Finished,
    verdict::{Check, Verdict},
};

/// Everything in the report.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) machine: &'a Machine,
    pub(crate) runs: &'a [Finished],
    pub(crate) checks: &'a [Check],
}

/// A row of the table: its name, and its figure in a column.
type Row = (&'static str, fn(&Measured) -> String);

const ROWS: [Row; 24] = [
    ("ticks due", |of| of.ticks.to_string()),
    ("ticks on time", |of| percent(of.on_time, of.ticks)),
    ("tick lateness p50", |of| ms(of.late.percentile(500))),
    ("tick lateness p99", |of| ms(of.late.percentile(990))),
    ("tick lateness p99.9", |of| ms(of.late.percentile(999))),
    ("tick lateness max", |of| ms(of.late.max())),
    ("send took p50", |of| ms(of.sent.took.percentile(500))),
    ("send took p99", |of| ms(of.sent.took.percentile(990))),
    ("send took max", |of| ms(of.sent.took.max())),
    ("messages due", |of| of.sent.due.to_string()),
    ("messages sent", |of| of.sent.accepted_count().to_string()),
    ("sent by logger(1)", |of| of.sent.by_logger().to_string()),
    ("written", |of| of.fate.written.to_string()),
    ("missing", |of| of.fate.missing.to_string()),
    ("doubled", |of| of.fate.doubled.to_string()),
    ("reported lost", |of| of.fate.lost.to_string()),
    ("sent again", |of| of.resent.to_string()),
    ("reading paused", |of| of.paused.to_string()),
    ("kills", |of| of.kills.len().to_string()),
    ("restarts", |of| of.restarts.to_string()),
    ("kill to ready, median", |of| ms(of.to_ready().percentile(500))),
    ("kill to ready, max", |of| ms(of.to_ready().max())),
    ("kill to first reply, median", |of| ms(of.to_reply().percentile(500))),
    ("kill to first reply, max", |of| ms(of.to_reply().max())),
];

impl Report<'_> {
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Measured> {
        self.runs.iter().flat_map(|run| &run.phases)
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }

    /// Prints the table, the conditions, and the checks.
    pub(crate) fn print(&self) {
        println!();
        self.print_row("", |of| of.phase.title()[0].into());
        self.print_row("", |of| of.phase.title()[1].into());
        for (name, figure) in ROWS {
            self.print_row(name, figure);
        }
        let Machine { cpu, cpu_count, kernel, file_system, date } = self.machine;
        println!("\nmachine: {cpu}, {cpu_count} CPUs, on {date}");
        println!("kernel: {kernel}");
        println!("file system: {file_system}");
        println!("injected: {}", self.injected());
        println!(
            "load: {} messages per second; times are rounded down by up to 3 %\n",
            self.options.rate
        );
        for Check { verdict, text } in self.checks {
            match verdict {
                Verdict::Ok => println!("ok     {text}"),
                Verdict::Failed => println!("FAILED {text}"),
                Verdict::Note => println!("note   {text}"),
            }
        }
    }

    fn print_row(&self, name: &str, figure: fn(&Measured) -> String) {
        let figures: String = self.columns().map(|of| format!("{:>16}", figure(of))).collect();
        println!("{name:28}{figures}");
    }

    fn injected(&self) -> String {
        match self.options.stall {
            Some(_) => "200 ms in each 250 ms, in the write path, the same in both modes".into(),
            None => "none".into(),
        }
    }

    /// Returns the same figures as JSON.
    pub(crate) fn json(&self) -> Value {
        let Machine { cpu, cpu_count, kernel, file_system, date } = self.machine;
        let checks: Vec<Value> = self
            .checks
            .iter()
            .map(|check| json!({ "verdict": verdict_key(&check.verdict), "text": check.text }))
            .collect();
        json!({
            "ok": self.is_ok(),
            "machine": {
                "cpu": cpu, "cpu_count": cpu_count, "kernel": kernel, "file_system": file_system,
                "date": date,
            },
            "injected": self.injected(),
            "rate": self.options.rate,
            "phases": self.columns().map(phase_json).collect::<Vec<_>>(),
            "checks": checks,
        })
    }
}

fn verdict_key(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Failed => "failed",
        Verdict::Note => "note",
    }
}

fn phase_json(of: &Measured) -> Value {
    json!({
        "phase": of.phase.key(),
        "ticks": of.ticks,
        "ticks_on_time": of.on_time,
        "tick_lateness_us": times_json(&of.late),
        "send_us": times_json(&of.sent.took),
        "messages": {
            "due": of.sent.due,
            "sent": of.sent.accepted_count(),
            "sent_by_logger": of.sent.by_logger(),
            "timed_out": of.sent.timed_out,
            "written": of.fate.written,
            "missing": of.fate.missing,
            "doubled": of.fate.doubled,
            "lost_by_name": of.fate.lost,
            "sent_again": of.resent,
        },
        "paused": of.paused,
        "kills": of.kills.len(),
        "restarts": of.restarts,
        "kill_to_ready_us": times_json(&of.to_ready()),
        "kill_to_first_reply_us": times_json(&of.to_reply()),
    })
}

fn times_json(times: &Histogram) -> Value {
    json!({
        "p50": times.percentile(500),
        "p99": times.percentile(990),
        "p999": times.percentile(999),
        "max": times.max(),
    })
}
