//! A child process: its pid, its pidfd, and how it ends.

use core::fmt;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, wait};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    self, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process,
    pidfd_send_signal, test_kill_process, waitid, waitpid,
};

/// How a process ended (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It exited with this status, 0 to 255.
    Exited(u8),
    /// This signal killed it (signal(7)).
    Killed(u8),
    /// Its status is lost: another part of the program waited for it, or the program ignores
    /// `SIGCHLD`.
    Unknown,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "exited with status {status}"),
            Self::Killed(signal) => {
                let is_sys = i32::from(*signal) == Signal::SYS.as_raw();
                let why =
                    if is_sys { " (SIGSYS: a system call that its filter forbids)" } else { "" };
                write!(f, "killed by signal {signal}{why}")
            }
            Self::Unknown => f.write_str("ended with an unknown status: another wait took it"),
        }
    }
}

/// A child of this process. Dropping it neither kills nor waits. A child that nobody waits for
/// stays a zombie until this process ends.
///
/// On kernels with pidfds (5.3), all calls use the pidfd, so they never reach another process that
/// got the same pid. On older kernels they use the pid, and only until the child is reaped.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    ended: Option<Ended>,
}

impl Child {
    /// Takes charge of a child that was just forked and that nobody has waited for.
    pub(crate) fn new(pid: Pid) -> Self {
        // Without a pidfd (old kernel, filter, no descriptor left), the calls use the pid.
        let pidfd = pidfd_open(pid.as_raw_nonzero().get()).ok();
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let looked = pidfd.as_ref().map(|pidfd| waitid(WaitId::PidFd(pidfd.as_fd()), look));
        if let Some(Err(Errno::CHILD)) = looked {
            // It was reaped elsewhere, and the pid may belong to another process now.
            return Self { pid, pidfd: None, ended: Some(Ended::Unknown) };
        }
        Self { pid, pidfd, ended: None }
    }

    /// Returns the pid. Once the child is reaped, another process may get the same pid.
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the pidfd, which becomes readable when the child ends (pidfd_open(2), kernel 5.3).
    /// `None` if the kernel has no pidfds, a filter refuses them, or no descriptor was left at the
    /// fork.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Kills the child (`SIGKILL`), unless it has already ended. Does not wait: a process in
    /// uninterruptible sleep ends later.
    ///
    /// # Errors
    /// `EPERM` if the child has changed its privileges. The child keeps running, and the call may
    /// be repeated.
    pub fn kill(&mut self) -> Result<(), SystemError> {
        // A child whose status is lost may still run: it may have another parent now.
        if matches!(self.try_wait(), Some(Ended::Exited(_) | Ended::Killed(_))) {
            return Ok(());
        }
        let sent = match self.pidfd().map(|pidfd| pidfd_send_signal(pidfd, Signal::KILL)) {
            // The child was not reaped yet, so it still has this pid.
            None | Some(Err(Errno::PERM | Errno::NOSYS)) if self.ended.is_none() => {
                kill_process(self.pid, Signal::KILL)
            }
            sent => sent.unwrap_or(Ok(())),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(SystemError::of("kill")(error)),
        }
    }

