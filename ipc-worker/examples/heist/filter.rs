//! The system call filter (seccomp(2)) of the worker.

use ipc_barrier::process::Instruction;
use ipc_worker::Reason;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, sock_filter,
};

/// The worker's stream to main, and standard error.
const STREAM: u64 = 3;
const STDERR: u64 = 2;

/// Where the offset of mmap counts pages, the call has another number.
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
const MMAP: libc::c_long = libc::SYS_mmap2;
#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
const MMAP: libc::c_long = libc::SYS_mmap;

/// Creates a filter that kills the process for every system call that neither the worker's loop nor
/// the parser makes.
pub(crate) fn filter() -> Result<Vec<Instruction>, Reason> {
    let program = program().map_err(|error| Reason::from_error("filter", &error, ""))?;
    let instruction = |sock_filter { code, jt, jf, k }| Instruction { code, jt, jf, k };
    Ok(program.into_iter().map(instruction).collect())
}

fn program() -> Result<BpfProgram, seccompiler::BackendError> {
    let only = |argument, operator, value| {
        let condition = SeccompCondition::new(argument, Dword, operator, value)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let is = |argument, value: u64| only(argument, SeccompCmpOp::Eq, value);
    let (always, exec) = (Vec::new, u64::from(libc::PROT_EXEC.unsigned_abs()));
    let rules = [
        // The worker's loop receives requests and sends replies through one socket.
        (libc::SYS_recvmsg, is(0, STREAM)?),
        (libc::SYS_recvfrom, is(0, STREAM)?),
        (libc::SYS_sendmsg, is(0, STREAM)?),
        (libc::SYS_sendto, is(0, STREAM)?),
        (libc::SYS_clock_gettime, always()),
        (libc::SYS_exit_group, always()),
        // The parser reads its file, and closes it.
        (libc::SYS_pread64, always()),
        (libc::SYS_close, always()),
        // In debug builds, std first checks whether it is open.
        (libc::SYS_fcntl, is(1, libc::F_GETFD.unsigned_abs().into())?),
        // Memory, but not executable.
        (MMAP, only(2, SeccompCmpOp::MaskedEq(exec), 0)?),
        (libc::SYS_mremap, always()),
        (libc::SYS_munmap, always()),
        (libc::SYS_brk, always()),
        // Panics and aborts, which write to /dev/null.
        (libc::SYS_write, is(0, STDERR)?),
        (libc::SYS_futex, always()),
        (libc::SYS_rt_sigprocmask, always()),
        (libc::SYS_gettid, always()),
        (libc::SYS_getpid, always()),
        (libc::SYS_tgkill, is(0, std::process::id().into())?),
        (libc::SYS_tkill, is(0, std::process::id().into())?),
    ];
    let arch = std::env::consts::ARCH.try_into()?;
    let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
    let rules = rules.into_iter().map(|(number, rules)| (long(number), rules)).collect();
    SeccompFilter::new(rules, kill, allow, arch)?.try_into()
}

/// Some machines have shorter numbers.
fn long(number: impl Into<i64>) -> i64 {
    number.into()
}
