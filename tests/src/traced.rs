//! Counts the system calls of a process between marks that it sets (ptrace(2)).

#![expect(unsafe_code, reason = "ptrace has no safe form")]

// The numbers of linux/ptrace.h: C libraries differ in which of them they have, and in their types.
const TRACEME: usize = 0;
const SYSCALL: usize = 24;
const SETOPTIONS: usize = 0x4200;
const GET_SYSCALL_INFO: usize = 0x420e;
const TRACE_SYSCALLS_APART: usize = 1;
const EXIT_KILL: usize = 1 << 20;
const ENTERED: u8 = 1;
const LEFT: u8 = 2;

use ipc_barrier::{Fork, exit, fork};

use crate::cases::skip;

/// The calls that bring bytes in.
const RECEIVING: [libc::c_long; 4] =
    [libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_read, libc::SYS_readv];

/// What a process did from one mark to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch {
    /// System calls.
    pub calls: usize,
    /// Bytes that they received.
    pub received: usize,
}

/// Marks the end of a stretch, by a call that nothing else makes.
pub fn mark() {
    // SAFETY: the call takes and changes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Runs the function in a child and returns its stretches, from the first mark on. Where tracing is
/// not allowed the case is skipped aloud. Processes that the child forks are not traced.
pub fn stretches(run: impl FnOnce()) -> Vec<Stretch> {
    let child = match fork().expect("the case has one thread") {
        Fork::Child(_guard) => {
            if trace(TRACEME, 0, 0, 0) != 0 {
                exit(77);
            }
            // SAFETY: no memory is involved. The parent lets it go on.
            unsafe { libc::raise(libc::SIGSTOP) };
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
            // A signal of its own, such as that of a child's end.
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

/// Where a process is stopped.
enum Call {
    Entered(libc::c_long),
    Left(i64),
}

fn look(child: i32) -> Option<Call> {
    // The kernel's `struct ptrace_syscall_info`, and more: its first byte says what it tells, and
    // after the places of the program and its stack comes the call's number or its result.
    let mut info = [0_u64; 16];
    let (len, address) = (size_of_val(&info), (&raw mut info).addr());
    if trace(GET_SYSCALL_INFO, child, len, address) <= 0 {
        return None;
    }
    let [kind, _, _, number, ..] = info;
    match kind.to_ne_bytes() {
        [ENTERED, ..] => libc::c_long::try_from(number).ok().map(Call::Entered),
        [LEFT, ..] => Some(Call::Left(number.cast_signed())),
        _ => None,
    }
}

fn trace(request: usize, child: i32, address: usize, data: usize) -> libc::c_long {
    // SAFETY: the requests above take numbers, but for the one that writes a structure of at most
    // the length that goes with its address.
    unsafe { libc::syscall(libc::SYS_ptrace, request, child, address, data) }
}

fn wait(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: the kernel writes the status into the variable.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child, "waitpid");
    status
}
