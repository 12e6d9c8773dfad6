//! Socket options that rustix lacks, or reads as something else (socket(7), unix(7)).

#![expect(unsafe_code, reason = "socket options are read and written through pointers")]

use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_passcred;
use syscalls::{Sysno, syscall};

const MIPS: bool = cfg!(any(
    target_arch = "mips",
    target_arch = "mips32r6",
    target_arch = "mips64",
    target_arch = "mips64r6"
));
const SPARC: bool = cfg!(any(target_arch = "sparc", target_arch = "sparc64"));
const POWERPC: bool = cfg!(any(target_arch = "powerpc", target_arch = "powerpc64"));

pub(super) const SOL_SOCKET: i32 = if MIPS || SPARC { 0xffff } else { 1 };
pub(super) const SO_PEERPIDFD: usize = if SPARC { 0x56 } else { 77 };
pub(super) const SO_PEERCRED: usize = match (MIPS, SPARC, POWERPC) {
    (true, _, _) => 18,
    (_, true, _) => 0x40,
    (_, _, true) => 21,
    _ => 17,
};
const SO_PASSSEC: usize = if SPARC { 0x1f } else { 34 };
const SO_PASSPIDFD: usize = if SPARC { 0x55 } else { 76 };

/// Switches off the options that add control messages to what is received: they would take the
/// room of descriptors. Kernels that lack an option have nothing to switch off.
pub(super) fn switch_off_extras(fd: BorrowedFd<'_>) {
    _ = set_socket_passcred(fd, false);
    for name in [SO_PASSSEC, SO_PASSPIDFD] {
        let (off, len) = (0_i32, size_of::<i32>());
        // SAFETY: the kernel reads the four bytes at the pointer, which are those of `off`.
        _ = unsafe {
            syscall!(Sysno::setsockopt, fd.as_raw_fd(), SOL_SOCKET, name, &raw const off, len)
        };
    }
}

/// Reads an option that consists of `N` words.
pub(super) fn option<const N: usize>(fd: BorrowedFd<'_>, name: usize) -> Result<[u32; N], Errno> {
    let mut words = MaybeUninit::new([0_u32; N]);
    let mut len: u32 = const {
        assert!(N < 16);
        #[expect(clippy::cast_possible_truncation, reason = "less than 64")]
        let len = size_of::<[u32; N]>() as u32;
        len
    };
    let (value, expected) = (words.as_mut_ptr(), len);
    // SAFETY: the kernel writes at most `len` bytes to `value`, which has room for them, and the
    // length back to `len`.
    unsafe { syscall!(Sysno::getsockopt, fd.as_raw_fd(), SOL_SOCKET, name, value, &raw mut len) }
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
    if len != expected {
        return Err(Errno::INVAL);
    }
    // SAFETY: all words were set before the call.
    Ok(unsafe { words.assume_init() })
}
