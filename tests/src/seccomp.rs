//! A sandbox that refuses system calls, as containers and old kernels do.

#![expect(unsafe_code, reason = "a filter is installed by prctl, which takes pointers")]

use std::io;

use crate::cases::skip;
use crate::numbers;

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

/// Answers the first so many of a system call with `errno`, and lets the others through, in this
/// process and its children (seccomp_unotify(2), kernel 5.5). A child of this process does the
/// answering, until the case ends.
pub fn refuse_at_first(call: libc::c_long, errno: i32, times: usize) {
    let listener = match listen(call) {
        Ok(listener) => listener,
        Err(error) => {
            skip(&format!("seccomp notifications: {error}"), "a kernel from 5.5 on with them")
        }
    };
    // SAFETY: this process has one thread, so that the child may do anything.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            supervise(listener, errno, times);
            ipc_barrier::exit(0);
        }
        _ => {}
    }
    // SAFETY: it is this process's own; the child has a copy.
    unsafe { libc::close(listener) };
}

/// Never answers a system call from now on, so that a child that makes it hangs until it is killed
/// (seccomp_unotify(2), kernel 5.0). The listener is kept open until this process ends.
pub fn silent(call: libc::c_long) -> io::Result<()> {
    listen(call).map(|_kept_open| ())
}

fn supervise(listener: libc::c_int, errno: i32, times: usize) {
    let receive = libc::_IOWR::<libc::seccomp_notif>(b'!'.into(), 0);
    let send = libc::_IOWR::<libc::seccomp_notif_resp>(b'!'.into(), 1);
    for count in 0.. {
        // SAFETY: all zeroes is a valid value, and what the kernel asks for.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes into the variable, whose size is part of the request.
        if unsafe { libc::ioctl(listener, receive, &raw mut asked) } != 0 {
            return;
        }
        let refused = count < times;
        let mut answer = libc::seccomp_notif_resp {
            id: asked.id,
            val: 0,
            error: if refused { -errno } else { 0 },
            flags: if refused { 0 } else { CONTINUE },
        };
        // SAFETY: the kernel only reads the variable.
        unsafe { libc::ioctl(listener, send, &raw mut answer) };
    }
}

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
const CONTINUE: u32 = 1;

fn listen(call: libc::c_long) -> io::Result<libc::c_int> {
    let mut program = program(&[call], libc::SECCOMP_RET_USER_NOTIF);
    let filter = filter(&mut program);
    // SAFETY: no pointer is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let (seccomp, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel copies the filter, which lives beyond the call.
    let listener = unsafe { libc::syscall(seccomp, mode, flags, &raw const filter) };
    i32::try_from(listener).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)
}

fn install(calls: &[libc::c_long], errno: i32) -> io::Result<()> {
    let errno = u32::try_from(errno).expect("errors are positive");
    let mut program = program(calls, libc::SECCOMP_RET_ERRNO | errno);
    let filter = filter(&mut program);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the filter, which lives beyond the call.
    let install = || check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) });
    // Root's children are left as they are.
    install().or_else(|_| {
        // SAFETY: no pointer is passed.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        install()
    })
}

/// Gives the answer for these calls and permits all others.
fn program(calls: &[libc::c_long], answer: u32) -> Vec<libc::sock_filter> {
    let (load, equal, give) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let number = |call| u32::try_from(call).expect("calls are numbered from 0");
    let is = |number: u32| statement(equal, number);
    // The call's number stands first in the filter's input, and its first argument at 16.
    let mut program = vec![statement(load, 0)];
    program.extend(numbers::of(calls).map(number).map(is));
    let asked: Vec<u32> = numbers::of_sockets(calls).collect();
    if let Some(call) = numbers::SOCKETCALL.filter(|_| !asked.is_empty()) {
        let over = jump(asked.len() + 1);
        program.push(libc::sock_filter { jf: over, ..is(number(call)) });
        program.push(statement(load, 16));
        program.extend(asked.into_iter().map(is));
    }
    program.push(statement(give, libc::SECCOMP_RET_ALLOW));
    // From what was asked for to the last statement.
    let len = program.len();
    for (index, statement) in program.iter_mut().enumerate() {
        if u32::from(statement.code) == equal && statement.jf == 0 {
            statement.jt = jump(len - 1 - index);
        }
    }
    program.push(statement(give, answer));
    program
}

fn jump(over: usize) -> u8 {
    u8::try_from(over).expect("few calls")
}

fn filter(program: &mut [libc::sock_filter]) -> libc::sock_fprog {
    let len = u16::try_from(program.len()).expect("few statements");
    libc::sock_fprog { len, filter: program.as_mut_ptr() }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).expect("codes are short"), jt: 0, jf: 0, k }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
