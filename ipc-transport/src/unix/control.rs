//! Control messages that carry descriptors (cmsg(3)).
//!
//! rustix is not used for them: it also handles addresses and adds 1 KB of code.

#![expect(unsafe_code, reason = "descriptors arrive as numbers, and messages are pointers")]

use core::ffi::c_void;
use core::mem::MaybeUninit;

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{RecvFlags, SendFlags};
use syscalls::{Sysno, syscall};

use crate::contract::{MAX_FDS, Received};
use crate::unix::options::SOL_SOCKET;

/// `SCM_RIGHTS`.
const RIGHTS: (i32, i32) = (SOL_SOCKET, 1);
/// `SCM_PIDFD`, kernel 6.5. These crates never request one, but another process that shares the
/// socket may.
const PIDFD: (i32, i32) = (SOL_SOCKET, 4);

const WORD: usize = size_of::<usize>();
const NUMBER: usize = size_of::<RawFd>();
/// A length, a level and a type.
const HEADER: usize = (WORD + 2 * NUMBER).next_multiple_of(WORD);
const LEN: usize = HEADER + MAX_FDS * NUMBER;

/// `MSG_CTRUNC`.
const CTRUNC: u32 = 8;

/// The kernel's `struct user_msghdr`.
#[repr(C)]
struct Message {
    name: *const c_void,
    name_len: u32,
    slices: *const c_void,
    slice_count: usize,
    control: *mut c_void,
    control_len: usize,
    flags: u32,
}

/// Room for the control messages of one call.
#[repr(C)]
pub(super) struct ControlSpace {
    /// For the alignment.
    words: [usize; 0],
    bytes: [MaybeUninit<u8>; LEN],
    /// How many bytes are offered to the kernel. They are initialised.
    len: usize,
}

impl ControlSpace {
    pub(super) const fn new() -> Self {
        Self { words: [], bytes: [MaybeUninit::uninit(); LEN], len: 0 }
    }

    /// Offers room for exactly `room` descriptors (`CMSG_LEN`). With padding the kernel could
    /// install one more. Take them with [`arrived`](Self::arrived).
    pub(super) fn offer(&mut self, room: usize) -> &mut [u8] {
        self.len = match room {
            0 => 0,
            room => HEADER + room.min(MAX_FDS) * NUMBER,
        };
        let bytes = self.bytes.as_mut_ptr().cast::<u8>();
        // `fill` compiles to a loop over single bytes when optimizing for size. SAFETY: `len` is at
        // most `LEN`, the size of the buffer.
        unsafe { bytes.write_bytes(0, self.len) };
        // SAFETY: all of these bytes are zero now.
        unsafe { core::slice::from_raw_parts_mut(bytes, self.len) }
    }

