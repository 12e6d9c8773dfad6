//! A sandbox that refuses system calls, as containers do, or lacks them, as old kernels do.

#![expect(unsafe_code, reason = "a filter is installed by prctl, which takes pointers")]

use std::io;

use syscalls::Sysno;

use crate::cases::skip;
use crate::numbers;

/// Calls of newer kernels that sandboxes refuse; every crate must work without them.
pub const NEWER: [libc::c_long; 4] =
    [libc::SYS_pidfd_open, libc::SYS_clone3, libc::SYS_close_range, libc::SYS_unshare];

/// Fails these system calls with `errno` from now on, in this thread and its children (seccomp(2)).
/// Prints why and skips the case if the kernel has no filters.
pub fn refuse(calls: &[libc::c_long], errno: i32) {
    install_or_skip(&rules(calls, with(errno)));
}

/// Makes the kernel look like Linux 3.17, the oldest that DESIGN.md supports. Later calls fail, as
/// do later flags and options, if the crates, rustix or a C library may try them and a filter can
/// see them.
pub fn be_linux_3_17() {
    install_or_skip(&linux_3_17());
}

fn linux_3_17() -> [Rule; 13] {
    use libc::{BPF_JEQ as EQUAL, BPF_JGE as FROM, BPF_JSET as ANY_OF};
    let invalid = |tests| Rule(tests, with(libc::EINVAL));
    let option = |call| {
        let socket = libc::SOL_SOCKET.unsigned_abs();
        let tests = vec![is(call), argument(1, EQUAL, socket), argument(2, FROM, SO_INCOMING_CPU)];
        Rule(tests, with(libc::ENOPROTOOPT))
    };
    let seals = libc::F_ADD_SEALS.unsigned_abs();
    [
        // glibc aborts if the first thread could register rseq and a later one cannot.
        Rule(vec![is(Sysno::rseq.id().into())], libc::SECCOMP_RET_ALLOW),
        Rule(vec![Test(0, FROM, number(FIRST_NEWER))], with(libc::ENOSYS)),
        option(libc::SYS_getsockopt),
        option(libc::SYS_setsockopt),
        // Beyond CLOEXEC and ALLOW_SEALING; beyond four seals, and F_GET_SEALS.
        invalid(vec![is(libc::SYS_memfd_create), argument(1, ANY_OF, !3)]),
        invalid(vec![is(libc::SYS_fcntl), argument(1, EQUAL, seals), argument(2, ANY_OF, !15)]),
        invalid(vec![is(libc::SYS_fcntl), argument(1, FROM, seals + 2)]),
        // Beyond NOREPLACE and EXCHANGE.
        invalid(vec![is(libc::SYS_renameat2), argument(4, ANY_OF, !3)]),
        invalid(vec![is(libc::SYS_waitid), argument(0, EQUAL, libc::P_PIDFD)]),
        // Beyond PR_GET_THP_DISABLE.
        invalid(vec![is(libc::SYS_prctl), argument(0, FROM, 43)]),
        // Cgroups and time.
        invalid(vec![is(libc::SYS_unshare), argument(0, ANY_OF, 0x0200_0080)]),
        // Beyond NONBLOCK and RANDOM.
        invalid(vec![is(libc::SYS_getrandom), argument(2, ANY_OF, !3)]),
        invalid(vec![is(libc::SYS_madvise), argument(2, EQUAL, libc::MADV_FREE.unsigned_abs())]),
    ]
}

/// The first call of 3.18; on every machine all later calls have higher numbers, including the
/// calls with 64-bit times on 32-bit machines.
#[cfg(not(target_arch = "x86"))]
const FIRST_NEWER: libc::c_long = libc::SYS_bpf;
/// Here the crates need 4.3, which added sendmsg(2); this is the first call of 4.4.
#[cfg(target_arch = "x86")]
const FIRST_NEWER: libc::c_long = libc::SYS_mlock2;

/// The first option of 3.19; all later options have higher numbers.
const SO_INCOMING_CPU: u32 = 49;

fn install_or_skip(rules: &[Rule]) {
    if let Err(error) = install(rules) {
        skip(&format!("seccomp filters: {error}"), "a kernel with CONFIG_SECCOMP_FILTER");
    }
}

/// The filter's result that fails a call with `errno`.
fn with(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno.unsigned_abs()
}

/// Fails the first `times` uses of a system call with `errno` and permits later ones, in this
/// process and its children (seccomp_unotify(2), Linux 5.5). A child of this process answers them
/// until the case ends.
pub fn refuse_at_first(call: libc::c_long, errno: i32, times: usize) {
    let listener = match listen(call) {
        Ok(listener) => listener,
        Err(error) => {
            skip(&format!("seccomp notifications: {error}"), "a kernel from 5.5 on with them")
        }
    };
    // SAFETY: this process has one thread, so the child may call anything.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            supervise(listener, errno, times);
            ipc_barrier::exit(0);
        }
        _ => {}
    }
    // SAFETY: this process owns it; the child has a copy.
    unsafe { libc::close(listener) };
}

