//! One side of a start: its end of the barrier, its part of each stage, and its messages.

use std::fmt;
use std::io::{self, Write};

use ipc_barrier::{End, MeetError, Role, Unmet};
use ipc_barrier::{Errno, Instant};
use rustix::process::{Signal, getpid, kill_process};

use crate::options::{Misdeed, Options};

pub(crate) const FORK: u16 = 1;
pub(crate) const NAMESPACES: u16 = 2;
pub(crate) const UID_MAP: u16 = 3;
pub(crate) const SET_UP: u16 = 4;
pub(crate) const EXEC: u16 = 5;

/// Exit status when the start has failed.
pub(crate) const FAILED: u8 = 125;

/// What failed: the call or the object, and the errno.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) what: &'static str,
    pub(crate) errno: Errno,
}

impl Trouble {
    /// Says what an error came from; for `map_err`.
    pub(crate) fn at<E: Into<Errno>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { what, errno: error.into() }
    }
}

/// Why a stage was not completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) stage: u16,
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Why {
    /// This side's part failed.
    Own(Trouble),
    /// The other side did not arrive.
    Unmet(Unmet),
}

/// Writes messages, each line in one write, because two processes share the terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    pub(crate) who: &'static str,
    /// When the start began.
    pub(crate) start: Instant,
}

impl Voice {
    pub(crate) fn say(&self, text: fmt::Arguments<'_>) {
        let seconds = Instant::now().since(self.start).as_secs_f64();
        let line = format!("{seconds:.6} {}: {text}\n", self.who);
        // Standard error may be closed.
        _ = io::stderr().write_all(line.as_bytes());
    }

    /// Returns whether a step was done. Reports a step that is not permitted, which is not an
    /// error.
    pub(crate) fn permitted<E: Into<Errno>>(
        &self,
        what: &'static str,
        result: Result<(), E>,
    ) -> Result<bool, Trouble> {
        let trouble = match result {
            Ok(()) => return Ok(true),
            Err(error) => Trouble::at(what)(error),
        };
        if !is_refusal(trouble.errno) {
            return Err(trouble);
        }
        self.say(format_args!("not permitted here: {trouble}; continuing without it"));
        Ok(false)
    }
}

/// Whether a sandbox, or a kernel without the feature, may return this errno: EPERM, ENOENT (no
/// /proc), EACCES, EINVAL (no such namespaces), ENOSPC (too many namespaces), ENOSYS.
fn is_refusal(errno: Errno) -> bool {
    matches!(errno.0, 1 | 2 | 13 | 22 | 28 | 38)
}

/// One side of a start.
#[derive(Debug)]
pub(crate) struct Side<'a, R> {
    pub(crate) end: End<R>,
    pub(crate) voice: Voice,
    pub(crate) options: &'a Options,
}

impl<R: Role> Side<'_, R> {
    /// Does this side's part of a stage, then meets the other side.
    pub(crate) fn stage<T>(
        &mut self,
        stage: u16,
        part: impl FnOnce(&Voice) -> Result<T, Trouble>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + self.options.limit;
        let done = self.misbehave(stage).and_then(|()| part(&self.voice));
        let done = done.map_err(|trouble| self.fail(stage, trouble))?;
        let met = self.end.place_and_sync_until(deadline);
        let why = |error| match error {
            MeetError::Ended(unmet) | MeetError::Unmet(unmet) => Why::Unmet(unmet),
            _ => Why::Own(Trouble { what: "no room for a token", errno: Errno(0) }),
        };
        met.map_err(|error| Failure { stage, why: why(error) })?;
        self.voice.say(format_args!("{} is done", Named(stage)));
        Ok(done)
    }

    /// Tells the other side what failed here.
    pub(crate) fn fail(&mut self, stage: u16, trouble: Trouble) -> Failure {
        self.end.fail(stage, &trouble.errno, trouble.what);
        Failure { stage, why: Why::Own(trouble) }
    }

    /// Fails on purpose, if the command line says so.
    pub(crate) fn misbehave(&self, stage: u16) -> Result<(), Trouble> {
        let is_parent = self.voice.who == PARENT;
        let Some(plan) = self.options.plan else { return Ok(()) };
        if plan.parent != is_parent || plan.stage != stage {
            return Ok(());
        }
        let signal = match plan.misdeed {
            Misdeed::Fail => return Err(Trouble::at("on purpose")(rustix::io::Errno::IO)),
            Misdeed::Die => Signal::KILL,
            Misdeed::Stop => Signal::STOP,
        };
        kill_process(getpid(), signal).map_err(Trouble::at("kill"))
    }
}

pub(crate) const PARENT: &str = "parent";

/// A stage's number and name.
struct Named(u16);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            FORK => "fork",
            NAMESPACES => "namespaces",
            UID_MAP => "uid map",
            SET_UP => "set-up",
            EXEC => "exec",
            _ => "unknown",
        };
        write!(f, "stage {} ({name})", self.0)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        describe(f, self.what, self.errno)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, why } = self;
        match why {
            Why::Own(trouble) => write!(f, "{} failed here: {trouble}", Named(*stage)),
            Why::Unmet(Unmet::Aborted(Some(reason))) => {
                let stage = reason.stage.as_str().parse().unwrap_or_default();
                write!(f, "{} failed on the other side: ", Named(stage))?;
                describe(f, reason.text.as_str(), reason.errno)
            }
            Why::Unmet(unmet) => write!(f, "{} failed: {unmet}", Named(*stage)),
        }
    }
}

fn describe(f: &mut fmt::Formatter<'_>, what: &str, errno: Errno) -> fmt::Result {
    match errno {
        Errno(0) => f.write_str(what),
        Errno(number) => write!(f, "{what}: {}", io::Error::from_raw_os_error(number)),
    }
}
