//! The layout of the words that main and a worker share.

use core::sync::atomic::AtomicU32;

use super::medium::Medium;
use crate::ledger::{Credit, Words};

/// Words of two cache lines. Whatever follows the requests' words begins at a multiple of this.
const LINE: usize = 32;

/// The shared words of one worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shared<'page> {
    /// The words of the requests.
    pub(crate) words: Words<'page>,
    pub(crate) credit: Credit<'page>,
    /// The words of the ring. Empty without a ring.
    pub(crate) ring: &'page [AtomicU32],
}

impl<'page> Shared<'page> {
    /// Returns the number of words for `slots` slots, without a ring.
    pub(super) const fn len_alone(slots: usize) -> usize {
        Words::page_len(slots).next_multiple_of(LINE)
    }

    /// Returns the number of words, with a ring if the system lets processes use one.
    pub(super) fn len<M: Medium>(slots: usize, bytes: usize) -> usize {
        let of_ring = if M::is_possible() { M::page_len(bytes) } else { 0 };
        Self::len_alone(slots).saturating_add(of_ring)
    }

    /// Returns the parts of a page whose ring begins after `len_alone` words; see
    /// [`len_alone`](Self::len_alone).
    #[inline]
    pub(super) fn of(page: &'page [AtomicU32], len_alone: usize) -> Self {
        let (words, ring) = page.split_at_checked(len_alone).unwrap_or_default();
        let (words, credit) = Words::of_page(words);
        Self { words, credit, ring }
    }
}
