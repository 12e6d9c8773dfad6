//! Which side an end is, and what the two say to each other over the socket.

use core::sync::atomic::AtomicU32;

use crate::memory::ring::track::Track;

/// Wakes one who waits at the socket.
pub(super) const BELL: u8 = b'b';
/// Comes with descriptors, before the bytes that these belong to.
pub(super) const FDS: u8 = b'f';

/// Which of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that writes to the first half of the words.
    First,
    /// The other one.
    Second,
}

impl Side {
    /// What this side writes.
    #[inline]
    pub(super) fn outgoing(self, words: &[AtomicU32]) -> Option<Track<'_>> {
        Track::of(words, self == Self::First)
    }

    /// What this side reads.
    #[inline]
    pub(super) fn incoming(self, words: &[AtomicU32]) -> Option<Track<'_>> {
        Track::of(words, self == Self::Second)
    }
}
