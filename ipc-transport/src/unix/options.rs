//! Socket options that rustix lacks or decodes differently (socket(7), unix(7)).

#![expect(unsafe_code, reason = "socket options are read and written through pointers")]

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

// These are the numbers of the generic headers, and of arm and x86. mips, powerpc and sparc have
// others, and stable Rust cannot make their system calls. With 32-bit pointers on a 64-bit machine
// (x32, ilp32), the kernel expects other structs.
const _: () = {
    let has_64_bits = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"))
        || cfg!(any(target_arch = "riscv64", target_arch = "loongarch64", target_arch = "s390x"));
    let has_32_bits = cfg!(any(target_arch = "x86", target_arch = "arm", target_arch = "riscv32"));
    assert!(
        if size_of::<usize>() == 8 { has_64_bits } else { has_32_bits },
        "this architecture is not supported: its socket options have other numbers"
    );
};

pub(super) const SOL_SOCKET: i32 = 1;
const SO_PASSCRED: usize = 16;
pub(super) const SO_PEERCRED: usize = 17;
const SO_PASSSEC: usize = 34;
const SO_PASSPIDFD: usize = 76;
pub(super) const SO_PEERPIDFD: usize = 77;
const SO_PASSRIGHTS: usize = 83;

/// Switches off the options that add control messages to received data, since these would use the
/// space for descriptors. Errors are ignored: kernels that lack an option never add its message.
pub(super) fn switch_off_extras(fd: BorrowedFd<'_>) {
    for name in [SO_PASSCRED, SO_PASSSEC, SO_PASSPIDFD] {
        switch(fd, name, false);
    }
}

/// Accepts or refuses descriptors, if the kernel offers the choice.
pub(super) fn pass_rights(fd: BorrowedFd<'_>, is_on: bool) {
    switch(fd, SO_PASSRIGHTS, is_on);
}

fn switch(fd: BorrowedFd<'_>, name: usize, is_on: bool) {
    let (value, len) = (i32::from(is_on), size_of::<i32>());
    // SAFETY: the kernel reads the four bytes at the pointer, which are those of `value`.
    _ = unsafe {
        syscall!(Sysno::setsockopt, fd.as_raw_fd(), SOL_SOCKET, name, &raw const value, len)
    };
}

/// Reads an option of `N` words.
pub(super) fn option<const N: usize>(fd: BorrowedFd<'_>, name: usize) -> Result<[u32; N], Errno> {
    let mut words = [0_u32; N];
    let expected = u32::try_from(size_of_val(&words)).map_err(|_| Errno::INVAL)?;
    let mut len = expected;
    let value = &raw mut words;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which has room for them, and the
    // length back to `len`.
    unsafe { syscall!(Sysno::getsockopt, fd.as_raw_fd(), SOL_SOCKET, name, value, &raw mut len) }
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
    if len == expected { Ok(words) } else { Err(Errno::INVAL) }
}
