//! A cursor that the other side may sleep on, in one word.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::memory::words::AtomicU32;

/// How often a word is asked again that somebody else has changed meanwhile.
const ATTEMPTS: usize = 100;

/// How a side sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asleep {
    /// It does not.
    No = 0,
    /// On the word itself (futex(2)).
    OnWord = 1,
    /// On the companion socket, or a descriptor that shows it.
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

/// How far a side has come: bytes since the start, in a multiple of eight, which wrap; and in the
/// lowest bits how the other side sleeps until it goes on. One word decides that, so that no wake-up
/// can be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a>(pub(super) &'a AtomicU32);

impl<'a> Cursor<'a> {
    /// Returns the position. It is the peer's word.
    #[inline]
    pub(crate) fn position(self) -> u32 {
        self.0.load(Acquire) & !Asleep::BITS
    }

    /// Goes on to a position, and returns how the other side has slept: it is to be woken.
    #[inline]
    pub(crate) fn publish(self, position: u32) -> Asleep {
        Asleep::of(self.0.swap(position, AcqRel))
    }

    /// Says how this side sleeps until the other one goes on from `position`. Returns the word
    /// as it is then; `None` where the other one has gone on.
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

    /// Returns the word, for the calls that sleep on it and wake who does.
    pub(crate) const fn word(self) -> &'a AtomicU32 {
        self.0
    }
}
