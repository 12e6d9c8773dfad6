//! Appends, rotates, syncs: the work that may block, in the worker or inline.

use core::fmt::{self, Write};
use core::time::Duration;

use heapless::String;
use ipc_barrier::process::reset_signals;
use ipc_transport::{Instant, wait};
use ipc_worker::{Reason, Refusal, Request};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid};

use super::files::Files;
use super::line::{Datagram, Sender};
use super::place::Place;
use super::policy::{Policy, Step, is_full, why_not_opened};
use super::say;
use super::words::{Named, Say, Text};
use crate::program::MESSAGE;

/// How long to wait for another process that still writes. The worker of a killed main finishes
/// what it has.
const LOCK: Duration = Duration::from_secs(5);
/// How soon to check again.
const AGAIN: Duration = Duration::from_millis(10);

/// How long a worker retries once main is gone. Main would not have waited longer.
const ORPHAN: Duration = Duration::from_secs(60);

/// The number of a note with the count of dropped messages that are now in the log. Reports have 0.
pub(crate) const COUNTED: u16 = 1;

/// The prefix of the daemon's own lines, with the priority syslog.warning.
const OWN: &str = "<44>logd: ";
/// Most bytes of such a line.
const OWN_LEN: usize = 128;

/// Most bytes written at once: a line, and two about what is missing.
pub(crate) const LINES: usize =
    Datagram::longest_line(MESSAGE) + 2 * Datagram::longest_line(OWN_LEN);

/// The files, and the policy for messages that do not fit.
pub(crate) struct Disk {
    files: Files,
    policy: Policy,
    is_inline: bool,
    say: Say,
    life: Life,
    lines: Text<'static>,
    left_out: LeftOut,
    /// When the last message was received.
    received: Duration,
    /// How many dropped messages the log counts that main does not know of.
    counted: u64,
}

/// What is missing in the log and not yet noted there.
struct LeftOut {
    messages: u64,
    files: u64,
    why: Errno,
}

/// Whether the worker's main still exists.
struct Life {
    /// The parent at the start. `None` inline.
    main: Option<Pid>,
    until: Option<Instant>,
}

impl Disk {
    /// Created in main before the worker starts, with memory for [`LINES`].
    pub(crate) const fn new(
        files: Files,
        policy: Policy,
        memory: &'static mut [u8],
        is_inline: bool,
        say: Say,
    ) -> Self {
        Self {
            files,
            policy,
            is_inline,
            say,
            life: Life { main: None, until: None },
            lines: Text::new(memory),
            left_out: LeftOut::NOTHING,
            received: Duration::ZERO,
            counted: 0,
        }
    }

    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.descriptors()
    }

    /// Runs in the worker first.
    pub(crate) fn prepare(&mut self) -> Result<(), Reason> {
        if !self.is_inline {
            // As in any worker, plus SIGXFSZ: a write over a limit then fails with EFBIG.
            let ignored = [Signal::HUP, Signal::INT, Signal::PIPE, Signal::TERM, Signal::XFSZ];
            reset_signals(&ignored.map(Signal::as_raw))
                .map_err(|error| Reason::new("signals", error.errno.0.into(), ""))?;
            say::open_again();
            self.life.main = getppid();
        }
        match self.start() {
            // A full disk is handled for each message.
            Err(error) if !is_full(error) => {
                Err(Reason::new("open log", error.raw_os_error().into(), why_not_opened(error)))
            }
            _ => {
                self.mark();
                Ok(())
            }
        }
    }

    /// Appends a whole message, or drops it, as the policy says. Returns the error for which it was
    /// dropped.
    pub(crate) fn append(
        &mut self,
        request: &Request<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<Option<Errno>, Refusal> {
        self.received = datagram.received;
        self.policy.begin();
        loop {
            self.mark();
            self.compose(datagram);
            let Err(error) = self.put(request) else { return Ok(None) };
            if !is_full(error) {
                // The trouble may concern only this file, or this directory.
                self.files.leave();
            }
            match self.policy.next(error) {
                Step::Rotate => self.files.rotate_early(error, self.lines.bytes()),
                Step::RemoveOldest if self.files.remove_oldest() => {
                    self.say_trouble(error);
                    self.left_out.files += 1;
                }
                Step::RemoveOldest => self.policy.none_older(),
                Step::Drop => {
                    self.say_trouble(error);
                    self.left_out.messages += 1;
                    return Ok(Some(error));
                }
                Step::Wait(_) if request.is_cancelled() || self.life.is_over() => {
                    return Err(error.into());
                }
                Step::Wait(delay) => {
                    self.say_trouble(error);
                    // Report what is written before waiting. A failure ends the worker later.
                    _ = request.flush(|| self.settle());
                    pause(delay);
                    self.files.look_around();
                }
            }
        }
    }

    /// Writes the composed lines.
    fn put(&mut self, request: &Request<'_>) -> Result<(), Errno> {
        self.files.append(self.lines.bytes())?;
        self.counted = self.counted.saturating_add(self.left_out.messages);
        self.tell_counted(request);
        self.say_recovered();
        Ok(())
    }

    /// Sent at once, not with the reply, because the worker may be killed before that. If main
    /// takes no more notes now, the next line repeats it.
    fn tell_counted(&mut self, request: &Request<'_>) {
        if self.counted > 0 && request.note(COUNTED, &self.counted.to_le_bytes()) {
            self.counted = 0;
        }
    }

    /// Reopens the directory and `log`, if they were replaced.
    pub(crate) fn reopen(&mut self) -> Result<(), Refusal> {
        // The failure was reported already. The request is one-way.
        self.files.reopen().map_err(Refusal::from)
    }

    /// Adds messages that were dropped by main, or by an earlier worker that could not note it.
    pub(crate) const fn add_dropped(&mut self, count: u64, error: Errno) {
        self.left_out.messages = self.left_out.messages.saturating_add(count);
        self.left_out.why = error;
    }

    /// Everything is written. Removes the mark of a running daemon, after the log has noted dropped
    /// messages.
    pub(crate) fn finish(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.tell_counted(request);
        if self.left_out.messages > 0 {
            self.compose_left_out(self.received);
            self.put(request)?;
            self.settle()?;
        }
        self.files.unmark().map_err(Refusal::from)
    }

    /// Syncs what was written.
    pub(crate) fn settle(&mut self) -> Result<(), Refusal> {
        self.files.settle().map_err(|error| {
            (self.say)(format_args!("what was written could not be synced: {}", Named(error)));
            error.into()
        })
    }

    /// Composes the line of a message, after the lines about what is missing before it.
    fn compose(&mut self, datagram: &Datagram<'_>) {
        self.compose_left_out(datagram.received);
        datagram.put_line(&mut self.lines);
    }

    fn compose_left_out(&mut self, received: Duration) {
        self.lines.clear();
        let why = self.left_out.why;
        let what = match why {
            Errno::NOBUFS => "the intake was full",
            why if is_full(why) => "no room",
            _ => "not writable",
        };
        for part in self.left_out.parts() {
            let part = format_args!("{part}: {what} ({})", Named(why).name());
            put_own(&mut self.lines, received, part);
        }
    }

    /// Creates the mark in the directory, after the log has noted the one that was left there.
    fn mark(&mut self) {
        if let Some(unclean) = self.files.unclean() {
            self.lines.clear();
            put_own(&mut self.lines, unclean.found, format_args!("{unclean}"));
            if self.files.append(self.lines.bytes()).is_err() {
                // Retried with the next message, which will show the error.
                return;
            }
        }
        self.files.mark();
    }

    /// Reports why a line was not written, once until the reason changes.
    fn say_trouble(&mut self, error: Errno) {
        self.left_out.why = error;
        if let Some((what, words)) = self.policy.news(Instant::now(), error) {
            (self.say)(format_args!("{what}: {}; {words}", Named(error)));
        }
    }

    /// Reports that the trouble is over, and what it has cost.
    fn say_recovered(&mut self) {
        let left_out = core::mem::replace(&mut self.left_out, LeftOut::NOTHING);
        let Some(error) = self.policy.recovered() else { return };
        let what = match is_full(error) {
            true => "there is room on the disk again",
            false => "the log can be written again",
        };
        (self.say)(format_args!("{what}{left_out}"));
    }

    /// Opens the log, once the worker of an earlier main has released it.
    fn start(&mut self) -> Result<(), Errno> {
        awaited(|| self.files.start(), || true)
    }
}

