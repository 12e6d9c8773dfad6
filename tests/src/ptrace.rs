//! The ptrace(2) calls that follow a process from one system call to the next.

#![expect(unsafe_code, reason = "ptrace has no safe wrapper")]

use std::io::{Read, Write};
use std::time::Duration;

use ipc_barrier::Child;

use crate::forked::forked;
use crate::numbers;

// The numbers in linux/ptrace.h: C libraries define different subsets, with different types.
/// Lets the parent trace this process.
pub const TRACEME: usize = 0;
/// Writes a word to the tracee's user area, which holds its registers.
pub const POKE_USER: usize = 6;
/// Continues the process.
pub const CONTINUE: usize = 7;
/// Stops tracing the process and continues it.
pub const DETACH: usize = 17;
/// Continues the process until it enters or leaves its next system call.
pub const SYSCALL: usize = 24;
/// Sets the options below.
pub const SETOPTIONS: usize = 0x4200;
/// Makes stops at system calls distinguishable from signals.
pub const TRACE_SYSCALLS_APART: usize = 1;
/// Also traces children made by fork, vfork and clone, and replaces the SIGTRAP after an exec.
pub const TRACE_FORKS: usize = 0b11110;
/// Kills the tracee if the tracer exits.
pub const EXIT_KILL: usize = 1 << 20;

const GET_SYSCALL_INFO: usize = 0x420e;
const ENTERED: u8 = 1;
const LEFT: u8 = 2;

/// The end of a system call at which a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// It is about to make this system call.
    Entered(libc::c_long),
    /// It has made a system call, with this result.
    Left(i64),
}

/// Starts a tracer of a process: once that is killed, nobody can reap it before the tracer ends.
/// Returns `None` if this process may not trace.
pub fn keep_unreaped(pid: i32) -> Option<Child> {
    let (mut told, telling) = std::io::pipe().expect("there are descriptors left");
    let mut tracer = forked(|| {
        // SAFETY: the request attaches to the process and touches no memory.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) } == 0;
        (&telling).write_all(&[u8::from(seized)]).expect("the pipe is open");
        std::thread::sleep(Duration::from_secs(600));
    });
    let mut seized = [0];
    told.read_exact(&mut seized).expect("the tracer tells");
    if seized == [1] {
        return Some(tracer);
    }
    _ = tracer.kill();
    _ = tracer.wait();
    None
}

/// Returns the end of the system call at which a process is stopped (Linux 5.3).
pub fn look(child: i32) -> Option<Call> {
    // The kernel's `struct ptrace_syscall_info`, and more. Its first byte gives the kind of stop.
    // After the instruction and stack pointers come the call's number and arguments, or its result.
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
    // SAFETY: the requests above take numbers. One writes a structure, of at most the length passed
    // with its address.
    unsafe { libc::syscall(libc::SYS_ptrace, request, child, address, data) }
}

/// Waits for a process to stop or exit, and returns its status.
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

/// Lets the parent trace this process, and stops until the parent continues it. Returns false if
/// tracing is not allowed.
pub fn be_traced() -> bool {
    let is_traced = trace(TRACEME, 0, 0, 0) == 0;
    if is_traced {
        // SAFETY: no memory is involved.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
    is_traced
}
