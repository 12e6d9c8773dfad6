//! Room in a queue for a payload that is written in place, and why a frame is not taken.

use core::fmt;

/// Room in a queue for one frame: see [`Queue::reserve`](crate::Queue::reserve). Dropping it
/// appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The number that the frame will have.
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) len: usize,
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
        /// [`MAX_FDS`](crate::MAX_FDS), or zero where the kind carries none.
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
