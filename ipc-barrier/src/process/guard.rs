//! How a child leaves: `_exit`, and a guard that makes sure of it.

#![expect(unsafe_code, reason = "exit is a system call without a safe form")]

use syscalls::{Sysno, syscall};

/// Status of a child whose [`Guard`] was dropped; the same as a panic's.
const DROPPED: i32 = 101;

/// Ends the child when it is dropped: by a panic, by `?`, or at the end of its scope.
///
/// Without it a child could unwind into the frames of its parent's program, run the parent's
/// destructors and go on as a second parent. It ends the child by `_exit` with status 101.
///
/// Take it by `match`, as `Fork::Child(_guard)`: in a `let … else`, the guard is dropped before the
/// `else` block begins.
#[derive(Debug)]
#[must_use = "dropping the guard ends the child"]
pub struct Guard(pub(super) ());

impl Guard {
    /// Gives the guard up: the child goes on as an independent program. From then on, a child that
    /// unwinds or returns runs the code of its parent's frames.
    pub fn disarm(self) {
        core::mem::forget(self);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        exit(DROPPED);
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
