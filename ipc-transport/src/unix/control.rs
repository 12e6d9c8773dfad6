//! Control messages of received bytes (cmsg(3)): room for as many descriptors as are expected.

#![expect(unsafe_code, reason = "descriptors arrive as numbers")]

use core::mem::{ManuallyDrop, MaybeUninit};

use rustix::fd::{FromRawFd, OwnedFd, RawFd};
use rustix::net::RecvAncillaryBuffer;

use crate::unix::options::SOL_SOCKET;

pub(super) const MAX_FDS: usize = ipc_frame::MAX_FDS as usize;

const SCM_RIGHTS: i32 = 1;
/// Kernel 6.5. Nobody here asks for one, but another process with the same socket may.
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
