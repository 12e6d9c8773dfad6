//! One datagram, and who sent it by the kernel's own word (`SO_PASSCRED`, unix(7)).
//!
//! Not by rustix, whose process numbers are never zero: one that this pid namespace does not show
//! is.

#![expect(unsafe_code, reason = "recvmsg writes through pointers")]

use core::ffi::c_void;

use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::io::{Errno, IoSliceMut};
use rustix::net::RecvFlags;
use syscalls::{Sysno, syscall};

/// What stands before a control message's data: its length, level and type.
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

/// Takes the next datagram, without waiting. Returns its whole length, also where that is more
/// than the buffer holds, and the sender's pid, uid and gid. A process that this pid namespace
/// does not show has the pid 0.
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
    // SAFETY: the message and all that it points to are borrowed mutably for the call, and the
    // lengths are theirs.
    let len = unsafe { syscall!(Sysno::recvmsg, fd.as_raw_fd(), &raw mut message, flags) }
        .map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
    // The kernel does not stay silent once it was asked. If it did, this would be no process and
    // no user.
    let is_known = control.kind == CREDENTIALS;
    Ok((len, if is_known { control.ids } else { [0, u32::MAX, u32::MAX] }))
}
