//! A sandbox that refuses system calls, as containers and old kernels do.

#![expect(unsafe_code, reason = "a filter is installed by prctl, which takes pointers")]

use std::io;

use crate::cases::skip;

/// What newer kernels have and sandboxes refuse; every crate must do without.
pub const NEWER: [libc::c_long; 4] =
    [libc::SYS_pidfd_open, libc::SYS_clone3, libc::SYS_close_range, libc::SYS_unshare];

/// Answers these system calls with `errno` from now on, in this thread and its children
/// (seccomp(2)). Where the kernel has no filters the case is skipped aloud.
pub fn refuse(calls: &[libc::c_long], errno: i32) {
    if let Err(error) = install(calls, errno) {
        skip(&format!("seccomp filters: {error}"), "a kernel with CONFIG_SECCOMP_FILTER");
    }
}

fn install(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let (load, equal, answer) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    // The call's number stands first in the filter's input.
    let mut program = vec![statement(load, 0)];
    for (index, &call) in calls.iter().enumerate() {
        // To the last statement: over the comparisons that are left and the permission.
        let over = u8::try_from(calls.len() - index).expect("few calls");
        let number = u32::try_from(call).expect("calls are numbered from 0");
        program.push(libc::sock_filter { jt: over, ..statement(equal, number) });
    }
    let errno = u32::try_from(errno).expect("errors are positive");
    program.push(statement(answer, libc::SECCOMP_RET_ALLOW));
    program.push(statement(answer, libc::SECCOMP_RET_ERRNO | errno));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("few statements"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no pointer is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the filter, which lives beyond the call.
    check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) })
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("codes are short"), jt: 0, jf: 0, k }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
