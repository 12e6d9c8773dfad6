//! Appending, rotating, syncing: the work that may block, in the worker or in line.

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

/// How long to wait for another process that still writes: the worker of a main that was killed
/// finishes what it has.
const LOCK: Duration = Duration::from_secs(5);
/// How soon to look again.
const AGAIN: Duration = Duration::from_millis(10);

/// How long a worker goes on in trouble once main is gone: no longer than main would have waited.
const ORPHAN: Duration = Duration::from_secs(60);

/// The number of a note that says how many dropped messages the log tells of now; reports have 0.
pub(crate) const COUNTED: u16 = 1;

/// How the daemon's own lines in the log begin: with the priority of syslog.warning.
const OWN: &str = "<44>logd: ";
/// Bytes of the longest of them.
const OWN_LEN: usize = 128;

/// Bytes of what is written at once, at most: a line, and two that tell what is left out.
pub(crate) const LINES: usize =
    Datagram::longest_line(MESSAGE) + 2 * Datagram::longest_line(OWN_LEN);

/// The files, and what becomes of a message that they have no room for.
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
    /// So many messages are counted in the log that were dropped, and main does not know it yet.
    counted: u64,
}

/// What is not in the log any more, and not noted there yet.
struct LeftOut {
    messages: u64,
    files: u64,
    why: Errno,
}

/// Whether main is still there for the worker.
struct Life {
    /// The process that was the parent at the start; none in line.
    main: Option<Pid>,
    until: Option<Instant>,
}

impl Disk {
    /// Made in main, before there is a worker, with memory for [`LINES`].
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

    /// Begins in the worker.
    pub(crate) fn prepare(&mut self) -> Result<(), Reason> {
        if !self.is_inline {
            // As in any worker, and that of a limit too: a write fails with EFBIG then.
            let ignored = [Signal::HUP, Signal::INT, Signal::PIPE, Signal::TERM, Signal::XFSZ];
            reset_signals(&ignored.map(Signal::as_raw))
                .map_err(|error| Reason::new("signals", error.errno.0.into(), ""))?;
            say::open_again();
            self.life.main = getppid();
        }
        match self.start() {
            // What is to be done then is decided for each message.
            Err(error) if !is_full(error) => {
                Err(Reason::new("open log", error.raw_os_error().into(), why_not_opened(error)))
            }
            _ => {
                self.mark();
                Ok(())
            }
        }
    }

    /// Appends a message whole, or drops it, as the policy says. Returns the error for which it was
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
                // Perhaps it is this file's trouble, or this directory's.
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
                    // What is written is known before this waits. A failure ends the worker later.
                    _ = request.flush(|| self.settle());
                    pause(delay);
                    self.files.look_around();
                }
            }
        }
    }

    /// Writes the lines that are composed.
    fn put(&mut self, request: &Request<'_>) -> Result<(), Errno> {
        self.files.append(self.lines.bytes())?;
        self.counted = self.counted.saturating_add(self.left_out.messages);
        self.tell_counted(request);
        self.say_recovered();
        Ok(())
    }

    /// At once, not with the reply: a worker that is killed meanwhile has counted. Where main takes
    /// no further note now, the next line tells it.
    fn tell_counted(&mut self, request: &Request<'_>) {
        if self.counted > 0 && request.note(COUNTED, &self.counted.to_le_bytes()) {
            self.counted = 0;
        }
    }

    /// Opens the directory and `log` anew, if those are others by now.
    pub(crate) fn reopen(&mut self) -> Result<(), Refusal> {
        // Nobody awaits an answer; it was reported.
        self.files.reopen().map_err(Refusal::from)
    }

    /// So many messages were dropped by main, or by an earlier worker that could not note it.
    pub(crate) const fn add_dropped(&mut self, count: u64, error: Errno) {
        self.left_out.messages = self.left_out.messages.saturating_add(count);
        self.left_out.why = error;
    }

    /// Everything is written: takes the mark of a daemon that runs away, unless the log does not tell
    /// of messages that were dropped.
    pub(crate) fn finish(&mut self, request: &Request<'_>) -> Result<(), Refusal> {
        self.tell_counted(request);
        if self.left_out.messages > 0 {
            self.compose_left_out(self.received);
            self.put(request)?;
            self.settle()?;
        }
        self.files.unmark().map_err(Refusal::from)
    }

    /// Brings to the medium what was written.
    pub(crate) fn settle(&mut self) -> Result<(), Refusal> {
        self.files.settle().map_err(|error| {
            (self.say)(format_args!("what was written could not be synced: {}", Named(error)));
            error.into()
        })
    }

    /// Makes the line of a message, behind those that tell what was left out before it.
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

    /// Sees to the mark in the directory, once the log tells of the one that was left there.
    fn mark(&mut self) {
        if let Some(unclean) = self.files.unclean() {
            self.lines.clear();
            put_own(&mut self.lines, unclean.found, format_args!("{unclean}"));
            if self.files.append(self.lines.bytes()).is_err() {
                // With the next message; what is wrong, that one shows.
                return;
            }
        }
        self.files.mark();
    }

    /// Says, once until it changes, why a line was not written.
    fn say_trouble(&mut self, error: Errno) {
        self.left_out.why = error;
        if let Some((what, words)) = self.policy.news(Instant::now(), error) {
            (self.say)(format_args!("{what}: {}; {words}", Named(error)));
        }
    }

    /// Says that the trouble is over, and what it has cost.
    fn say_recovered(&mut self) {
        let left_out = core::mem::replace(&mut self.left_out, LeftOut::NOTHING);
        let Some(error) = self.policy.recovered() else { return };
        let what = match is_full(error) {
            true => "there is room on the disk again",
            false => "the log can be written again",
        };
        (self.say)(format_args!("{what}{left_out}"));
    }

    /// Opens the log, once the worker of an earlier main has left it.
    fn start(&mut self) -> Result<(), Errno> {
        awaited(|| self.files.start(), || true)
    }
}

impl Life {
    /// Returns whether main has been gone for too long to wait any more.
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

    /// What there is of it, in words.
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

/// Puts a line of the daemon's own.
fn put_own(lines: &mut Text<'_>, received: Duration, text: fmt::Arguments<'_>) {
    let mut own = String::<OWN_LEN>::new();
    // It has room for the longest.
    _ = write!(own, "{OWN}{text}");
    let own = Datagram { received, sender: Sender::Unnamed, bytes: own.as_bytes(), missing: 0 };
    own.put_line(lines);
}

/// Locks the directory, once another daemon or its worker has left it.
pub(crate) fn lock(place: &mut Place, goes_on: impl FnMut() -> bool) -> Result<(), Errno> {
    awaited(|| place.lock(), goes_on)
}

/// Tries again for a while where another process has the lock.
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
