//! Scheduling and out-of-memory priorities, which a child of a daemon should not inherit.

#![expect(unsafe_code, reason = "scheduling policies by system calls that rustix lacks")]

use rustix::fs::{Mode, OFlags};
use rustix::process::{getpriority_process, setpriority_process};
use syscalls::{Sysno, syscall};

/// The real-time policies (sched(7)). A task under SCHED_DEADLINE cannot fork.
const FIFO: usize = 1;
const ROUND_ROBIN: usize = 2;
const ORDINARY: usize = 0;
/// A flag, not a policy: children do not inherit the policy.
const RESET_ON_FORK: usize = 0x4000_0000;

/// Gives up this process's priority over others. A real-time policy becomes `SCHED_OTHER`, a
/// negative nice value becomes 0, and so does a negative `oom_score_adj` (sched(7), nice(2),
/// proc(5)).
///
/// Call it in a forked child. Otherwise the child could starve its parent, or outlive it when
/// memory runs out. Any process may do this. Values that a sandbox protects stay unchanged.
pub fn give_up_precedence() {
    // SAFETY: the call touches no memory.
    let policy = unsafe { syscall!(Sysno::sched_getscheduler, 0) };
    if policy.is_ok_and(|policy| matches!(policy & !RESET_ON_FORK, FIFO | ROUND_ROBIN)) {
        let priority = 0_i32;
        // SAFETY: the kernel reads one int, which lives for the call.
        _ = unsafe { syscall!(Sysno::sched_setscheduler, 0, ORDINARY, &raw const priority) };
    }
    if getpriority_process(None).is_ok_and(|nice| nice < 0) {
        _ = setpriority_process(None, 0);
    }
    let score = rustix::fs::open(c"/proc/self/oom_score_adj", OFlags::RDWR, Mode::empty());
    let Ok(score) = score else { return };
    let mut sign = [0];
    if rustix::io::pread(&score, &mut sign, 0).is_ok() && sign == *b"-" {
        _ = rustix::io::pwrite(&score, b"0", 0);
    }
}