impl Life {
    /// Returns whether main has been gone for too long to go on waiting.
    fn is_over(&mut self) -> bool {
        if self.main.is_none() || getppid() == self.main {
            return false;
        }
        let now = Instant::now();
        *self.until.get_or_insert(now + ORPHAN) <= now
    }
}

impl LeftOut {
    const NOTHING: Self = Self { messages: 0, files: 0, why: Errno::NOSPC };

    /// Returns the missing parts, in words.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let parts = [(self.files, "older file", "removed"), (self.messages, "message", "dropped")];
        let parts = parts.into_iter().filter(|part| part.0 > 0);
        parts.map(|(count, what, how)| Part { count, what, how })
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().try_for_each(|part| write!(f, "; {part}"))
    }
}

struct Part {
    count: u64,
    what: &'static str,
    how: &'static str,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, what, how } = self;
        let plural = if *count == 1 { "" } else { "s" };
        write!(f, "{count} {what}{plural} {how}")
    }
}

/// Appends one of the daemon's own lines.
fn put_own(lines: &mut Text<'_>, received: Duration, text: fmt::Arguments<'_>) {
    let mut own = String::<OWN_LEN>::new();
    // It has room for the longest.
    _ = write!(own, "{OWN}{text}");
    let own = Datagram { received, sender: Sender::Unnamed, bytes: own.as_bytes(), missing: 0 };
    own.put_line(lines);
}

/// Locks the directory, once another daemon or its worker has released it.
pub(crate) fn lock(place: &mut Place, goes_on: impl FnMut() -> bool) -> Result<(), Errno> {
    awaited(|| place.lock(), goes_on)
}

/// Retries for a while if another process has the lock.
fn awaited(
    mut call: impl FnMut() -> Result<(), Errno>,
    mut goes_on: impl FnMut() -> bool,
) -> Result<(), Errno> {
    let limit = Instant::now() + LOCK;
    loop {
        match call() {
            Err(Errno::AGAIN) if Instant::now() < limit && goes_on() => pause(AGAIN),
            result => return result,
        }
    }
}

fn pause(delay: Duration) {
    _ = wait(&mut [], Some(Instant::now() + delay));
}