    /// Returns how the child ended, or `None` while it runs or is stopped. Never waits. Reaps a
    /// child that has ended (waitid(2)). Later calls return the stored answer.
    pub fn try_wait(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.ask(WaitOptions::NOHANG);
        }
        self.ended
    }

    /// Waits until the child ends, without a timeout, and reaps it.
    pub fn wait(&mut self) -> Ended {
        self.ended = self.ended.or_else(|| self.ask(WaitOptions::empty()));
        // That call may have been interrupted, or may be unable to wait.
        self.wait_until(Instant::NEVER).unwrap_or(Ended::Unknown)
    }

    /// Waits until the child ends or the deadline passes. Reaps a child that has ended, and returns
    /// `None` for one that still runs.
    ///
    /// Without a pidfd, it checks every 2 ms. It also does so while a tracer (ptrace(2)) keeps the
    /// child from being reaped.
    pub fn wait_until(&mut self, deadline: Instant) -> Option<Ended> {
        let mut shown = false;
        loop {
            let now = Instant::now();
            let ended = self.try_wait();
            if ended.is_some() || now >= deadline {
                return ended;
            }
            // Once the pidfd has shown the end, polling it again tells nothing new.
            let pidfd = self.pidfd().filter(|_| !shown);
            let mut watched = pidfd.map(|pidfd| Watched::new(pidfd, Interest::Input));
            // Without a descriptor to poll, check repeatedly.
            let often = deadline.min(now + Duration::from_millis(2));
            let until = if watched.is_some() { deadline } else { often };
            match wait(watched.as_mut_slice(), Some(until)) {
                Ok(is_ready) => shown |= is_ready,
                // The system cannot poll descriptors, but it can still sleep.
                Err(_) => _ = wait(&mut [], Some(often)),
            }
        }
    }

    fn ask(&self, options: WaitOptions) -> Option<Ended> {
        // Both calls share these option bits.
        let by_id = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(options.bits());
        let answer = match self.pidfd().map(|pidfd| waitid(WaitId::PidFd(pidfd), by_id)) {
            // Kernel 5.3 has pidfds, but its waitid does not accept one. A filter may refuse the
            // call, which says nothing about the child.
            None | Some(Err(Errno::INVAL | Errno::PERM | Errno::NOSYS)) => {
                let told = waitpid(Some(self.pid), options);
                told.map(|it| ended(it?.1.exit_status(), it?.1.terminating_signal()))
            }
            Some(told) => told.map(|it| ended(it?.exit_status(), it?.terminating_signal())),
        };
        match answer {
            Ok(ended) => ended,
            // Only a call that waits can be interrupted. From others, a filter returns this errno.
            Err(Errno::INTR) if !options.contains(WaitOptions::NOHANG) => None,
            // A filter's errno says nothing about the child. Without a pidfd, ECHILD must be
            // believed.
            Err(Errno::CHILD) if self.pidfd.is_none() => Some(Ended::Unknown),
            Err(_refused_or_not_ours) => self.is_gone().then_some(Ended::Unknown),
        }
    }

    /// Returns whether the child has ended, when its status is not available.
    #[cold]
    fn is_gone(&self) -> bool {
        let Some(pidfd) = self.pidfd() else {
            return test_kill_process(self.pid) == Err(Errno::SRCH);
        };
        wait(&mut [Watched::new(pidfd, Interest::Input)], Some(Instant::PAST)).unwrap_or(false)
    }
}

/// For `watching(&child)`. `None` if the child has no pidfd.
impl<'fd> From<&'fd Child> for Option<BorrowedFd<'fd>> {
    fn from(child: &'fd Child) -> Self {
        child.pidfd()
    }
}

/// How a child ended, from its status or signal. A child with neither was stopped by a tracer.
fn ended(status: Option<i32>, signal: Option<i32>) -> Option<Ended> {
    let number = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    let exited = status.map(|status| Ended::Exited(number(status)));
    exited.or_else(|| signal.map(|signal| Ended::Killed(number(signal))))
}

/// Opens a pidfd for a process that this crate did not fork, such as the parent (pidfd_open(2),
/// kernel 5.3). It is close-on-exec and above 2.
///
/// The pid may belong to another process by now, unless it is the pid of a child that nobody has
/// reaped. To watch the parent, compare getppid(2) with `pid` after this call. If they are equal,
/// the descriptor is the parent's.
///
/// # Errors
/// `ESRCH` if there is no such process, `EINVAL` if `pid` is not positive, `ENOSYS` or `EPERM` if
/// pidfds are unknown or refused, `EMFILE`.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, SystemError> {
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(Errno::INVAL);
    let pidfd = pid.and_then(|pid| process::pidfd_open(pid, PidfdFlags::empty()));
    above_stdio(pidfd.map_err(SystemError::of("pidfd_open"))?)
}
