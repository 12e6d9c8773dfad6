//! Counts the system calls of a process between marks (ptrace(2)).

#![expect(unsafe_code, reason = "a call made only to be seen by the tracer")]

use ipc_barrier::{Fork, exit, fork};

use crate::cases::skip;
use crate::ptrace::{
    Call, EXIT_KILL, SETOPTIONS, SYSCALL, TRACE_SYSCALLS_APART, be_traced, look, trace, wait,
};

/// The calls that receive bytes.
const RECEIVING: [libc::c_long; 4] =
    [libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_read, libc::SYS_readv];

/// What a process did between two marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// System calls.
    pub calls: usize,
    /// Bytes received by them.
    pub received: usize,
}

/// Marks the end of a stretch, with a call that nothing else makes.
pub fn mark() {
    // SAFETY: the call takes no arguments and changes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Runs the function in a child and returns its stretches, starting at the first mark. Skips the
/// case, with a message, if tracing is not allowed. Processes forked by the child are not traced.
pub fn stretches(run: impl FnOnce()) -> Vec<Stretch> {
    let child = match fork().expect("the case has one thread") {
        Fork::Child(_guard) => {
            if !be_traced() {
                exit(77);
            }
            run();
            exit(0);
        }
        Fork::Parent(child) => child.pid(),
    };
    let unable =
        || skip("counting calls by ptrace: not allowed here", "a kernel of 5.3, no sandbox");
    if !libc::WIFSTOPPED(wait(child)) {
        unable();
    }
    if trace(SETOPTIONS, child, 0, TRACE_SYSCALLS_APART | EXIT_KILL) != 0 {
        unable();
    }
    let (mut list, mut current, mut signal) = (Vec::new(), 0, 0);
    loop {
        trace(SYSCALL, child, 0, signal);
        let status = wait(child);
        if !libc::WIFSTOPPED(status) {
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
            return list;
        }
        let stopped_by = libc::WSTOPSIG(status);
        if stopped_by != libc::SIGTRAP | 0x80 {
            // A signal to the traced process itself, such as SIGCHLD.
            signal = usize::try_from(stopped_by).expect("signals are positive");
            continue;
        }
        signal = 0;
        match look(child) {
            None => unable(),
            Some(Call::Entered(libc::SYS_getppid)) => {
                current = libc::SYS_getppid;
                list.push(Stretch::default());
            }
            Some(Call::Entered(number)) => {
                current = number;
                list.last_mut().into_iter().for_each(|last| last.calls += 1);
            }
            Some(Call::Left(result)) if RECEIVING.contains(&current) => {
                let received = usize::try_from(result).unwrap_or(0);
                list.last_mut().into_iter().for_each(|last| last.received += received);
            }
            Some(Call::Left(_)) => {}
        }
    }
}
