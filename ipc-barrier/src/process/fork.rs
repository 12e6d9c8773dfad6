//! fork, by the C library if one is linked, otherwise by the system call.

#![expect(unsafe_code, reason = "fork and exit are calls without a safe form")]

use core::fmt;

use ipc_transport::{Errno, SystemError};
use rustix::process::Pid;
use syscalls::{Sysno, syscall};

use super::child::Child;
#[cfg(feature = "libc")]
use super::threads;

/// The signal that the parent receives when the child ends (signal(7)).
const SIGCHLD: usize = 17;

/// The first arguments of clone: flags and stack. s390x has them in reverse order (clone(2)).
const CLONE: [usize; 2] = if cfg!(target_arch = "s390x") { [0, SIGCHLD] } else { [SIGCHLD, 0] };

/// Which of the two processes this is (fork(2)).
#[derive(Debug)]
pub enum Fork {
    /// The child. Keep the guard until the child exits or calls exec.
    Child(Guard),
    /// The parent.
    Parent(Child),
}

/// Forks through the C library, so that it can reset its locks and its cached thread id (fork(3)).
///
/// It fails if the process has a second thread. Only the forking thread continues in the child, so
/// a lock that another thread holds, such as the allocator's, would never be released there.
///
/// The child also gets copies of the parent's unwritten buffers. Flush them before the fork, and
/// leave the child by [`exit`](super::exit) or exec.
///
/// To look for threads it calls `unshare(CLONE_VM)`, which fails if there is a second thread and
/// otherwise has no effect (unshare(2)). If that fails, it counts the entries of `/proc/self/task`.
/// It does not count the kernel's threads for io_uring, which run no code of the program.
///
/// # Errors
/// See [`ForkError`]. Nothing was forked, and the call may be repeated.
#[doc(alias = "CLONE_VM")]
#[cfg(feature = "libc")]
pub fn fork() -> Result<Fork, ForkError> {
    let count = threads::count().map_err(|(unshare, proc)| ForkError::ThreadsUnknown {
        unshare: unshare.into(),
        proc: proc.into(),
    })?;
    if count != 1 {
        return Err(ForkError::Threads { count });
    }
    // SAFETY: there is one thread, so the child may do anything that the parent may.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        // SAFETY: the call has no precondition.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it points to this thread's errno, which fork has just set.
        let errno = unsafe { *errno };
        return Err(ForkError::System(SystemError::of("fork")(errno)));
    }
    Ok(sides(pid))
}

/// Forks by the bare system call (clone(2)). It does not involve a C library, and does not look for
/// threads.
///
/// # Errors
/// [`ForkError::System`]: `EAGAIN` or `ENOMEM`. Nothing was forked, and the call may be repeated.
///
/// # Safety
/// Either the program has no C library and only one thread, or the child makes nothing but system
/// calls until it exits or calls exec.
pub unsafe fn fork_raw() -> Result<Fork, ForkError> {
    // SAFETY: without CLONE_VM the child has separate memory; the caller promises the rest.
    let pid = unsafe { syscall!(Sysno::clone, CLONE[0], CLONE[1], 0, 0, 0) }
        .map_err(|error| ForkError::System(SystemError::of("clone")(error.into_raw())))?;
    Ok(sides(i32::try_from(pid).unwrap_or(0)))
}

fn sides(pid: i32) -> Fork {
    match Pid::from_raw(pid) {
        None => Fork::Child(Guard(())),
        Some(pid) => Fork::Parent(Child::new(pid)),
    }
}

/// Ends the child when it is dropped: by a panic, by `?`, or at the end of the scope. The child
/// leaves by `_exit` with status 101.
///
/// Without it a child could unwind into the parent's stack frames, run the parent's destructors and
/// continue as a second parent.
///
/// Bind it in a `match`, as `Fork::Child(_guard)`. A `let … else` drops the guard before the `else`
/// block begins.
#[derive(Debug)]
#[must_use = "dropping the guard ends the child"]
pub struct Guard(());

impl Guard {
    /// Disarms the guard: the child continues as an independent program. A child that then unwinds
    /// or returns runs the code of the parent's frames.
    pub fn disarm(self) {
        core::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        exit(101); // as after a panic
    }
}

/// Ends this process at once, without exit handlers and without flushing buffers (_exit(2)). The
/// parent sees the lowest 8 bits of the status.
#[doc(alias = "_exit")]
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call does not return.
        _ = unsafe { syscall!(Sysno::exit_group, status) };
    }
}

/// Why a fork failed. Nothing was forked, and the call may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread. Fork before starting other threads.
    Threads {
        /// How many threads the process has.
        count: usize,
    },
    /// The number of threads is unknown: `unshare` failed and `/proc` cannot be read. Mount
    /// `/proc`, or allow `unshare`.
    ThreadsUnknown {
        /// The error of `unshare`: `EINVAL`, as with a second thread, or what a filter returns.
        unshare: Errno,
        /// The error of reading `/proc/self/task`.
        proc: Errno,
    },
    /// The system call failed: too many processes (`EAGAIN`) or too little memory (`ENOMEM`).
    System(SystemError),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => {
                write!(f, "cannot fork: this process has {count} threads; fork before any, or exec")
            }
            Self::ThreadsUnknown { unshare, proc } => write!(
                f,
                "cannot fork: cannot count threads: unshare failed with {unshare}, /proc/self/task \
                 with {proc}; mount /proc"
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ForkError {}
