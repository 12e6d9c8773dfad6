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
    /// What this side writes, and what it reads.
    #[inline]
    pub(super) fn tracks(self, words: &[AtomicU32]) -> Option<[Track<'_>; 2]> {
        let [one, other] = Track::both(words)?;
        Some(if self == Self::First { [one, other] } else { [other, one] })
    }
}