    /// Adds the descriptors to send.
    pub(super) fn put(&mut self, fds: &[BorrowedFd<'_>]) {
        let bytes = self.offer(fds.len());
        let len = bytes.len();
        let Some((first, rest)) = bytes.split_first_chunk_mut() else { return };
        *first = len.to_ne_bytes();
        let fds = fds.iter().map(AsRawFd::as_raw_fd);
        let numbers = [RIGHTS.0, RIGHTS.1].into_iter().chain(fds);
        for (place, number) in rest.chunks_exact_mut(NUMBER).zip(numbers) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
    }

    /// Sends the slices and the added descriptors (sendmsg(2)).
    pub(super) fn send(
        &mut self,
        fd: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
        flags: SendFlags,
    ) -> Result<usize, Errno> {
        let slices = (slices.as_ptr().cast(), slices.len());
        // SAFETY: the kernel only reads the slices, which are borrowed for the call.
        unsafe { self.call(Sysno::sendmsg, fd, slices, flags.bits()) }.map(|sent| sent.len)
    }

    /// Receives bytes into the slices and descriptors into the offered room (recvmsg(2)).
    pub(super) fn receive(
        &mut self,
        fd: BorrowedFd<'_>,
        slices: &mut [IoSliceMut<'_>],
        flags: RecvFlags,
    ) -> Result<Received, Errno> {
        let slices = (slices.as_ptr().cast(), slices.len());
        // SAFETY: the kernel writes to the slices, which are borrowed for that.
        unsafe { self.call(Sysno::recvmsg, fd, slices, flags.bits()) }
    }

    /// # Safety
    /// The call may read or write the slices.
    unsafe fn call(
        &mut self,
        call: Sysno,
        fd: BorrowedFd<'_>,
        (slices, slice_count): (*const c_void, usize),
        flags: u32,
    ) -> Result<Received, Errno> {
        let (control, control_len) = (self.bytes.as_mut_ptr().cast(), self.len);
        let name = core::ptr::null();
        let mut message =
            Message { name, name_len: 0, slices, slice_count, control, control_len, flags: 0 };
        // SAFETY: the caller vouches for the slices; the control bytes are initialised and
        // borrowed, and the kernel writes at most `control_len` of them.
        let len = unsafe { syscall!(call, fd.as_raw_fd(), &raw mut message, flags) };
        let len = len.map_err(|error| Errno::from_raw_os_error(error.into_raw()))?;
        Ok(Received { len, fds_truncated: message.flags & CTRUNC != 0 })
    }

    /// Passes each received descriptor to `take`. Closes those of other control messages.
    pub(super) fn arrived(&mut self, mut take: impl FnMut(OwnedFd)) {
        let bytes = self.bytes.get_mut(..self.len).unwrap_or_default();
        self.len = 0;
        // SAFETY: `offer` has initialised these bytes, and the kernel only writes to them.
        let bytes = unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) };
        for (kind, numbers) in messages(bytes).filter(|(kind, _)| matches!(*kind, RIGHTS | PIDFD)) {
            let numbers = numbers.chunks_exact(NUMBER).filter_map(|chunk| chunk.first_chunk());
            let numbers = numbers.map(|bytes| RawFd::from_ne_bytes(*bytes));
            // If a pidfd could not be created, this is a negative error number.
            for number in numbers.filter(|number| *number >= 0) {
                // SAFETY: the kernel has just opened this descriptor for the call, and `len` is now
                // zero, so it is taken only once.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                if kind == RIGHTS {
                    take(fd);
                }
            }
        }
    }
}

/// Iterates over the control messages: level, type and data.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = ((i32, i32), &[u8])> {
    core::iter::from_fn(move || {
        // The end, or zeros that the kernel did not overwrite.
        let len = usize::from_ne_bytes(*rest.first_chunk()?);
        let message = rest.get(..len).filter(|message| message.len() >= HEADER)?;
        rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or_default();
        let level = i32::from_ne_bytes(*message.get(WORD..)?.first_chunk()?);
        let kind = i32::from_ne_bytes(*message.get(WORD + NUMBER..)?.first_chunk()?);
        Some(((level, kind), message.get(HEADER..)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn message(len: usize, (level, kind): (i32, i32), data: &[u8]) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(WORD), 0);
        bytes
    }

    /// The kernel uses padding, too, for descriptors that fit.
    #[test]
    fn the_room_is_for_exactly_as_many_as_are_expected() {
        let mut space = ControlSpace::new();
        for (room, len) in [(0, 0), (1, HEADER + 4), (2, HEADER + 8), (253, LEN), (999, LEN)] {
            _ = space.offer(room);
            assert_eq!(space.len, len);
        }
        space.arrived(|fd| panic!("nothing was received: {fd:?}"));
    }

    #[test]
    fn messages_end_at_zeros_and_at_lengths_that_do_not_fit() {
        let found = |bytes: &[u8]| -> Vec<((i32, i32), Vec<u8>)> {
            messages(bytes).map(|(kind, data)| (kind, data.to_vec())).collect()
        };
        let rights = message(HEADER + 4, RIGHTS, &[1, 2, 3, 4]);
        let credentials = message(HEADER + 12, (SOL_SOCKET, 2), &[9; 12]);
        let all = [&credentials[..], &rights, &[0; 64]].concat();
        let both = [((SOL_SOCKET, 2), std::vec![9; 12]), (RIGHTS, std::vec![1, 2, 3, 4])];
        assert_eq!(found(&all), both);
        for len in [0, 1, HEADER - 1, HEADER + 5, usize::MAX, usize::MAX - 7] {
            assert_eq!(found(&message(len, RIGHTS, &[1, 2, 3, 4])[..HEADER + 4]), []);
        }
        assert_eq!(found(&rights[..HEADER - 1]), []);
    }
}
