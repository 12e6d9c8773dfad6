//! What lies where in the words that main and a worker share.

use core::sync::atomic::AtomicU32;

use super::medium::Medium;
use crate::ledger::{Credit, Words};

/// Words of two lines of a cache: what follows the words of the requests begins at one.
const LINE: usize = 32;

/// The shared words of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shared<'page> {
    /// Those of the requests.
    pub(crate) words: Words<'page>,
    pub(crate) credit: Credit<'page>,
    /// Those of the ring, none without one.
    pub(crate) ring: &'page [AtomicU32],
}

impl<'page> Shared<'page> {
    /// Returns how many words there are for so many slots, without a ring.
    pub(super) const fn len_alone(slots: usize) -> usize {
        Words::page_len(slots).next_multiple_of(LINE)
    }

    /// Returns how many words there are, with a ring where the system lets processes use one.
    pub(super) fn len<M: Medium>(slots: usize, bytes: usize) -> usize {
        let of_ring = if M::is_possible() { M::page_len(bytes) } else { 0 };
        Self::len_alone(slots).saturating_add(of_ring)
    }

    /// Returns what lies in a page whose ring begins after [so many](Self::len_alone) words.
    #[inline]
    pub(super) fn of(page: &'page [AtomicU32], len_alone: usize) -> Self {
        let (words, ring) = page.split_at_checked(len_alone).unwrap_or_default();
        let (words, credit) = Words::of_page(words);
        Self { words, credit, ring }
    }
}
