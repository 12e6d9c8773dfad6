//! The fate of each message, and who must know it.

use core::fmt;
use core::mem;

use ipc_worker::{Ended, Errno, Event, GiveUp, How, Outcome, ReplyView, StartError};

use super::disk::COUNTED;
use super::line::Datagram;
use super::words::{Lossy, Say, Text};
use crate::program::NAME;

/// The error for messages that do not fit into the intake.
const NOBUFS: i32 = rustix::io::Errno::NOBUFS.raw_os_error();

/// The start of a message's text as in its line. It names the request.
pub(crate) struct Name {
    bytes: [u8; NAME],
    len: usize,
}

impl Name {
    pub(crate) fn of(datagram: &Datagram<'_>) -> Self {
        let mut bytes = [0; NAME];
        let mut text = Text::new(&mut bytes);
        datagram.put_text(&mut text);
        let len = text.bytes().len();
        Self { bytes, len }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lossy(self.bytes.get(..self.len).unwrap_or_default()).fmt(f)
    }
}

/// The tag of a request.
pub(crate) enum Tag {
    Message(Name),
    /// A report to the worker of this many dropped messages.
    Drops(u64),
    Finish,
}

/// Whether a worker was asked to end cleanly, and whether it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    Untold,
    Asked,
    Answered,
}

/// Dropped messages that the log does not mention yet.
struct Drops {
    /// Those that no worker knows of, and why the last one was dropped.
    untold: u64,
    why: i32,
    /// A report to the worker is in flight.
    is_telling: bool,
    /// Those that the current worker knows of, minus those that it has noted in the log. It can
    /// report the latter before it answers, so this may be negative.
    held: i64,
}

impl Drops {
    /// Returns what to report to the worker now.
    fn tell(&mut self) -> Option<(u64, i32)> {
        let is_due = self.untold > 0 && !self.is_telling;
        self.is_telling |= is_due;
        is_due.then(|| (mem::take(&mut self.untold), self.why))
    }

    /// The report did not reach a worker.
    const fn untell(&mut self, count: u64) {
        self.is_telling = false;
        self.untold += count;
    }

    /// Records the outcome of a report.
    fn note(&mut self, count: u64, outcome: &Outcome<'_>) {
        self.is_telling = false;
        match outcome {
            Outcome::Lost(lost) if lost.how == How::NotBegun => self.untell(count),
            // If the worker died, its successor will get the same report.
            _ => self.held = self.held.saturating_add_unsigned(count),
        }
    }

    /// A new worker knows of none.
    fn tell_anew(&mut self) {
        self.untold += u64::try_from(mem::take(&mut self.held)).unwrap_or(0);
    }
}

/// Counts since the start.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) received: u64,
    pub(crate) written: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    pub(crate) dropped: u64,
    pub(crate) resent: usize,
    pub(crate) deaths: u64,
    pub(crate) paused: u64,
}

/// Counts outcomes, names lost messages, and remembers why the daemon must end.
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    /// Messages that were passed to the worker and have no outcome yet.
    pub(crate) under_way: usize,
    pub(crate) finish: Finish,
    say: Say,
    /// Decodes a reply: zero, or the error for which a message was dropped.
    read: fn(&ReplyView<'_>) -> i32,
    /// Why the last start of a worker failed, if it did.
    not_started: Option<StartError>,
    gave_up: Option<GiveUp>,
    drops: Drops,
}