/// Never answers a system call from now on: a child that makes it hangs until it is killed
/// (seccomp_unotify(2), Linux 5.0). The listener stays open until this process ends.
pub fn silent(call: libc::c_long) -> io::Result<()> {
    listen(call).map(|_kept_open| ())
}

fn supervise(listener: libc::c_int, errno: i32, times: usize) {
    let receive = libc::_IOWR::<libc::seccomp_notif>(b'!'.into(), 0);
    let send = libc::_IOWR::<libc::seccomp_notif_resp>(b'!'.into(), 1);
    for count in 0.. {
        // SAFETY: all zeroes is a valid value, and the kernel requires it.
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
    let mut program = program(&rules(&[call], libc::SECCOMP_RET_USER_NOTIF));
    let filter = filter(&mut program);
    // SAFETY: no pointer is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let (seccomp, mode) = (libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER);
    // SAFETY: the kernel copies the filter, which outlives the call.
    let listener = unsafe { libc::syscall(seccomp, mode, flags, &raw const filter) };
    i32::try_from(listener).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)
}

fn install(rules: &[Rule]) -> io::Result<()> {
    let mut program = program(rules);
    let filter = filter(&mut program);
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the kernel copies the filter, which outlives the call.
    let install = || check(unsafe { libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter) });
    // As root this succeeds without no_new_privs.
    install().or_else(|_| {
        // SAFETY: no pointer is passed.
        check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
        install()
    })
}

/// Returns the answer of the first rule whose tests all hold, and permits every other call.
fn program(rules: &[Rule]) -> Vec<libc::sock_filter> {
    let (load, jump, give) = (
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        libc::BPF_JMP | libc::BPF_K,
        libc::BPF_RET | libc::BPF_K,
    );
    let mut program = Vec::new();
    for Rule(tests, answer) in rules {
        for (left, Test(at, kind, value)) in (0..tests.len()).rev().zip(tests) {
            // If the test fails, jump over the remaining tests and the answer.
            let over = u8::try_from(2 * left + 1).expect("few tests");
            program.push(statement(load, *at));
            program.push(libc::sock_filter { jf: over, ..statement(jump | kind, *value) });
        }
        program.push(statement(give, *answer));
    }
    program.push(statement(give, libc::SECCOMP_RET_ALLOW));
    program
}

/// Tests of a call, and the answer if all of them hold.
struct Rule(Vec<Test>, u32);

/// Compares a word of the filter's input: its offset, a BPF comparison, the value.
struct Test(u32, u32, u32);

/// Returns rules that give these calls the answer, also under their other numbers.
fn rules(calls: &[libc::c_long], answer: u32) -> Vec<Rule> {
    let named = numbers::of(calls).map(|call| vec![is(call)]);
    let of_sockets = numbers::SOCKETCALL.into_iter().flat_map(|call| {
        let asked = numbers::of_sockets(calls);
        asked.map(move |asked| vec![is(call), argument(0, libc::BPF_JEQ, asked)])
    });
    named.chain(of_sockets).map(|tests| Rule(tests, answer)).collect()
}

/// Tests the call's number, the first word of the filter's input.
fn is(call: libc::c_long) -> Test {
    Test(0, libc::BPF_JEQ, number(call))
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("calls are numbered from 0")
}

/// Tests the low half of an argument.
fn argument(index: usize, kind: u32, value: u32) -> Test {
    let half = if cfg!(target_endian = "big") { 4 } else { 0 };
    let at = std::mem::offset_of!(libc::seccomp_data, args) + 8 * index + half;
    Test(u32::try_from(at).expect("a short record"), kind, value)
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::fs::{CWD, MemfdFlags, RenameFlags, memfd_create, renameat_with};
    use rustix::io::Errno;
    use rustix::net::sockopt::{set_socket_keepalive, socket_cookie};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    #[test]
    fn linux_3_17_knows_only_what_it_had() {
        // Only this new thread gets the filter.
        std::thread::spawn(look_at_linux_3_17).join().unwrap();
    }

    fn look_at_linux_3_17() {
        if let Err(error) = super::install(&super::linux_3_17()) {
            println!("skipped: seccomp filters: {error} (install with: CONFIG_SECCOMP_FILTER)");
            return;
        }
        assert_eq!(pidfd_open(getpid(), PidfdFlags::empty()).err(), Some(Errno::NOSYS));
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        assert!(memfd_create("old", flags).is_ok());
        let newer = memfd_create("new", flags | MemfdFlags::NOEXEC_SEAL);
        assert_eq!(newer.err(), Some(Errno::INVAL));
        let socket = UnixDatagram::unbound().unwrap();
        assert_eq!(set_socket_keepalive(&socket, true), Ok(()));
        // x86 passes the option behind a pointer (socketcall(2)), out of a filter's sight.
        let is_seen = cfg!(not(target_arch = "x86"));
        assert!(!is_seen || socket_cookie(&socket) == Err(Errno::NOPROTOOPT));
        let rename = |flags| renameat_with(CWD, "/none", CWD, "/none-either", flags);
        assert_eq!(rename(RenameFlags::NOREPLACE), Err(Errno::NOENT));
        assert_eq!(rename(RenameFlags::WHITEOUT), Err(Errno::INVAL));
    }
}
