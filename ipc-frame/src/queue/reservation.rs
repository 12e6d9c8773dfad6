//! Room in a queue for a payload that is written in place, and why a frame is not taken.

use core::fmt;

use crate::header::{Header, MAX_FDS};
use crate::kind::Kind;
use crate::queue::ring::Entry;
use crate::queue::{FrameNumber, Queue};

/// Room in a queue for one frame. Dropping it appends nothing.
pub struct Reservation<'a, const BYTES: usize, const FRAMES: usize> {
    pub(super) queue: &'a mut Queue<BYTES, FRAMES>,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl<const BYTES: usize, const FRAMES: usize> Reservation<'_, BYTES, FRAMES> {
    /// Returns the room for the payload.
    pub fn payload(&mut self) -> &mut [u8] {
        let start = self.start + Header::SIZE;
        self.queue.bytes.get_mut(start..start + self.len).unwrap_or_default()
    }

    /// Appends the frame, without descriptors, with the first `len` bytes of the room as its
    /// payload. A `len` over the room counts as all of it.
    pub fn commit(self, header: Header, len: usize) -> FrameNumber {
        self.append(header, 0, len)
    }

    /// Appends the frame as [`commit`](Self::commit) does, with `fd_count` descriptors.
    ///
    /// # Errors
    /// [`PushError::TooManyFds`] and [`PushError::FdsNotAllowed`]; nothing is appended then.
    pub fn commit_with_fds(
        self,
        header: Header,
        fd_count: usize,
        len: usize,
    ) -> Result<FrameNumber, PushError> {
        let fd_count = fds_of(header, fd_count)?;
        Ok(self.append(header, fd_count, len))
    }

    pub(super) fn append(self, header: Header, fd_count: u16, len: usize) -> FrameNumber {
        let len = len.min(self.len);
        let queue = self.queue;
        let place = queue.bytes.get_mut(self.start..).unwrap_or_default();
        if let Some(place) = place.first_chunk_mut() {
            // The queue's capacity fits in 31 bits, which its constructor checks.
            header
                .of_new_frame(u32::try_from(len).unwrap_or(u32::MAX), fd_count)
                .encode_into(place);
        }
        // There is room: `room_for` answered that the entries are not full.
        let (start, len) = (self.start, Header::SIZE + len);
        queue.entries.push(Entry { start, len, fd_count, ..Entry::NONE });
        queue.number_of(queue.entries.count - 1)
    }
}

/// Prints the state, not the bytes.
impl<const BYTES: usize, const FRAMES: usize> fmt::Debug for Reservation<'_, BYTES, FRAMES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Returns the number of descriptors where a frame with this header can carry them.
pub(super) fn fds_of(header: Header, count: usize) -> Result<u16, PushError> {
    let kind = header.kind();
    if count > 0 && !kind.may_have_fds() {
        return Err(PushError::FdsNotAllowed { kind });
    }
    let fd_count = u16::try_from(count).ok().filter(|&count| count <= MAX_FDS);
    fd_count.ok_or(PushError::TooManyFds { count })
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
    /// More descriptors than one frame carries.
    TooManyFds {
        /// The number asked for; the limit is [`MAX_FDS`].
        count: usize,
    },
    /// Frames of this kind carry no descriptors.
    FdsNotAllowed {
        /// The frame's kind.
        kind: Kind,
    },
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "a payload of {len} bytes, over the queue's capacity of {capacity}")
            }
            Self::Full => f.write_str("the queue is full"),
            Self::TooManyFds { count } => {
                write!(f, "a frame with {count} descriptors, over the limit of {MAX_FDS}")
            }
            Self::FdsNotAllowed { kind } => write!(f, "descriptors for a {kind} frame"),
        }
    }
}

impl core::error::Error for PushError {}
