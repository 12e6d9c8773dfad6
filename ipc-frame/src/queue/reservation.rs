//! Room in a queue for a payload that is written in place, and why a push fails.

use core::fmt;

/// Room in a queue for one frame; see [`Queue::reserve`](crate::Queue::reserve). Dropping it
/// appends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The number that the frame will have.
    pub(super) number: u64,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// Why a frame was not appended. The queue is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The payload does not fit even in an empty queue.
    TooLong {
        /// Length of the payload in bytes.
        len: usize,
        /// Longest payload in bytes that fits in an empty queue.
        capacity: usize,
    },
    /// The queue is full until frames are retired.
    Full,
    /// A frame of this kind cannot carry this many descriptors.
    TooManyFds {
        /// The number of descriptors.
        count: usize,
        /// [`MAX_FDS`](crate::MAX_FDS), or zero if the kind carries none.
        limit: u16,
    },
}

impl fmt::Display for PushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, capacity } => {
                write!(f, "cannot queue a payload of {len} bytes: the capacity is {capacity}")
            }
            Self::Full => f.write_str("the queue is full; send and retire frames first"),
            Self::TooManyFds { count, limit } => {
                write!(f, "cannot queue a frame with {count} descriptors: the limit is {limit}")
            }
        }
    }
}

impl core::error::Error for PushError {}
