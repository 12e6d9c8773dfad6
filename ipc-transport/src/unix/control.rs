//! Control messages of received bytes (cmsg(3)): room for as many descriptors as are expected.

#![expect(unsafe_code, reason = "descriptors arrive as numbers")]

use core::mem::{ManuallyDrop, MaybeUninit};

use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::net::RecvAncillaryBuffer;

use crate::unix::options::SOL_SOCKET;

pub(super) const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;

const SCM_RIGHTS: i32 = 1;
/// Kernel 6.5. These crates never ask for one, but another process with the same socket may.
const SCM_PIDFD: i32 = 4;

const WORD: usize = size_of::<usize>();
const NUMBER: usize = size_of::<RawFd>();
/// A length, a level and a type.
const HEADER: usize = (WORD + 2 * NUMBER).next_multiple_of(WORD);
const LEN: usize = HEADER + MAX_FDS * NUMBER;

/// Room for the control messages of one call.
#[repr(C)]
pub(super) struct ControlSpace {
    /// For the alignment.
    words: [usize; 0],
    bytes: [MaybeUninit<u8>; LEN],
    /// How many bytes were offered to the kernel. These are initialised.
    len: usize,
}

impl ControlSpace {
    pub(super) const fn new() -> Self {
        Self { words: [], bytes: [MaybeUninit::uninit(); LEN], len: 0 }
    }

    /// Offers room for exactly `room` descriptors (`CMSG_LEN`). Padded room would let the kernel
    /// install one more. What arrives is taken by [`arrived`](Self::arrived).
    pub(super) fn control(&mut self, room: usize) -> ManuallyDrop<RecvAncillaryBuffer<'_>> {
        self.len = match room {
            0 => 0,
            room => HEADER + room.min(MAX_FDS) * NUMBER,
        };
        let bytes = self.bytes.get_mut(..self.len).unwrap_or_default();
        bytes.fill(MaybeUninit::new(0));
        ManuallyDrop::new(RecvAncillaryBuffer::new(bytes))
    }

    /// Takes the descriptors that have arrived. Those of other control messages are closed.
    pub(super) fn arrived(&mut self) -> impl Iterator<Item = OwnedFd> {
        let bytes = self.bytes.get_mut(..self.len).unwrap_or_default();
        self.len = 0;
        // SAFETY: `control` has initialised these bytes, and the kernel only writes to them.
        let bytes = unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) };
        Messages { rest: bytes }.flat_map(|(kind, numbers)| {
            let numbers = numbers.chunks_exact(NUMBER).filter_map(|chunk| chunk.first_chunk());
            // A pidfd that could not be made is an error number below zero.
            let open = numbers.map(|number| RawFd::from_ne_bytes(*number)).filter(|fd| *fd >= 0);
            open.filter_map(move |number| {
                // SAFETY: the kernel has just opened this descriptor for the call, and `len` is
                // zero now, so that it is taken once.
                let fd = unsafe { OwnedFd::from_raw_fd(number) };
                (kind == SCM_RIGHTS).then_some(fd)
            })
        })
    }
}

/// The control messages that hold descriptors: their types and data.
struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = (i32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // The end, or zeros where the kernel has written nothing.
            let len = usize::from_ne_bytes(*self.rest.first_chunk()?);
            let message = self.rest.get(..len).filter(|message| message.len() >= HEADER)?;
            self.rest = self.rest.get(len.next_multiple_of(WORD)..).unwrap_or_default();
            let level = i32::from_ne_bytes(*message.get(WORD..)?.first_chunk()?);
            let kind = i32::from_ne_bytes(*message.get(WORD + NUMBER..)?.first_chunk()?);
            if level == SOL_SOCKET && matches!(kind, SCM_RIGHTS | SCM_PIDFD) {
                return Some((kind, message.get(HEADER..)?));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn message(len: usize, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend(SOL_SOCKET.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(WORD), 0);
        bytes
    }

    /// The kernel installs what fits, into padding too.
    #[test]
    fn the_room_is_for_exactly_as_many_as_are_expected() {
        let mut space = ControlSpace::new();
        for (room, len) in [(0, 0), (1, HEADER + 4), (2, HEADER + 8), (253, LEN), (999, LEN)] {
            _ = space.control(room);
            assert_eq!(space.len, len);
        }
        assert_eq!(space.arrived().count(), 0, "nothing was received");
    }

    #[test]
    fn messages_end_at_zeros_and_at_lengths_that_do_not_fit() {
        let found = |bytes: &[u8]| -> Vec<(i32, Vec<u8>)> {
            Messages { rest: bytes }.map(|(kind, data)| (kind, data.to_vec())).collect()
        };
        let rights = message(HEADER + 4, SCM_RIGHTS, &[1, 2, 3, 4]);
        let credentials = message(HEADER + 12, 2, &[9; 12]);
        let all = [&credentials[..], &rights, &[0; 64]].concat();
        assert_eq!(found(&all), [(SCM_RIGHTS, std::vec![1, 2, 3, 4])]);
        for len in [0, 1, HEADER - 1, HEADER + 5, usize::MAX, usize::MAX - 7] {
            assert_eq!(found(&message(len, SCM_RIGHTS, &[1, 2, 3, 4])[..HEADER + 4]), []);
        }
        assert_eq!(found(&rights[..HEADER - 1]), []);
    }
}
