//! Descriptors of processes.

use ipc_transport::{SystemError, above_stdio};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use super::child::Child;

/// A process whose end a pidfd can show: a [`Child`], or a pidfd of any origin.
pub trait AsPidfd {
    /// Returns the descriptor that becomes readable at the process's end. `None` where the kernel
    /// has no pidfds.
    fn as_pidfd(&self) -> Option<BorrowedFd<'_>>;
}

impl AsPidfd for &Child {
    fn as_pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd()
    }
}

impl<T: AsFd> AsPidfd for T {
    fn as_pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// Opens the descriptor of a process that was not forked here, the parent for example
/// (pidfd_open(2), kernel 5.3); close-on-exec and above 2.
///
/// The number may belong to another process by now, unless it is that of a child that nobody has
/// waited for. To watch the parent, compare getppid(2) with its number after this call: as long as
/// they are equal, the descriptor is the parent's.
///
/// # Errors
/// `ESRCH` where there is no such process, `ENOSYS` or `EPERM` where pidfds are unknown or refused,
/// `EMFILE`.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, SystemError> {
    let pid = Pid::from_raw(pid).filter(|_| pid > 0).ok_or(Errno::INVAL);
    let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()));
    above_stdio(pidfd.map_err(SystemError::of("pidfd_open"))?)
}
