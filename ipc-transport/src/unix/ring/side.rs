//! The two sides, and the bytes that they send over the socket.

use core::sync::atomic::AtomicU32;

use crate::memory::ring::track::Track;

/// Wakes a side that waits at the socket.
pub(super) const BELL: u8 = b'b';
/// Marks a message that carries descriptors, ahead of their chunk in the ring. The other bits are
/// the lowest of the chunk's number.
pub(super) const FDS: u8 = 1 << 7;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that writes to the first half of the words.
    First,
    /// The end that writes to the second half.
    Second,
}

impl Side {
    /// The track that this side writes.
    #[inline]
    pub(super) fn outgoing(self, words: &[AtomicU32]) -> Option<Track<'_>> {
        Track::of(words, self == Self::First)
    }

    /// The track that this side reads.
    #[inline]
    pub(super) fn incoming(self, words: &[AtomicU32]) -> Option<Track<'_>> {
        Track::of(words, self == Self::Second)
    }
}
