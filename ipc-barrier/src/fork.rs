//! fork, through the C library where there is one and raw where there is none.

#![expect(unsafe_code, reason = "fork and exit are system calls without a safe form")]

use core::fmt;

use ipc_transport::SystemError;
use rustix::process::Pid;
use syscalls::{Sysno, syscall};

use crate::child::Child;

/// Status of a child that ended because its [`Guard`] was dropped; the same as a panic's.
const DROPPED: i32 = 101;

/// What the parent is sent when the child ends (signal(7)).
const SIGCHLD: usize =
    if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 18 } else { 17 };

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

/// Ends the child when it is dropped: by a panic, by `?`, or where its scope ends.
///
/// Without it a child could unwind into the frames of its parent's program, run the parent's
/// destructors and go on as a second one. The end is an `_exit` with status 101.
///
/// Take it by `match`, as `Fork::Child(_guard)`: the `else` of a `let` begins only after what did
/// not match, the guard too, was dropped.
#[derive(Debug)]
#[must_use = "dropping the guard ends the child"]
pub struct Guard(());

impl Guard {
    /// Gives the guard up: the child may go on as a program of its own. From then on an unwinding
    /// or returning child runs whatever its parent would have run.
    pub fn disarm(self) {
        core::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        exit(DROPPED);
    }
}

/// Forks through the C library, so that its locks and its thread number are told (fork(3)).
///
/// It first makes sure that there is no second thread: in its child only this thread goes on,
/// and whatever another one held, such as the allocator's lock, stays held for ever.
///
/// The parent's buffers are copied too: flush before, and leave the child by [`exit`] or exec.
///
/// How many threads there are is asked by `unshare(CLONE_VM)`, which is refused to a second one and
/// does nothing otherwise (unshare(2)); where that is refused too, by counting `/proc/self/task`.
///
/// # Errors
/// [`ForkError::Threads`] and [`ForkError::ThreadsUnknown`] before anything was forked; `EAGAIN`
/// and `ENOMEM` from the kernel. Nothing has changed, and it may be tried again.
#[doc(alias = "CLONE_VM")]
#[cfg(feature = "libc")]
pub fn fork() -> Result<Fork, ForkError> {
    crate::threads::only_one()?;
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

/// Forks by the system call itself (clone(2)), which tells no C library and counts no threads.
///
/// # Errors
/// `EAGAIN` and `ENOMEM` from the kernel. Nothing has changed.
///
/// # Safety
/// The program has no C library and one thread; or the child only makes system calls and then
/// exits or calls exec.
pub unsafe fn fork_raw() -> Result<Fork, ForkError> {
    // SAFETY: without CLONE_VM the child has memory of its own; the rest the caller promises.
    let pid = unsafe { syscall!(Sysno::clone, CLONE[0], CLONE[1], 0, 0, 0) };
    let pid = pid.map_err(|error| SystemError::of("clone")(error.into_raw()));
    let pid = pid.map_err(ForkError::System)?;
    Ok(sides(i32::try_from(pid).unwrap_or(0)))
}

fn sides(pid: i32) -> Fork {
    match Pid::from_raw(pid) {
        None => Fork::Child(Guard(())),
        Some(pid) => Fork::Parent(Child::new(pid)),
    }
}

/// Ends this process at once (_exit(2)): no exit handlers, no buffers written a second time. Of
/// the status the parent sees the lowest 8 bits.
#[doc(alias = "_exit")]
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call does not return.
        _ = unsafe { syscall!(Sysno::exit_group, status) };
    }
}

/// Why there is no child. Nothing has changed, and it may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForkError {
    /// The process has more than one thread. Fork before the others are started.
    Threads {
        /// How many there are.
        count: usize,
    },
    /// How many threads there are cannot be found out: `unshare` is refused and `/proc` cannot
    /// be read. Mount `/proc`, or allow `unshare`.
    ThreadsUnknown,
    /// The system refuses: too many processes (`EAGAIN`) or too little memory (`ENOMEM`).
    System(SystemError),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads { count } => {
                write!(f, "cannot fork with {count} threads; fork before starting others")
            }
            Self::ThreadsUnknown => f.write_str(
                "cannot find out how many threads there are: unshare is refused and /proc/self/task \
                 cannot be read",
            ),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ForkError {}
