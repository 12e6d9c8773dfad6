//! The work that may block: append, rotate, sync. It runs in the worker, or in line.

use std::fmt::{self, Write};
use std::time::{Duration, SystemTime};

use ipc_barrier::process::reset_signals;
use ipc_transport::{Instant, wait};
use ipc_worker::{Reason, Refusal, Request};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getppid};
use serde_bytes::Bytes;

use crate::files::{Files, Limits};
use crate::line::Datagram;
use crate::mark::Mark;
use crate::options::{Options, Stall};
use crate::place::Place;
use crate::policy::{Named, Policy, Step, is_full, why_not_opened};
use crate::say::report;

ipc_worker::service! {
    /// What the worker does for main.
    pub(crate) mod work {
        /// Appends a message; its time of receipt is counted from 1970, its sender (pid, uid and
        /// gid) is written if it is given. Returns zero, or the error for which it was dropped. One
        /// that may have been written is not written again. One sync for many lines is worth
        /// waiting for, also after a line that took its time: so it counts as quick.
        1 => fn append(
            request: &Request<'_>,
            received: Duration,
            sender: Option<[u32; 3]>,
            bytes: &Bytes,
            missing: u64,
        ) -> i32, again IfNotBegun, quick;
        /// Opens the directory and `log` anew, if those are others by now. One-way.
        2 => fn reopen(), quick;
        /// So many messages were dropped by main, or by an earlier worker that could not note it in
        /// the log.
        3 => fn add_dropped(count: u64, error: i32), again IfNotBegun, quick;
        /// Everything is written: takes the mark of a daemon that runs away.
        4 => fn finish(), again UntilAnswered;
    }
}

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

/// The files, and what becomes of a message that they have no room for.
pub(crate) struct Disk {
    files: Files,
    policy: Policy,
    is_inline: bool,
    life: Life,
    stall: Option<Stall>,
    line: Vec<u8>,
    left_out: LeftOut,
}

/// What is not in the log any more, and not noted there yet.
struct LeftOut {
    messages: u64,
    files: u64,
    why: Errno,
}

/// Whether main is still there for the worker.
#[derive(Default)]
struct Life {
    /// The process that was the parent at the start; none in line.
    main: Option<Pid>,
    until: Option<Instant>,
}

impl Disk {
    /// Made in main, before there is a worker.
    pub(crate) fn new(place: Place, options: &Options) -> Self {
        let &Options { rotate_bytes, keep, symlinks, inline, stall, .. } = options;
        let started = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let mark = Mark::new(std::process::id(), started.unwrap_or_default());
        Self {
            files: Files::new(place, mark, Limits { rotate_bytes, keep, symlinks }),
            policy: Policy::new(options.when_full),
            is_inline: inline,
            life: Life::default(),
            stall,
            line: Vec::new(),
            left_out: LeftOut::NOTHING,
        }
    }

    /// Makes the line of a message, behind those that tell what was left out before it.
    fn compose(&mut self, datagram: &Datagram<'_>) {
        self.line.clear();
        let why = self.left_out.why;
        let what = match why {
            Errno::NOBUFS => "the intake was full",
            why if is_full(why) => "no room",
            _ => "not writable",
        };
        for part in self.left_out.parts() {
            let own = format!("{OWN}{part}: {what} ({})", Named(why).name());
            let own = Datagram { sender: None, bytes: own.as_bytes(), missing: 0, ..*datagram };
            own.put_line(&mut self.line);
        }
        datagram.put_line(&mut self.line);
    }

