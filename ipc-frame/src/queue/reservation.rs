//! Room in a queue for a payload that is written in place, and why a frame is not taken.

use core::fmt;

use crate::header::{Header, MAX_FDS};
use crate::queue::frames::{Entry, FrameNumber, Frames};

/// Room in a queue for one frame. Dropping it appends nothing.
pub struct Reservation<'a, const BYTES: usize, const FRAMES: usize> {
    pub(super) bytes: &'a mut [u8; BYTES],
    pub(super) frames: &'a mut Frames<FRAMES>,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Reservation<'_, BYTES, FRAMES> {
    /// Returns the room for the payload.
    pub fn payload(&mut self) -> &mut [u8] {
        let start = self.start + Header::SIZE;
        self.bytes.get_mut(start..start + self.len).unwrap_or_default()
    }

    /// Appends the frame, with `fd_count` descriptors and with the first `len` bytes of the room
    /// as its payload. A `len` over the room counts as all of it.
    ///
    /// # Errors
    /// [`PushError::TooManyFds`]; nothing is appended then.
    pub fn commit(
        self,
        header: Header,
        fd_count: usize,
        len: usize,
    ) -> Result<FrameNumber, PushError> {
        let limit = if header.kind().may_have_fds() { MAX_FDS } else { 0 };
        let accepted = u16::try_from(fd_count).ok().filter(|&count| count <= limit);
        let fd_count = accepted.ok_or(PushError::TooManyFds { count: fd_count, limit })?;
        let len = len.min(self.len);
        let place = self.bytes.get_mut(self.start..).unwrap_or_default();
        if let Some(place) = place.first_chunk_mut() {
            // The queue's capacity fits in 31 bits, which its constructor checks.
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            header.of_new_frame(len, fd_count).encode_into(place);
        }
        let end = self.start + Header::SIZE + len;
        Ok(self.frames.push(Entry { start: self.start, end, fd_count, ..Entry::NONE }))
    }
}

/// Prints the state, not the bytes.
impl<const BYTES: usize, const FRAMES: usize> fmt::Debug for Reservation<'_, BYTES, FRAMES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A frame that was not appended. The queue is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The payload is longer than the queue's whole capacity.
    TooLong {
        /// Bytes of payload asked for.
        len: usize,
        /// Bytes of payload that fit in the empty queue.
        capacity: usize,
    },
    /// There is no room until frames are retired.
    Full,
    /// More descriptors than a frame of its kind carries.
    TooManyFds {
        /// The number asked for.
        count: usize,
        /// [`MAX_FDS`], or zero where the kind carries none.
        limit: u16,
    },
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "a payload of {len} bytes, over the queue's capacity of {capacity}")
            }
            Self::Full => f.write_str("the queue is full"),
            Self::TooManyFds { count, limit } => {
                write!(f, "a frame with {count} descriptors, over the limit of {limit}")
            }
        }
    }
}

impl core::error::Error for PushError {}
