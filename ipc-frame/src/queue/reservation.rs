//! Room in a queue that a payload is written into in place, and why there is none.

use core::fmt;

use crate::header::Header;
use crate::message::EncodeError;
use crate::queue::{Entry, FrameNumber, Queue};

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

    /// Appends the frame with the first `len` bytes of the room as its payload. A `len` over
    /// the room counts as all of it.
    pub fn commit(self, header: Header, len: usize) -> FrameNumber {
        let len = len.min(self.len);
        // The queue's capacity fits in 31 bits, which its constructor checks.
        let header =
            Header { len: u32::try_from(len).unwrap_or(u32::MAX), fd_sequence: 0, ..header };
        let queue = self.queue;
        let place = queue.bytes.get_mut(self.start..).unwrap_or_default();
        if let Some(place) = place.first_chunk_mut() {
            header.encode_into(place);
        }
        let entry = Entry {
            start: self.start,
            len: Header::SIZE + len,
            fd_count: header.fd_count,
            retired: false,
        };
        // There is room: `room_for` answered that the entries are not full.
        _ = queue.entries.push_back(entry);
        queue.number_of(queue.entries.len() - 1)
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
    /// The message cannot be written at all; see [`EncodeError::Unencodable`].
    Unencodable,
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "a payload of {len} bytes, over the queue's capacity of {capacity}")
            }
            Self::Full => f.write_str("the queue is full"),
            Self::Unencodable => EncodeError::Unencodable.fmt(f),
        }
    }
}

impl core::error::Error for PushError {}