    /// Sees to the mark in the directory, once the log tells of the one that was left there.
    fn mark(&mut self) {
        if let Some(unclean) = self.files.unclean() {
            let own = format!("{OWN}{unclean}");
            let received = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let received = received.unwrap_or_default();
            self.line.clear();
            let own = Datagram { received, sender: None, bytes: own.as_bytes(), missing: 0 };
            own.put_line(&mut self.line);
            if self.files.append(&self.line).is_err() {
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
            report(format_args!("{what}: {}; {words}", Named(error)));
        }
    }

    /// Says that the trouble is over, and what it has cost.
    fn say_recovered(&mut self) {
        let left_out = std::mem::replace(&mut self.left_out, LeftOut::NOTHING);
        let Some(error) = self.policy.recovered() else { return };
        let mut text = match is_full(error) {
            true => "there is room on the disk again".to_owned(),
            false => "the log can be written again".to_owned(),
        };
        for part in left_out.parts() {
            // Writing to memory does not fail.
            _ = write!(text, "; {part}");
        }
        report(format_args!("{text}"));
    }

    /// Opens the log, once the worker of an earlier main has left it.
    fn start(&mut self) -> Result<(), Errno> {
        let limit = Instant::now() + LOCK;
        loop {
            match self.files.start() {
                Err(Errno::AGAIN) if Instant::now() < limit => pause(AGAIN),
                result => return result,
            }
        }
    }
}

impl work::Serve for Disk {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.descriptors().into_iter()
    }

    fn prepare(&mut self) -> Result<(), Reason> {
        if !self.is_inline {
            // As in any worker, and that of a limit too: a write fails with EFBIG then.
            let ignored = [Signal::HUP, Signal::INT, Signal::PIPE, Signal::TERM, Signal::XFSZ];
            reset_signals(&ignored.map(Signal::as_raw))
                .map_err(|error| Reason::from_error("signals", &error, ""))?;
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

    /// Appends a message whole, or drops it, as the policy says.
    fn append(
        &mut self,
        request: &Request<'_>,
        received: Duration,
        sender: Option<[u32; 3]>,
        bytes: &Bytes,
        missing: u64,
    ) -> Result<i32, Refusal> {
        let datagram = Datagram { received, sender, bytes, missing };
        self.policy.begin();
        loop {
            self.mark();
            self.compose(&datagram);
            if let Some(stall) = self.stall {
                stall.wait();
            }
            let Err(error) = self.files.append(&self.line) else {
                let count = self.left_out.messages;
                if count > 0 {
                    // At once, not with the reply: a worker that is killed meanwhile has counted.
                    _ = request.note(COUNTED, &count.to_le_bytes());
                }
                self.say_recovered();
                return Ok(0);
            };
            if !is_full(error) {
                // Perhaps it is this file's trouble, or this directory's.
                self.files.leave();
            }
            match self.policy.next(error) {
                Step::Rotate => self.files.rotate_early(error, &self.line),
                Step::RemoveOldest if self.files.remove_oldest() => {
                    self.say_trouble(error);
                    self.left_out.files += 1;
                }
                Step::RemoveOldest => self.policy.none_older(),
                Step::Drop => {
                    self.say_trouble(error);
                    self.left_out.messages += 1;
                    return Ok(error.raw_os_error());
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

    fn reopen(&mut self) -> Result<(), Refusal> {
        // Nobody awaits an answer; it was reported.
        self.files.reopen().map_err(Refusal::from)
    }

    fn add_dropped(&mut self, count: u64, error: i32) -> Result<(), Refusal> {
        self.left_out.messages = self.left_out.messages.saturating_add(count);
        self.left_out.why = Errno::from_raw_os_error(error);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Refusal> {
        self.files.unmark().map_err(Refusal::from)
    }

    fn settle(&mut self) -> Result<(), Refusal> {
        self.files.settle().map_err(|error| {
            report(format_args!("what was written could not be synced: {}", Named(error)));
            error.into()
        })
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
    fn parts(&self) -> impl Iterator<Item = impl fmt::Display> {
        let parts = [(self.files, "older file", "removed"), (self.messages, "message", "dropped")];
        parts.into_iter().filter(|part| part.0 > 0).map(|(count, what, how)| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural} {how}")
        })
    }
}

/// Waits. A signal may end it early.
fn pause(delay: Duration) {
    _ = wait(&mut [], Some(Instant::now() + delay));
}

impl Stall {
    /// Waits while the clock is in the stalled stretch of its period.
    fn wait(self) {
        let since_start = u128::from(Instant::now().as_nanoseconds());
        let into_period = since_start % self.period.as_nanos();
        let rest = self.length.as_nanos().saturating_sub(into_period);
        std::thread::sleep(Duration::from_nanos(u64::try_from(rest).unwrap_or(0)));
    }
}
