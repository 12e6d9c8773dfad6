//! The errors of each system call, from its manual page.

use libc::*;

/// A call, its name, and its possible errors.
pub(crate) type Call = (c_long, &'static str, &'static [i32]);

/// Each call's own errors. Newer calls also have the errors with which a sandbox answers unknown or
/// forbidden calls.
///
/// `EFAULT` is in no list, since the crates pass no bad pointers. `EBADF` is not in the list of
/// close, since an owned descriptor is open. Calls like fcntl and setsockopt have only the errors
/// of the requests that the crates make.
pub(crate) const CALLS: &[Call] = &[
    (SYS_epoll_create1, "epoll_create1", &[EMFILE, ENFILE, ENOMEM, EINVAL, ENOSYS, EPERM]),
    (SYS_epoll_ctl, "epoll_ctl", &[ENOMEM, ENOSPC, EBADF, EEXIST, EINVAL, ELOOP, ENOENT, EPERM]),
    (SYS_ppoll, "ppoll", &[EINTR, EAGAIN, ENOMEM, EINVAL]),
    (SYS_socketpair, "socketpair", &[EMFILE, ENFILE, EAFNOSUPPORT, EOPNOTSUPP, EPROTONOSUPPORT]),
    (SYS_setsockopt, "setsockopt", &[EINVAL, ENOPROTOOPT, EDOM, EBADF, ENOTSOCK]),
    (SYS_getsockopt, "getsockopt", &[EINVAL, ENOPROTOOPT, EBADF, ENOTSOCK]),
    (SYS_getpeername, "getpeername", &[ENOBUFS, ENOTCONN, EINVAL, EBADF, ENOTSOCK]),
    (SYS_shutdown, "shutdown", &[ENOTCONN, EINVAL, EBADF, ENOTSOCK]),
    (SYS_sendto, "sendto", SEND),
    (SYS_sendmsg, "sendmsg", SEND),
    (SYS_recvfrom, "recvfrom", RECEIVE),
    (SYS_recvmsg, "recvmsg", RECEIVE),
    (SYS_ioctl, "ioctl", &[EINVAL, ENOTTY, EBADF]),
    (SYS_munmap, "munmap", &[EINVAL, ENOMEM]),
    (SYS_memfd_create, "memfd_create", &[EMFILE, ENFILE, ENOMEM, EINVAL, ENOSYS, EPERM]),
    (SYS_ftruncate, "ftruncate", &[EINTR, EFBIG, EIO, EPERM, EINVAL, EBADF]),
    (SYS_fstat, "fstat", &[ENOMEM, EOVERFLOW, EBADF]),
    (SYS_fcntl, "fcntl", &[EMFILE, EINVAL, EPERM, EBUSY]),
    (SYS_close, "close", &[EINTR, EIO, ENOSPC, EDQUOT]),
    (SYS_dup3, "dup3", &[EINTR, EBUSY, EMFILE, EINVAL, EBADF]),
    (SYS_read, "read", &[EINTR, EAGAIN, EIO, EISDIR, EINVAL, EBADF]),
    (SYS_readlinkat, "readlinkat", &[EACCES, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR]),
    (SYS_prctl, "prctl", &[EINVAL, EPERM, ENOSYS]),
    (SYS_pread64, "pread", &[EINTR, EAGAIN, EIO, EISDIR, EINVAL, EBADF, ESPIPE, ENXIO]),
    (SYS_unshare, "unshare", &[EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS, ENOSYS]),
    (SYS_clone, "clone", CLONE),
    (SYS_clone3, "clone3", CLONE),
    (SYS_execve, "execve", EXEC),
    (SYS_execveat, "execveat", EXEC),
    (SYS_pipe2, "pipe2", &[EMFILE, ENFILE, EINVAL]),
    (SYS_pidfd_open, "pidfd_open", &[ENOSYS, EMFILE, ENFILE, ENODEV, ENOMEM, ESRCH, EINVAL, EPERM]),
    (SYS_pidfd_send_signal, "pidfd_send_signal", &[EPERM, ESRCH, EINVAL, EBADF, ENOSYS]),
    (SYS_kill, "kill", &[EPERM, ESRCH, EINVAL]),
    (SYS_waitid, "waitid", &[EINTR, ECHILD, EAGAIN, EINVAL, ESRCH, EPERM, ENOSYS]),
    (SYS_wait4, "wait4", &[EINTR, ECHILD, EAGAIN, EINVAL, ESRCH]),
    (SYS_rt_sigaction, "rt_sigaction", &[EINVAL]),
    (SYS_rt_sigprocmask, "rt_sigprocmask", &[EINVAL]),
    (SYS_prlimit64, "prlimit64", &[EINVAL, EPERM, ESRCH]),
    (SYS_sched_getscheduler, "sched_getscheduler", &[EINVAL, ESRCH, EPERM]),
    (SYS_sched_setscheduler, "sched_setscheduler", &[EINVAL, ESRCH, EPERM]),
    (SYS_getpriority, "getpriority", &[EINVAL, ESRCH]),
    (SYS_setpriority, "setpriority", &[EACCES, EPERM, EINVAL, ESRCH]),
    (SYS_close_range, "close_range", &[EINVAL, EMFILE, ENOMEM, ENOSYS, EPERM]),
    (SYS_getdents64, "getdents64", &[EINVAL, ENOENT, ENOTDIR, EBADF]),
    (SYS_futex, "futex", &[EAGAIN, EINTR, ETIMEDOUT, EINVAL, EACCES, ENOMEM, ENOSYS, EPERM]),
    (SYS_write, "write", &[EINTR, EAGAIN, EIO, ENOSPC, EPIPE, EPERM, EINVAL]),
    (SYS_pwrite64, "pwrite", &[EINTR, EAGAIN, EIO, ENOSPC, EPERM, EINVAL, ESPIPE]),
];

