//! fork, through the C library where there is one, else by the system call.

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

/// The first arguments of clone: flags and no stack, the other way round on s390 (clone(2)).
const CLONE: [usize; 2] = if cfg!(target_arch = "s390x") { [0, SIGCHLD] } else { [SIGCHLD, 0] };

/// In which of the two processes the program goes on (fork(2)).
#[derive(Debug)]
pub enum Fork {
    /// In the child. Keep the guard until the child exits or calls exec.
    Child(Guard),
    /// In the parent.
    Parent(Child),
}

/// Forks through the C library, so that it can reset its locks and its cached thread id (fork(3)).
///
/// It refuses where there is a second thread: only the forking thread goes on in the child, and
/// a lock that another thread holds, such as the allocator's, would stay held for ever.
///
/// The parent's buffers are copied too: flush before, and leave the child by
/// [`exit`](super::exit) or exec.
///
/// It finds out about threads by `unshare(CLONE_VM)`, which fails if there is a second one and has
/// no effect otherwise (unshare(2)). Where that fails it counts in `/proc/self/task`, without the
/// threads that the kernel has made for an io_uring: they run no code of the program.
///
/// # Errors
/// [`ForkError::Threads`] and [`ForkError::ThreadsUnknown`] before anything was forked; `EAGAIN`
/// and `ENOMEM` from the kernel. Nothing has changed, and it may be tried again.
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
    // SAFETY: there is one thread, so the child may do whatever the parent may.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        // SAFETY: the call has no precondition.
        let errno = unsafe { libc::__errno_location() };
        // SAFETY: it points at this thread's error number, which fork has just set.
        let errno = unsafe { *errno };
        return Err(ForkError::System(SystemError::of("fork")(errno)));
    }
    Ok(sides(pid))
}

/// Forks by the system call itself (clone(2)). It tells no C library and counts no threads.
///
/// # Errors
/// `EAGAIN` and `ENOMEM` from the kernel. Nothing has changed.
///
/// # Safety
/// The program has no C library and one thread; or the child only makes system calls and then
/// exits or calls exec.
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

/// Ends the child when it is dropped: by a panic, by `?`, or at the end of its scope.
///
/// Without it a child could unwind into the frames of its parent's program, run the parent's
/// destructors and go on as a second parent. It ends the child by `_exit` with status 101.
///
/// Take it by `match`, as `Fork::Child(_guard)`: in a `let … else`, the guard is dropped before the
/// `else` block begins.
#[derive(Debug)]
#[must_use = "dropping the guard ends the child"]
pub struct Guard(());

impl Guard {
    /// Gives the guard up: the child goes on as an independent program. From then on, a child that
    /// unwinds or returns runs the code of its parent's frames.
    pub fn disarm(self) {
        core::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        exit(101); // as after a panic
    }
}

/// Ends this process at once (_exit(2)): it runs no exit handlers and flushes no buffers. The
/// parent sees the lowest 8 bits of the status.
#[doc(alias = "_exit")]
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call does not return.
        _ = unsafe { syscall!(Sysno::exit_group, status) };
    }
}

/// Why the fork failed. Nothing has changed, and the fork may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread. Fork before starting the others.
    Threads {
        /// How many there are.
        count: usize,
    },
    /// The number of threads is unknown: `unshare` fails and `/proc` cannot be read. Mount `/proc`,
    /// or allow `unshare`.
    ThreadsUnknown {
        /// How `unshare` fails: `EINVAL`, as where there is a second thread, or as a filter says.
        unshare: Errno,
        /// How reading `/proc/self/task` fails.
        proc: Errno,
    },
    /// The system refuses: too many processes (`EAGAIN`) or too little memory (`ENOMEM`).
    System(SystemError),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => {
                write!(f, "cannot fork with {count} threads; fork before starting others")
            }
            Self::ThreadsUnknown { unshare, proc } => write!(
                f,
                "cannot fork: the number of threads is unknown, since unshare fails with {unshare} \
                 and /proc/self/task with {proc}; mount /proc"
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ForkError {}
