//! System calls whose numbers on 32-bit machines differ from what their names suggest.

use libc::{
    SYS_accept4, SYS_connect, SYS_getpeername, SYS_getsockopt, SYS_listen, SYS_recvfrom,
    SYS_recvmsg, SYS_sendmsg, SYS_sendto, SYS_setsockopt, SYS_shutdown, SYS_socketpair, c_long,
};

/// The calls that replace older ones with short ids.
#[cfg(any(target_arch = "arm", target_arch = "x86"))]
const NEWER: &[(c_long, c_long)] = &[
    (libc::SYS_setgroups, libc::SYS_setgroups32),
    (libc::SYS_setresgid, libc::SYS_setresgid32),
    (libc::SYS_setresuid, libc::SYS_setresuid32),
];
#[cfg(not(any(target_arch = "arm", target_arch = "x86")))]
const NEWER: &[(c_long, c_long)] = &[];

/// `socketcall`, which rustix uses for socket calls on 32-bit x86.
#[cfg(target_arch = "x86")]
pub(crate) const SOCKETCALL: Option<c_long> = Some(libc::SYS_socketcall);
#[cfg(not(target_arch = "x86"))]
pub(crate) const SOCKETCALL: Option<c_long> = None;

/// Its first argument for each socket call (linux/net.h).
const OF_SOCKETS: &[(c_long, u32)] = &[
    (SYS_connect, 3),
    (SYS_listen, 4),
    (SYS_getpeername, 7),
    (SYS_socketpair, 8),
    (SYS_sendto, 9),
    (SYS_recvfrom, 10),
    (SYS_sendto, 11),
    (SYS_recvfrom, 12),
    (SYS_shutdown, 13),
    (SYS_setsockopt, 14),
    (SYS_getsockopt, 15),
    (SYS_sendmsg, 16),
    (SYS_recvmsg, 17),
    (SYS_accept4, 18),
];

/// Returns the numbers of these calls and of their replacements.
pub(crate) fn of(calls: &[c_long]) -> impl Iterator<Item = c_long> {
    let newer = NEWER.iter().filter(|(call, _)| calls.contains(call)).map(|(_, newer)| newer);
    calls.iter().chain(newer).copied()
}

/// Returns the first arguments of `socketcall` for these calls.
pub(crate) fn of_sockets(calls: &[c_long]) -> impl Iterator<Item = u32> {
    OF_SOCKETS.iter().filter(|(call, _)| calls.contains(call)).map(|&(_, asked)| asked)
}

/// Returns the call meant by a number and its first argument.
pub(crate) fn meant(number: c_long, argument: u64) -> c_long {
    if SOCKETCALL == Some(number) {
        let found = OF_SOCKETS.iter().find(|&&(_, asked)| u64::from(asked) == argument);
        return found.map_or(number, |&(call, _)| call);
    }
    NEWER.iter().find(|&&(_, newer)| newer == number).map_or(number, |&(call, _)| call)
}