impl Ledger {
    pub(crate) fn new(say: Say, read: fn(&ReplyView<'_>) -> i32) -> Self {
        Self {
            counts: Counts::default(),
            under_way: 0,
            finish: Finish::Untold,
            say,
            read,
            not_started: None,
            gave_up: None,
            drops: Drops { untold: 0, why: NOBUFS, is_telling: false, held: 0 },
        }
    }

    /// Returns how many dropped messages to report to a worker, and why they were dropped.
    pub(crate) fn take_drops(&mut self) -> Option<(u64, i32)> {
        self.drops.tell()
    }

    /// Returns whether the worker knows of all dropped messages.
    pub(crate) const fn is_told(&self) -> bool {
        self.drops.untold == 0 && !self.drops.is_telling
    }

    /// Takes back a report of this many, which could not be sent.
    pub(crate) const fn put_back(&mut self, count: u64) {
        self.drops.untell(count);
    }

    /// Counts a message that did not fit into the intake.
    pub(crate) fn note_overflow(&mut self) {
        self.counts.dropped += 1;
        self.drops.untold += 1;
        self.drops.why = NOBUFS;
        (self.say)(format_args!("the intake is full: dropping messages"));
    }

    /// Reports and returns how many messages were dropped that the log does not mention.
    pub(crate) fn close(&mut self) -> u64 {
        self.drops.tell_anew();
        let Drops { untold, why, .. } = self.drops;
        if untold > 0 {
            (self.say)(format_args!(
                "dropped and not counted in the log: {untold}, {}",
                Errno(why)
            ));
        }
        untold
    }

    /// Returns why no further worker starts, if so.
    pub(crate) const fn gave_up(&self) -> Option<&GiveUp> {
        self.gave_up.as_ref()
    }

    /// Records an event.
    pub(crate) fn note(&mut self, event: Event<'_, Tag>) {
        match event {
            Event::Done { tag: Tag::Message(name), outcome } => self.note_message(&name, &outcome),
            Event::Done { tag: Tag::Drops(count), outcome } => self.drops.note(count, &outcome),
            // A worker that did not know of all dropped messages is asked again.
            Event::Done { tag: Tag::Finish, outcome } => {
                let is_answered = self.is_told() && !matches!(outcome, Outcome::Lost(_));
                self.finish = if is_answered { Finish::Answered } else { Finish::Untold };
            }
            Event::Died(ended) => self.note_death(ended),
            Event::Started { resent } => {
                self.counts.resent += resent;
                // Reports to the dead worker had their outcomes after its death.
                self.drops.tell_anew();
                self.not_started = None;
            }
            // Once, not at each attempt.
            Event::NotStarted(error) if self.not_started.replace(error) != Some(error) => {
                (self.say)(format_args!("cannot start a worker: {error}"));
            }
            Event::Note { note, .. } if note.number() == COUNTED => {
                let count = note.bytes().try_into().map_or(0, u64::from_le_bytes);
                self.drops.held = self.drops.held.saturating_sub_unsigned(count);
            }
            // A report from the worker.
            Event::Note { note, .. } => (self.say)(format_args!("{}", note.text())),
            Event::GaveUp(reason) => self.gave_up = Some(reason),
            _ => {}
        }
    }

    fn note_message(&mut self, name: &Name, outcome: &Outcome<'_>) {
        self.under_way -= 1;
        let counts = &mut self.counts;
        match outcome {
            Outcome::Reply(reply) => match (self.read)(reply) {
                0 => counts.written += 1,
                error => {
                    counts.dropped += 1;
                    self.drops.held = self.drops.held.saturating_add(1);
                    self.drops.why = error;
                }
            },
            Outcome::Lost(lost) if lost.how == How::Done => {
                counts.written += 1;
                (self.say)(format_args!("written but perhaps not synced: {name}"));
            }
            Outcome::Lost(lost) if lost.how == How::Running => {
                counts.lost += 1;
                (self.say)(format_args!("lost (running): {name}"));
            }
            Outcome::Refused(refusal) => {
                counts.refused += 1;
                (self.say)(format_args!("not written: {refusal}: {name}"));
            }
            // Nothing here is cancelled, has a deadline or descriptors, or begins twice.
            _ => {
                counts.lost += 1;
                (self.say)(format_args!("lost (not begun): {name}"));
            }
        }
    }

    fn note_death(&mut self, ended: Ended) {
        self.counts.deaths += 1;
        self.drops.tell_anew();
        // The number makes each line new, so that none is left out as a repetition.
        (self.say)(format_args!("the worker ended: {ended} ({})", self.counts.deaths));
    }
}
