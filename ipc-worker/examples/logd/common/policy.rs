//! Decides what to do when the log cannot be written, and how long to wait. Does no I/O: errors and
//! the time are arguments, and the result is a step.

use core::time::Duration;

use ipc_transport::Instant;
use rustix::io::Errno;

/// What happens to messages when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// They wait, and so do their senders.
    Wait,
    /// The oldest rotated file is removed to make room. If none is left, they are dropped.
    DropOldest,
    /// They are dropped and counted.
    DropNew,
}

/// What is wrong, and what happens to messages meanwhile.
type Words = (&'static str, &'static str);

/// How soon a failure that comes back is reported again.
const OFTEN: Duration = Duration::from_secs(10);

/// What to do next about a line that could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin a new file: there may be a limit per file.
    Rotate,
    RemoveOldest,
    Wait(Duration),
    Drop,
}

/// The trouble with the log, from the first failure until a line is written.
#[derive(Debug)]
pub(crate) struct Policy {
    when_full: WhenFull,
    /// The last failure, its words, and when it was reported.
    last: Option<(Errno, Words, Instant)>,
    /// The trouble goes on, and was reported.
    is_said: bool,
    delay: Delay,
    may_rotate: bool,
    may_remove: bool,
}

impl Policy {
    pub(crate) const fn new(when_full: WhenFull) -> Self {
        let (last, is_said, delay) = (None, false, Delay::SHORTEST);
        Self { when_full, last, is_said, delay, may_rotate: true, may_remove: true }
    }

    /// Decides about a line that failed with this error.
    pub(crate) fn next(&mut self, error: Errno) -> Step {
        let drops = self.when_full != WhenFull::Wait;
        if error == Errno::FBIG && core::mem::take(&mut self.may_rotate) {
            return Step::Rotate;
        }
        if self.removes(error) {
            return Step::RemoveOldest;
        }
        // Other trouble often passes, so it gets a second.
        if drops && (is_full(error) || self.delay.is_longest()) {
            return Step::Drop;
        }
        Step::Wait(self.delay.take())
    }

    /// There is no older file to remove for this line.
    pub(crate) const fn none_older(&mut self) {
        self.may_remove = false;
    }

    /// Returns how to report a failure: what is wrong, and what happens to messages meanwhile.
    /// `None` if this was the last report, and the failure goes on or was a moment ago.
    pub(crate) fn news(&mut self, now: Instant, error: Errno) -> Option<Words> {
        let words = self.words(error);
        let is_known = self.last.is_some_and(|(last, last_words, said)| {
            (last, last_words) == (error, words) && (self.is_said || now.since(said) < OFTEN)
        });
        if is_known {
            return None;
        }
        self.last = Some((error, words, now));
        self.is_said = true;
        Some(words)
    }

    /// Starts over for another line.
    pub(crate) const fn begin(&mut self) {
        self.may_rotate = true;
        self.may_remove = true;
    }

    /// A line was written. Returns the failure that was reported and is over now.
    pub(crate) fn recovered(&mut self) -> Option<Errno> {
        self.delay = Delay::SHORTEST;
        let was_said = core::mem::take(&mut self.is_said);
        self.last.filter(|_| was_said).map(|(error, ..)| error)
    }

    /// Returns whether to remove an older file. That does not help against a limit per file.
    fn removes(&self, error: Errno) -> bool {
        let helps = is_full(error) && error != Errno::FBIG && self.may_remove;
        helps && self.when_full == WhenFull::DropOldest
    }

    fn words(&self, error: Errno) -> Words {
        match self.when_full {
            _ if !is_full(error) => ("the log cannot be written", "trying again"),
            WhenFull::Wait => ("the disk is full", "waiting for room"),
            _ if self.removes(error) => ("the disk is full", "removing old files"),
            _ => ("the disk is full", "dropping messages"),
        }
    }
}

/// Returns whether space is missing: on the disk (`ENOSPC`), for the user (`EDQUOT`) or in the file
/// (`EFBIG`; setrlimit(2), write(2)).
pub(crate) const fn is_full(error: Errno) -> bool {
    matches!(error, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
}

/// Returns whether the file system does not support a call, such as flock(2), or fsync(2) of a
/// directory.
pub(crate) const fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// Returns why `log` cannot be opened, in at most 48 bytes.
pub(crate) const fn why_not_opened(error: Errno) -> &'static str {
    match error {
        Errno::AGAIN => "another process writes to the log in --dir",
        Errno::LOOP => "log is a symbolic link, see --follow-symlinks",
        Errno::NXIO => "log is a FIFO, a socket or a device",
        _ => "cannot open the log in --dir",
    }
}

/// A delay that doubles from 1 ms to about a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delay(u8);

impl Delay {
    const SHORTEST: Self = Self(0);
    const LONGEST: Self = Self(10);

    fn is_longest(self) -> bool {
        self == Self::LONGEST
    }

    fn take(&mut self) -> Duration {
        let delay = Duration::from_millis(1 << self.0);
        self.0 = (self.0 + 1).min(Self::LONGEST.0);
        delay
    }
}

/// Something that failed and is retried beside the lines, which do not wait for it.
#[derive(Debug)]
pub(crate) struct Retry {
    delay: Delay,
    due: Option<Instant>,
    said: Option<Errno>,
}

impl Retry {
    pub(crate) const fn new() -> Self {
        Self { delay: Delay::SHORTEST, due: None, said: None }
    }

    /// Returns whether it has failed.
    pub(crate) const fn is_pending(&self) -> bool {
        self.due.is_some()
    }

    /// Returns whether it has failed and must not be retried yet.
    pub(crate) fn is_early(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due > now)
    }

    /// Records a result. Returns a failure that was not reported yet.
    pub(crate) fn note(&mut self, now: Instant, result: Result<(), Errno>) -> Option<Errno> {
        let Err(error) = result else {
            *self = Self::new();
            return None;
        };
        self.due = Some(now + self.delay.take());
        (self.said.replace(error) != Some(error)).then_some(error)
    }
}
