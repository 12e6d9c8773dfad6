//! Receives one datagram, with its sender as reported by the kernel (`SO_PASSCRED`, unix(7)).
//!
//! Without rustix, whose pids are never zero. The pid is zero if this pid namespace does not
//! contain the process.

#![expect(unsafe_code, reason = "recvmsg writes through pointers")]

use core::ffi::c_void;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::RecvFlags;
use syscalls::{Sysno, syscall};

/// The header of a control message: length, level and type.
const HEADER: usize = (size_of::<usize>() + 2 * 4).next_multiple_of(size_of::<usize>());
/// `SOL_SOCKET` and `SCM_CREDENTIALS`.
const CREDENTIALS: [i32; 2] = [1, 2];

/// Room for the credentials, which the kernel puts first, and for nothing else: it drops
/// descriptors that a client sends.
#[repr(C)]
struct Control {
    len: usize,
    kind: [i32; 2],
    /// pid, uid and gid.
    ids: [u32; 3],
}

const _: () = assert!(core::mem::offset_of!(Control, ids) == HEADER);

/// The kernel's `struct user_msghdr`.
#[repr(C)]
struct Message<'a, 'b> {
    name: *const c_void,
    name_len: u32,
    slices: &'a mut IoSliceMut<'b>,
    slice_count: usize,
    control: &'a mut Control,
    control_len: usize,
    flags: u32,
}

/// Receives the next datagram, without blocking. Returns its whole length, which may exceed the
/// buffer, and the sender's pid, uid and gid. The pid is 0 for a process that this pid namespace
/// does not contain.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, [u32; 3]), Errno> {
    let mut control = Control { len: 0, kind: [0; 2], ids: [0; 3] };
    let mut message = Message {
        name: core::ptr::null(),
        name_len: 0,
        slices: &mut IoSliceMut::new(buffer),
        slice_count: 1,
        control: &mut control,
        control_len: HEADER + size_of::<[u32; 3]>(),
        flags: 0,
    };
    let flags = (RecvFlags::DONTWAIT | RecvFlags::TRUNC | RecvFlags::CMSG_CLOEXEC).bits();
    // SAFETY: the message and everything that it points to are borrowed mutably for the call, and
    // have these lengths.
    let len = unsafe { syscall!(Sysno::recvmsg, fd.as_raw_fd(), &raw mut message, flags) }
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
    // The kernel always sends credentials once they were requested. If it did not, report no
    // process and no user.
    let is_known = control.kind == CREDENTIALS;
    Ok((len, if is_known { control.ids } else { [0, u32::MAX, u32::MAX] }))
}
