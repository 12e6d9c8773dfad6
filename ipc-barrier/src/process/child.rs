//! A child process: its number, its pidfd and its end.

use core::fmt;
use core::time::Duration;

use ipc_transport::{Instant, Interest, SystemError, Watched, above_stdio, wait};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{
    self, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, kill_process,
    pidfd_send_signal, test_kill_process, waitid, waitpid,
};

/// How a process has ended (waitid(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It exited with this status, 0 to 255.
    Exited(u8),
    /// A signal killed it; the number is the signal's (signal(7)).
    Killed(u8),
    /// Its status is lost: another part of the program had waited for it, or the program ignores
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
            Self::Unknown => f.write_str("ended; its status was taken by another wait"),
        }
    }
}

/// A child that this process forked. Dropping it neither kills nor waits: a child that nobody waits
/// for stays a zombie until this process ends.
///
/// Where the kernel has pidfds (5.3) all calls go through one, so they never reach another process
/// with the same number. Elsewhere they use the number, and only until the child was waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: Option<OwnedFd>,
    ended: Option<Ended>,
}

impl Child {
    /// Takes charge of a child that was just forked and that nobody has waited for.
    pub(crate) fn new(pid: Pid) -> Self {
        // Where it is refused, unknown, or no descriptor is left, the number has to do.
        let pidfd = pidfd_open(pid.as_raw_nonzero().get()).ok();
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let looked = pidfd.as_ref().map(|pidfd| waitid(WaitId::PidFd(pidfd.as_fd()), look));
        if let Some(Err(Errno::CHILD)) = looked {
            // It was reaped elsewhere, and the number is another process's by now.
            return Self { pid, pidfd: None, ended: Some(Ended::Unknown) };
        }
        Self { pid, pidfd, ended: None }
    }

    /// Returns the process number. Once the child was waited for, another process may get it.
    pub const fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns the descriptor that becomes readable at the child's end (pidfd_open(2), kernel
    /// 5.3). `None` where the kernel has no pidfds, a filter refuses them, or no descriptor was
    /// left at the fork.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Kills the child (`SIGKILL`), unless it has ended already. It does not wait: a process in
    /// uninterruptible sleep ends later.
    ///
    /// # Errors
    /// `EPERM` where the child has other privileges by now; it runs on, and may be killed again.
    pub fn kill(&mut self) -> Result<(), SystemError> {
        // A child whose status is lost may still run: another process may be its parent by now.
        if matches!(self.try_wait(), Some(Ended::Exited(_) | Ended::Killed(_))) {
            return Ok(());
        }
        let sent = match self.pidfd().map(|pidfd| pidfd_send_signal(pidfd, Signal::KILL)) {
            // Not waited for yet, so the number is still the child's.
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

    /// Returns how the child has ended, or `None` while it runs or is stopped. Never waits. It
    /// reaps the child (waitid(2)): later calls give the same answer from memory.
    pub fn try_wait(&mut self) -> Option<Ended> {
        if self.ended.is_none() {
            self.ended = self.ask(WaitOptions::NOHANG);
        }
        self.ended
    }

    /// Waits for the child's end, without a deadline, and reaps it.
    pub fn wait(&mut self) -> Ended {
        self.ended = self.ended.or_else(|| self.ask(WaitOptions::empty()));
        // Where that was interrupted, or cannot wait.
        self.wait_until(Instant::NEVER).unwrap_or(Ended::Unknown)
    }

    /// Waits for the child's end until the deadline, and reaps it; `None` where it still runs then.
    /// Without a pidfd it looks every 2 ms, and also while somebody who traces the child (ptrace(2))
    /// keeps it from being reaped.
    pub fn wait_until(&mut self, deadline: Instant) -> Option<Ended> {
        let mut shown = false;
        loop {
            let now = Instant::now();
            let ended = self.try_wait();
            if ended.is_some() || now >= deadline {
                return ended;
            }
            // Once it has shown the end, it tells nothing more.
            let pidfd = self.pidfd().filter(|_| !shown);
            let mut watched = pidfd.map(|pidfd| Watched::new(pidfd, Interest::Input));
            // Without a descriptor to wait on, look again and again.
            let often = deadline.min(now + Duration::from_millis(2));
            let until = if watched.is_some() { deadline } else { often };
            match wait(watched.as_mut_slice(), Some(until)) {
                Ok(is_ready) => shown |= is_ready,
                // The system cannot wait for descriptors, but for a time.
                Err(_) => _ = wait(&mut [], Some(often)),
            }
        }
    }

    fn ask(&self, options: WaitOptions) -> Option<Ended> {
        // Both calls have the same bits for what is common to them.
        let by_id = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(options.bits());
        let answer = match self.pidfd().map(|pidfd| waitid(WaitId::PidFd(pidfd), by_id)) {
            // Kernel 5.3 has pidfds, but waitid takes none yet; a filter may refuse the call, which
            // says nothing of the child.
            None | Some(Err(Errno::INVAL | Errno::PERM | Errno::NOSYS)) => {
                let told = waitpid(Some(self.pid), options);
                told.map(|it| ended(it?.1.exit_status(), it?.1.terminating_signal()))
            }
            Some(told) => told.map(|it| ended(it?.exit_status(), it?.terminating_signal())),
        };
        match answer {
            Ok(ended) => ended,
            // Only a call that waits can truly be interrupted.
            Err(Errno::INTR) if !options.contains(WaitOptions::NOHANG) => None,
            // What a filter answers says nothing of the child. Without a pidfd nothing else does.
            Err(Errno::CHILD) if self.pidfd.is_none() => Some(Ended::Unknown),
            Err(_refused_or_not_ours) => self.is_gone().then_some(Ended::Unknown),
        }
    }

    /// Returns whether the child has ended, where its status cannot be asked for.
    #[cold]
    fn is_gone(&self) -> bool {
        let Some(pidfd) = self.pidfd() else {
            return test_kill_process(self.pid) == Err(Errno::SRCH);
        };
        wait(&mut [Watched::new(pidfd, Interest::Input)], Some(Instant::PAST)).unwrap_or(false)
    }
}

/// `watching(&child)`: `None` where the child has no pidfd.
impl<'fd> From<&'fd Child> for Option<BorrowedFd<'fd>> {
    fn from(child: &'fd Child) -> Self {
        child.pidfd()
    }
}

/// How a child has ended by its status or signal. One with neither was stopped by a tracer.
fn ended(status: Option<i32>, signal: Option<i32>) -> Option<Ended> {
    let number = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    let exited = status.map(|status| Ended::Exited(number(status)));
    exited.or_else(|| signal.map(|signal| Ended::Killed(number(signal))))
}

/// Opens the descriptor of a process that was not forked here, the parent for example
/// (pidfd_open(2), kernel 5.3); close-on-exec and above 2.
///
/// The number may belong to another process by now, unless it is that of a child that nobody has
/// waited for. To watch the parent, compare getppid(2) with its number after this call: as long as
/// they are equal, the descriptor is the parent's.
///
/// # Errors
/// `ESRCH` where the process does not exist, `ENOSYS` or `EPERM` where pidfds are unknown or refused,
/// `EMFILE`.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, SystemError> {
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(Errno::INVAL);
    let pidfd = pid.and_then(|pid| process::pidfd_open(pid, PidfdFlags::empty()));
    above_stdio(pidfd.map_err(SystemError::of("pidfd_open"))?)
}