/// Calls that newer machines do not have, or the 32-bit forms.
#[cfg(target_arch = "x86_64")]
const OLDER: &[Call] = &[
    (SYS_mmap, "mmap", &[ENOMEM, EAGAIN, ENFILE, EPERM, EACCES, ENODEV, EINVAL, EOVERFLOW]),
    (SYS_dup2, "dup2", &[EINTR, EBUSY, EMFILE, EINVAL, EBADF]),
    (
        SYS_open,
        "open",
        &[
            ENOENT,
            EACCES,
            EMFILE,
            ENFILE,
            EINTR,
            ENOMEM,
            ELOOP,
            ENOTDIR,
            ENXIO,
            ENODEV,
            EPERM,
            EROFS,
            ENAMETOOLONG,
        ],
    ),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[Call] = &[];

const SEND: &[i32] = &[
    EAGAIN,
    EINTR,
    ENOBUFS,
    ENOMEM,
    EPIPE,
    ECONNRESET,
    ETOOMANYREFS,
    EPERM,
    EACCES,
    EALREADY,
    EBADF,
    EDESTADDRREQ,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    ENOTSOCK,
    EOPNOTSUPP,
];

const RECEIVE: &[i32] =
    &[EAGAIN, EINTR, ENOMEM, ECONNRESET, ECONNREFUSED, EBADF, EINVAL, ENOTCONN, ENOTSOCK];

const EXEC: &[i32] = &[
    ENOENT,
    EACCES,
    ENOMEM,
    EAGAIN,
    E2BIG,
    EINVAL,
    EIO,
    EISDIR,
    ELIBBAD,
    ELOOP,
    EMFILE,
    ENAMETOOLONG,
    ENFILE,
    ENOEXEC,
    ENOTDIR,
    EPERM,
    ETXTBSY,
];

const CLONE: &[i32] = &[EAGAIN, ENOMEM, EINVAL, ENOSPC, EPERM, EUSERS, ENOSYS];

/// Calls that never fail or are not made by the crates, and why.
pub(crate) const LEFT_OUT: &[(c_long, &str)] = &[
    (SYS_getpid, "it always succeeds"),
    (SYS_getppid, "it always succeeds"),
    (SYS_gettid, "it always succeeds"),
    (SYS_exit_group, "it does not return"),
    (SYS_restart_syscall, "the kernel's own, to continue a wait"),
    (SYS_set_robust_list, "the C library's, in a forked child"),
    (SYS_openat, "the test handler's, to open its record"),
];

/// Returns the entry for a call.
pub(crate) fn of(number: c_long) -> Option<&'static Call> {
    let call = CALLS.iter().chain(OLDER).find(|(it, ..)| *it == number);
    assert!(
        call.is_some() || LEFT_OUT.iter().any(|(it, _)| *it == number),
        "call {number} is in no list"
    );
    call
}
