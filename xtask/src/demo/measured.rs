//! What was measured in a phase.

use super::{
    figures::{Histogram, ms},
    ledger::Fate,
    load::Sent,
    phase::Phase,
    stats::{Line, Second},
};

/// What was measured in a phase.
pub(crate) struct Measured {
    pub(crate) phase: Phase,
    pub(crate) ticks: u64,
    pub(crate) on_time: u64,
    pub(crate) late: Histogram,
    /// Requests that were sent again to a new worker.
    pub(crate) resent: u64,
    /// How often the daemon stopped reading its socket because the worker was behind.
    pub(crate) paused: u64,
    pub(crate) restarts: u64,
    pub(crate) kills: Vec<Kill>,
    pub(crate) sent: Sent,
    pub(crate) fate: Fate,
}

/// A kill of the worker and what followed; times are CLOCK_MONOTONIC, in ns.
pub(crate) struct Kill {
    at: u64,
    ready: Option<u64>,
    reply: Option<u64>,
}

impl Kill {
    pub(crate) fn at(t: u64) -> Self {
        Self { at: t, ready: None, reply: None }
    }

    /// The time, in µs, until a new worker was ready.
    pub(crate) fn to_ready_us(&self) -> Option<u64> {
        Some(self.ready?.saturating_sub(self.at) / 1000)
    }

    /// The time, in µs, until the first request was confirmed again.
    pub(crate) fn to_reply_us(&self) -> Option<u64> {
        Some(self.reply?.saturating_sub(self.at) / 1000)
    }
}

impl Measured {
    pub(crate) fn new(phase: Phase) -> Self {
        Self {
            phase,
            ticks: 0,
            on_time: 0,
            late: Histogram::default(),
            resent: 0,
            paused: 0,
            restarts: 0,
            kills: Vec::new(),
            sent: Sent::default(),
            fate: Fate::default(),
        }
    }

    /// Adds a second of the daemon's figures; `before` has the figures of the second before.
    pub(crate) fn add(&mut self, before: &Second, second: &Second) {
        self.ticks += second.ticks;
        self.on_time += second.on_time;
        self.late.merge(&second.late);
        self.add_counts(before, second);
    }

    /// Adds only the totals since the daemon's start, since its last line includes ticks without
    /// load.
    pub(crate) fn add_counts(&mut self, before: &Second, second: &Second) {
        self.resent += second.resent.saturating_sub(before.resent);
        self.paused += second.paused.saturating_sub(before.paused);
    }

    /// Records and shows what happened to the worker.
    pub(crate) fn note(&mut self, line: &Line) {
        if matches!(line, Line::Started { .. }) {
            self.restarts += 1;
        }
        let Some(kill) = self.kills.last_mut() else { return };
        match *line {
            Line::Started { t, .. } if kill.ready.is_none() => kill.ready = Some(t),
            Line::FirstReply { t } if kill.reply.is_none() => {
                kill.reply = Some(t);
                let (ready, reply) = (ms(kill.to_ready_us()), ms(kill.to_reply_us()));
                println!(
                    "          SIGKILL to the worker: ready in {ready}, first reply in {reply}"
                );
            }
            _ => {}
        }
    }

    /// The times from each kill until a new worker is ready.
    pub(crate) fn to_ready(&self) -> Histogram {
        self.kills.iter().filter_map(Kill::to_ready_us).collect()
    }

    /// The times from each kill until a request is confirmed again.
    pub(crate) fn to_reply(&self) -> Histogram {
        self.kills.iter().filter_map(Kill::to_reply_us).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kill_is_timed_to_the_next_start_and_reply() {
        let mut measured = Measured::new(Phase::Killed);
        measured.kills.push(Kill::at(1_000_000));
        measured.note(&Line::Died);
        measured.note(&Line::Started { t: 1_020_000, worker: None });
        measured.note(&Line::FirstReply { t: 1_030_000 });
        measured.note(&Line::FirstReply { t: 9_000_000 });
        assert_eq!(measured.to_ready().max(), Some(20));
        assert_eq!(measured.to_reply().max(), Some(30));
        assert_eq!(measured.restarts, 1);
    }

    #[test]
    fn counts_since_the_start_belong_to_the_phase_they_rose_in() {
        let (before, after) = (second(3, 10), second(5, 12));
        let mut measured = Measured::new(Phase::Killed);
        measured.add(&before, &after);
        measured.add_counts(&after, &second(6, 12));
        assert_eq!((measured.resent, measured.paused, measured.ticks), (3, 2, 1000));
    }

    fn second(resent: u64, paused: u64) -> Second {
        Second { resent, paused, ticks: 1000, ..Second::default() }
    }
}
