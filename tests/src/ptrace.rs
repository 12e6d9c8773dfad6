//! The calls of ptrace(2) that follow a process from one system call to the next.

#![expect(unsafe_code, reason = "ptrace has no safe form")]

use crate::numbers;

// The numbers of linux/ptrace.h: C libraries differ in which of them they have, and in their types.
/// Lets the parent trace this process.
pub const TRACEME: usize = 0;
/// Writes a word of the registers.
pub const POKE_USER: usize = 6;
/// Lets the process go on.
pub const CONTINUE: usize = 7;
/// Lets the process go on, and traces it no longer.
pub const DETACH: usize = 17;
/// Lets the process go on to where it enters or leaves its next system call.
pub const SYSCALL: usize = 24;
/// Sets the options below.
pub const SETOPTIONS: usize = 0x4200;
/// Stops at system calls tell themselves from signals.
pub const TRACE_SYSCALLS_APART: usize = 1;
/// Forks are traced too, by fork, by vfork and by clone, and an exec does not stop it by a signal.
pub const TRACE_FORKS: usize = 0b11110;
/// What is traced is killed with its tracer.
pub const EXIT_KILL: usize = 1 << 20;

const GET_SYSCALL_INFO: usize = 0x420e;
const ENTERED: u8 = 1;
const LEFT: u8 = 2;

/// Where a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It is about to make the system call of this number.
    Entered(libc::c_long),
    /// It has made one, with this result.
    Left(i64),
}

/// Returns at which end of a system call a process is stopped (kernel 5.3).
pub fn look(child: i32) -> Option<Call> {
    // The kernel's `struct ptrace_syscall_info`, and more: its first byte says what it tells, and
    // after the places of the program and its stack comes the call's number with its arguments, or
    // its result.
    let mut info = [0_u64; 16];
    let (len, address) = (size_of_val(&info), (&raw mut info).addr());
    if trace(GET_SYSCALL_INFO, child, len, address) <= 0 {
        return None;
    }
    let [kind, _, _, number, argument, ..] = info;
    match kind.to_ne_bytes() {
        [ENTERED, ..] => {
            let number = libc::c_long::try_from(number).ok()?;
            Some(Call::Entered(numbers::meant(number, argument)))
        }
        [LEFT, ..] => Some(Call::Left(number.cast_signed())),
        _ => None,
    }
}

/// Makes one of the requests above.
pub fn trace(request: usize, child: i32, address: usize, data: usize) -> libc::c_long {
    // SAFETY: the requests above take numbers, but for the one that writes a structure of at most
    // the length that goes with its address.
    unsafe { libc::syscall(libc::SYS_ptrace, request, child, address, data) }
}

/// Waits for a process to stop or to end, and returns its status.
pub fn wait(child: i32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes the status into the variable.
        let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if waited == child {
            return status;
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted, "waitpid");
    }
}

/// Lets the parent trace this process, and stops until it lets it go on. Returns false where tracing
/// is not allowed.
pub fn be_traced() -> bool {
    let is_traced = trace(TRACEME, 0, 0, 0) == 0;
    if is_traced {
        // SAFETY: no memory is involved.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    is_traced
}
