//! A cursor that the other side can sleep on, in one word.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::memory::words::AtomicU32;

/// How often a compare-exchange is retried if the other side changes the word meanwhile.
const ATTEMPTS: usize = 100;

/// How a side sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// Not asleep.
    No = 0,
    /// On the word itself (futex(2)).
    OnWord = 1,
    /// On the companion socket, or on a descriptor that watches it.
    OnSocket = 2,
}

impl Asleep {
    const BITS: u32 = 3;

    const fn of(word: u32) -> Self {
        match word & Self::BITS {
            1 => Self::OnWord,
            2 => Self::OnSocket,
            _ => Self::No,
        }
    }
}

/// The position of a side: bytes since the start, a multiple of eight, wrapping. The lowest bits
/// say how the other side sleeps until the position changes. Both are in one word, so no wake-up
/// can be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub(super) &'a AtomicU32);

impl<'a> Cursor<'a> {
    /// Returns the position. It is untrusted input from the peer.
    #[inline]
    pub(crate) fn position(self) -> u32 {
        self.0.load(Acquire) & !Asleep::BITS
    }

    /// Moves to a position, and returns how the other side sleeps: wake it.
    #[inline]
    pub(crate) fn publish(self, position: u32) -> Asleep {
        Asleep::of(self.0.swap(position, AcqRel))
    }

    /// Announces how this side will sleep until the other side moves on from `position`. Returns
    /// the new word; `None` if the other side has already moved on.
    #[inline]
    pub(crate) fn sleep(self, position: u32, how: Asleep) -> Option<u32> {
        let wanted = position | how as u32;
        let mut seen = self.0.load(Acquire);
        for _ in 0..ATTEMPTS {
            if seen & !Asleep::BITS != position {
                return None;
            }
            if seen == wanted {
                return Some(wanted);
            }
            match self.0.compare_exchange(seen, wanted, AcqRel, Acquire) {
                Ok(_) => return Some(wanted),
                Err(now) => seen = now,
            }
        }
        None
    }

    /// Returns the word, for futex(2).
    pub(crate) const fn word(self) -> &'a AtomicU32 {
        self.0
    }
}
