//! What becomes of each message, and who is told.

use std::fmt;

use heapless::Vec;
use ipc_transport::Instant;
use ipc_worker::{Ended, Errno, Event, How, Outcome, StartError};

use crate::disk::work;
use crate::line::Datagram;
use crate::say::complain;
use crate::stats::Stats;

/// Bytes by which a message is named.
const NAME: usize = 256;

/// Why what does not fit into the intake is dropped.
const NOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// The start of a message's text as it is in its line: what its request is known by.
pub(crate) struct Name(Vec<u8, NAME>);

impl Name {
    pub(crate) fn of(datagram: &Datagram<'_>) -> Self {
        let mut name = Vec::new();
        datagram.put_text(&mut Capped(&mut name));
        Self(name)
    }
}

/// Takes bytes as long as they fit.
struct Capped<'a>(&'a mut Vec<u8, NAME>);

impl Extend<u8> for Capped<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        for byte in bytes {
            _ = self.0.push(byte);
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Counts outcomes, names what was lost and remembers why it is over.
pub(crate) struct Ledger {
    pub(crate) stats: Stats,
    /// A new worker has not yet replied.
    awaits_reply: bool,
    /// Why the last attempt to start a worker failed, if it did.
    not_started: Option<StartError>,
    gave_up: Option<String>,
    /// Messages that were dropped since a line was written, which told of those before, and why.
    uncounted: Option<(u64, i32)>,
    /// A new worker does not know of them.
    retell: bool,
    /// Those of them that no worker was told of: they did not fit into the intake.
    overflowed: u64,
}

impl Ledger {
    pub(crate) const fn new(stats: Stats) -> Self {
        let (not_started, gave_up, uncounted) = (None, None, None);
        Self {
            stats,
            awaits_reply: false,
            not_started,
            gave_up,
            uncounted,
            retell: false,
            overflowed: 0,
        }
    }

    /// Returns what a worker is to be told once: how many messages were dropped, and why.
    pub(crate) fn take_untold(&mut self) -> Option<(u64, i32)> {
        let overflowed = std::mem::take(&mut self.overflowed);
        if std::mem::take(&mut self.retell) {
            return self.uncounted;
        }
        (overflowed > 0).then_some((overflowed, NOBUFS))
    }

    /// A message did not fit into the intake.
    pub(crate) fn note_overflow(&mut self) {
        self.stats.counts.dropped += 1;
        self.overflowed += 1;
        let before = self.uncounted.map_or(0, |(count, _)| count);
        self.uncounted = Some((before + 1, NOBUFS));
        complain(format_args!("the intake is full: dropping messages"));
    }

    /// Says how many messages were dropped, where the log does not.
    pub(crate) fn close(&self) {
        if let Some((count, error)) = self.uncounted {
            complain(format_args!("dropped and not counted in the log: {count}, {}", Errno(error)));
        }
    }

    /// Why there is no worker any more.
    pub(crate) const fn gave_up(&self) -> Option<&String> {
        self.gave_up.as_ref()
    }

    /// Takes note of an event; `worker` is the process that there is now.
    pub(crate) fn note(&mut self, event: Event<'_, Option<Name>>, worker: Option<i32>) {
        match event {
            Event::Done { tag: Some(tag), outcome } => self.note_message(&tag, &outcome),
            Event::Died(ended) => self.note_death(ended),
            Event::Started { resent } => {
                self.stats.counts.resent += resent;
                self.awaits_reply = true;
                self.retell = true;
                self.not_started = None;
                let worker = worker.unwrap_or(0);
                self.stats.print(
                    "started",
                    Instant::now(),
                    format_args!(" worker={worker} resent={resent}"),
                );
            }
            // Once, and not at each attempt.
            Event::NotStarted(error) if self.not_started.replace(error) != Some(error) => {
                complain(format_args!("cannot start a worker: {error}"));
            }
            // What the worker reports.
            Event::Note { note, .. } => complain(format_args!("{}", note.text())),
            Event::GaveUp(reason) => self.gave_up = Some(reason.to_string()),
            _ => {}
        }
    }

    fn note_message(&mut self, name: &Name, outcome: &Outcome<'_>) {
        let counts = &mut self.stats.counts;
        match outcome {
            Outcome::Reply(reply) => {
                // A reply without a meaning is no line either.
                match work::append::result(reply).unwrap_or(-1) {
                    0 => {
                        counts.written += 1;
                        self.uncounted = None;
                    }
                    error => {
                        counts.dropped += 1;
                        let before = self.uncounted.map_or(0, |(count, _)| count);
                        self.uncounted = Some((before + 1, error));
                    }
                }
                if std::mem::take(&mut self.awaits_reply) {
                    self.stats.print("first-reply", Instant::now(), format_args!(""));
                }
            }
            Outcome::Lost(lost) if lost.how == How::Done => {
                counts.written += 1;
                complain(format_args!("written but perhaps not synced: {name}"));
            }
            Outcome::Lost(lost) if lost.how == How::Running => {
                counts.lost += 1;
                complain(format_args!("lost (running): {name}"));
            }
            Outcome::Refused(refusal) => {
                counts.refused += 1;
                complain(format_args!("not written: {refusal}: {name}"));
            }
            // Nothing here is cancelled, has a deadline or descriptors, or begins twice.
            _ => {
                counts.lost += 1;
                complain(format_args!("lost (not begun): {name}"));
            }
        }
    }

    fn note_death(&mut self, ended: Ended) {
        self.stats.counts.deaths += 1;
        // With its number each one is news.
        complain(format_args!("the worker ended: {ended} ({})", self.stats.counts.deaths));
        let now = Instant::now();
        match ended {
            Ended::Exited(status) => {
                self.stats.print("died", now, format_args!(" ended=exited:{status}"));
            }
            Ended::Killed(signal) => {
                self.stats.print("died", now, format_args!(" ended=killed:{signal}"));
            }
            _ => self.stats.print("died", now, format_args!(" ended=unknown")),
        }
    }
}
