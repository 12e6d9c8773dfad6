//! A child process: its number, its descriptor and its end.

use core::fmt;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, duplicate, wait};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, pidfd_open,
    pidfd_send_signal, waitid,
};

/// How a process has ended (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status, 0 to 255.
    Exited(u8),
    /// This signal ended it, by its number (signal(7)).
    Killed(u8),
    /// Another part of the program had waited for it, or the program ignores `SIGCHLD`, so its
    /// status is lost.
    Unknown,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::Unknown => f.write_str("ended; its status was taken by another wait"),
        }
    }
}

/// A child that this process forked. Dropping it neither kills nor waits, so that one which is
/// not waited for stays as a zombie until this process ends.
///
/// Where the kernel has pidfds (5.3) all calls go through one, so that they never reach another
/// process that was given the same number. Elsewhere the number is used, and only until the child
/// was waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    ended: Option<Ended>,
}

impl Child {
    /// Takes charge of a child that was just forked and that nobody has waited for.
    pub(crate) fn new(pid: Pid) -> Self {
        // Refused, unknown or out of descriptors: the number alone must do then.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        Self { pid, pidfd: pidfd.and_then(|fd| above_stdio(fd).ok()), ended: None }
    }

    /// Returns the process number. It is the child's own until the child was waited for.
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the descriptor that becomes readable at the child's end (pidfd_open(2), kernel
    /// 5.3). `None` where the kernel has no such, a filter refuses it, or there was no descriptor
    /// left at the fork.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    pub(crate) fn duplicate_pidfd(&self) -> Result<Option<OwnedFd>, SystemError> {
        self.pidfd().map(duplicate).transpose()
    }

    /// Kills the child (`SIGKILL`). One that has ended already is left alone. It does not wait: a
    /// process in uninterruptible sleep ends later.
    ///
    /// # Errors
    /// `EPERM` where the child has other privileges by now; it runs on, and may be killed again.
    pub fn kill(&mut self) -> Result<(), SystemError> {
        // Whose status is lost may still run: another process may be its parent by now.
        let ended = self.try_wait();
        if matches!(ended, Some(Ended::Exited(_) | Ended::Killed(_))) {
            return Ok(());
        }
        let killed = match self.pidfd() {
            Some(pidfd) => pidfd_send_signal(pidfd, Signal::KILL),
            None => Err(Errno::NOSYS),
        };
        match killed {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            // Not waited for yet, so the number is still the child's.
            Err(_refused_or_unknown) if ended.is_none() => {
                kill_process(self.pid, Signal::KILL).map_err(SystemError::of("kill"))
            }
            Err(_) => Ok(()),
        }
    }

    /// Returns how the child has ended, or `None` while it runs or is stopped. Never waits. It
    /// reaps the child (waitid(2)): later calls give the same answer from memory.
    pub fn try_wait(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.look();
        }
        self.ended
    }

    /// Waits for the child's end until the deadline, and reaps it. Without a pidfd it looks every
    /// 2 ms.
    ///
    /// # Errors
    /// [`StillRunning`] when the deadline has come; the child is as it was, and may be waited for
    /// again.
    pub fn wait_until(&mut self, deadline: Instant) -> Result<Ended, StillRunning> {
        loop {
            if let Some(ended) = self.try_wait() {
                return Ok(ended);
            }
            let now = Instant::now();
            if now >= deadline {
                return Err(StillRunning);
            }
            let slept = match self.pidfd() {
                Some(pidfd) => wait(&mut [Watched::new(pidfd, Interest::Input)], Some(deadline)),
                // No descriptor to wait on: look again and again.
                None => wait(&mut [], Some(deadline.min(now + Duration::from_millis(2)))),
            };
            if slept.is_err() {
                return Err(StillRunning);
            }
        }
    }

    fn look(&self) -> Option<Ended> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let by_number = || waitid(WaitId::Pid(self.pid), options);
        let answer = match self.pidfd() {
            Some(pidfd) => match waitid(WaitId::PidFd(pidfd), options) {
                // Kernel 5.3 has the descriptor but not yet this use of it.
                Err(Errno::INVAL) => by_number(),
                answer => answer,
            },
            None => by_number(),
        };
        match answer {
            Ok(status) => status.as_ref().map(ended),
            Err(Errno::INTR) => None,
            Err(_not_ours_any_more) => Some(Ended::Unknown),
        }
    }
}

fn ended(status: &WaitIdStatus) -> Ended {
    let number = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Ended::Exited(number(status)),
        (None, Some(signal)) => Ended::Killed(number(signal)),
        (None, None) => Ended::Unknown,
    }
}

/// A deadline has come and the process still runs. Nothing has changed: one may wait on or kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillRunning;

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the process still runs at the deadline")
    }
}

impl core::error::Error for StillRunning {}
