//! The daemon's statistics as lines of text, for measurements.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use ipc_transport::Instant;
use ipc_worker::{Counters, Ended, Event, Outcome};

use crate::common::ledger::{Counts, Tag};
use crate::common::outlet::Outlet;
use crate::common::watch::Watch;

/// A tick is due this often.
const TICK: Duration = Duration::from_millis(1);

/// A tick later than this follows a suspend of the machine or a stop of the process. Earlier ticks
/// are not counted.
const ASLEEP: Duration = Duration::from_secs(1);

/// Most bytes of a line: what a pipe accepts atomically (pipe(7)).
const LONGEST: usize = 4096;

/// How often statistics are printed.
const LINE: Duration = Duration::from_secs(1);

/// The ticks since the last line, and when the next one is due.
struct Ticks {
    due: Instant,
    count: u64,
    on_time: u64,
    /// How many ticks were late by how many microseconds, in buckets of about 3 %.
    late: BTreeMap<u64, u64>,
}

/// The daemon's statistics, printed on request.
pub(crate) struct Figures {
    ticks: Ticks,
    line_due: Instant,
    /// A new worker has not yet replied.
    awaits_reply: bool,
    /// Where to print, if at all.
    output: Option<Outlet>,
}

impl Figures {
    pub(crate) fn new(prints: bool) -> Self {
        let now = Instant::now();
        let ticks = Ticks { due: now + TICK, count: 0, on_time: 0, late: BTreeMap::new() };
        let output = prints.then(|| Outlet::new(rustix::stdio::stdout()));
        Self { ticks, line_due: now + LINE, awaits_reply: false, output }
    }

    /// Prints an event with its details.
    fn print(&mut self, word: &str, now: Instant, rest: std::fmt::Arguments<'_>) {
        if let Some(output) = &mut self.output {
            let mut line = format!("{word} t={}{rest}\n", now.as_nanoseconds());
            if line.len() > LONGEST {
                line.truncate(LONGEST - 1);
                line.push('\n');
            }
            output.put(line.as_bytes());
        }
    }

    /// Prints the counts, the ticks since the last line, and the nonzero counters.
    fn print_figures(&mut self, word: &str, now: Instant, counts: &Counts, counters: &Counters) {
        if self.output.is_none() {
            return;
        }
        let mut late = String::new();
        for (micros, count) in &self.ticks.late {
            let comma = if late.is_empty() { "" } else { "," };
            // Writing to memory does not fail.
            _ = write!(late, "{comma}{micros}:{count}");
        }
        if late.is_empty() {
            late.push('-');
        }
        let mut more = String::new();
        for (name, count) in counters.iter().filter(|&(_, count)| count > 0) {
            _ = write!(more, " {name}={count}");
        }
        let Counts { received, written, lost, refused, dropped, resent, deaths, paused } = counts;
        let Ticks { count, on_time, .. } = self.ticks;
        self.print(
            word,
            now,
            format_args!(
                " received={received} written={written} lost={lost} refused={refused} \
                 dropped={dropped} resent={resent} deaths={deaths} ticks={count} on_time={on_time} \
                 paused={paused} late={late}{more}"
            ),
        );
        self.ticks.count = 0;
        self.ticks.on_time = 0;
        self.ticks.late.clear();
    }
}

impl Watch for Figures {
    /// Ticks are due only if their lateness is measured, because each one wakes the process.
    fn next_tick(&self) -> Instant {
        if self.output.is_some() { self.ticks.due } else { Instant::NEVER }
    }

    fn ready(&mut self, now: Instant, worker: i32) {
        let pid = std::process::id();
        self.print("ready", now, format_args!(" pid={pid} worker={worker}"));
    }

    /// Handles every tick that is due, each with its lateness: a loop that was away for 200 ms has
    /// missed 200 of them.
    fn tick(&mut self, now: Instant, counts: &Counts, counters: &Counters) {
        if self.output.is_none() {
            return;
        }
        while self.ticks.due <= now {
            let late = now.since(self.ticks.due);
            self.ticks.count += 1;
            self.ticks.on_time += u64::from(late < TICK);
            let micros = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            *self.ticks.late.entry(bucket(micros)).or_default() += 1;
            self.ticks.due = if late > ASLEEP { now } else { self.ticks.due } + TICK;
        }
        if now >= self.line_due {
            self.print_figures("second", now, counts, counters);
            let late = now.since(self.line_due);
            self.line_due = if late > ASLEEP { now } else { self.line_due } + LINE;
        }
    }

    /// Prints what happens to workers.
    fn note(&mut self, event: &Event<'_, Tag>, worker: Option<i32>) {
        let now = Instant::now();
        match event {
            Event::Started { resent } => {
                self.awaits_reply = true;
                let worker = worker.unwrap_or(0);
                self.print("started", now, format_args!(" worker={worker} resent={resent}"));
            }
            Event::Done { outcome: Outcome::Reply(_), .. } if self.awaits_reply => {
                self.awaits_reply = false;
                self.print("first-reply", now, format_args!(""));
            }
            Event::Died(Ended::Exited(status)) => {
                self.print("died", now, format_args!(" ended=exited:{status}"));
            }
            Event::Died(Ended::Killed(signal)) => {
                self.print("died", now, format_args!(" ended=killed:{signal}"));
            }
            Event::Died(_) => self.print("died", now, format_args!(" ended=unknown")),
            _ => {}
        }
    }

    fn end(&mut self, now: Instant, counts: &Counts, counters: &Counters) {
        self.print_figures("end", now, counts, counters);
    }
}

/// Returns the lower bound of a number's bucket: the five binary digits after the leading one.
const fn bucket(micros: u64) -> u64 {
    let bits = u64::BITS - micros.leading_zeros();
    let dropped = bits.saturating_sub(6);
    micros >> dropped << dropped
}
