//! The layout of the blocks' memory, and which request has which block.
//!
//! ```text
//! words  0      4            4 + slots              the next page
//!        │ head │ by slot … │ by block, three each… │ block 0 │ block 1 │ …
//! ```
//!
//! Only main allocates, and it keeps a private account. Here it reads only whether a handler holds
//! a block, and how many bytes of it are a reply. A worker that lies about these spoils only its
//! own payloads.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use ipc_transport::SharedBytes;

use super::atomic::{AtomicU32, Mapped, of_page};
use super::id::RequestId;
use super::words::{Claim, Words};

/// Words before those of the slots: number of blocks, words per block, number of slots.
const HEAD: usize = 4;

/// Words per block: whether a handler holds it, bytes of the request, bytes of the reply.
const PER_BLOCK: usize = 3;

/// Words per page of memory. Each block begins at a page.
pub(crate) const PAGE: usize = 1024;

/// The number of blocks, and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) slots: usize,
    pub(crate) count: usize,
    pub(crate) words_each: usize,
}

impl Geometry {
    /// Returns the total number of words. Saturates.
    pub(crate) const fn page_len(self) -> usize {
        self.count.saturating_mul(self.words_each).saturating_add(self.first())
    }

    /// Returns where the first block begins.
    const fn first(self) -> usize {
        let by_block = self.count.saturating_mul(PER_BLOCK);
        let end = by_block.saturating_add(self.slots).saturating_add(HEAD);
        end.saturating_add(PAGE - 1) & !(PAGE - 1)
    }
}

/// The memory of all blocks. An empty arena has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arena<'a> {
    pub(crate) words: &'a [Mapped],
    pub(crate) geometry: Geometry,
}

impl<'a> Arena<'a> {
    /// Returns the arena that main [described](Self::describe) in its memory.
    pub(crate) fn of_page(words: &'a [Mapped]) -> Self {
        let [count, words_each, slots] = [0, 1, 2].map(|at| {
            let word = words.get(at).map_or(0, |word: &Mapped| word.load(Relaxed));
            usize::try_from(word).unwrap_or(0)
        });
        Self { words, geometry: Geometry { slots, count, words_each } }
    }

    /// Writes the layout into the memory, for a worker that does not know it.
    pub(crate) fn describe(self) {
        let Geometry { slots, count, words_each } = self.geometry;
        for (word, number) in self.words.iter().zip([count, words_each, slots]) {
            word.store(u32::try_from(number).unwrap_or(0), Relaxed);
        }
    }

    /// Records which block the request in a slot has, if any.
    pub(crate) fn assign(self, slot: u16, block: Option<usize>) {
        if let Some(word) = self.by_slot(slot) {
            let number = block.and_then(|block| u32::try_from(block + 1).ok());
            word.store(number.unwrap_or(0), Relaxed);
        }
    }

    /// Returns the block of a request. If the request can be claimed after this, the block is the
    /// right one: no other request used the slot meanwhile.
    pub(crate) fn of(self, id: RequestId) -> Option<Block<'a>> {
        let number = self.by_slot(id.slot)?.load(Relaxed).checked_sub(1)?;
        self.block(usize::try_from(number).ok()?)
    }

    /// Returns a block by its index.
    pub(crate) fn block(self, number: usize) -> Option<Block<'a>> {
        let Geometry { slots, count, words_each } = self.geometry;
        if number >= count {
            return None;
        }
        let begin = number.checked_mul(words_each)?.checked_add(self.geometry.first())?;
        let data = self.words.get(begin..begin.checked_add(words_each)?)?;
        let words = self.words.get(HEAD + slots + PER_BLOCK * number..)?.first_chunk()?;
        Some(Block { words, data })
    }

    fn by_slot(self, slot: u16) -> Option<&'a Mapped> {
        let slots = self.words.get(HEAD..HEAD.checked_add(self.geometry.slots)?)?;
        slots.get(usize::from(slot))
    }
}

/// A block of shared memory that main has lent to a request; see
/// [`Call::block`](crate::Call::block).
///
/// The handler keeps it until it returns, even if main has given up the request meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    words: &'a [Mapped; PER_BLOCK],
    data: &'a [Mapped],
}

impl<'a> Block<'a> {
    /// Returns the request's payload.
    pub fn bytes(&self) -> SharedBytes<'a> {
        SharedBytes::new(self.data, self.count(1))
    }

    /// Returns the whole block, to write a reply. The request's payload comes first.
    pub fn space(&self) -> SharedBytes<'a> {
        SharedBytes::new(self.data, usize::MAX)
    }

    /// Makes the first `len` bytes a part of the reply. Returns false if the block has fewer.
    pub(crate) fn set_reply(&self, len: usize) -> bool {
        let [_, _, word] = self.words;
        let count = u32::try_from(len).ok().filter(|_| len <= size_of_val(self.data));
        _ = count.map(|count| word.store(count, Relaxed));
        count.is_some()
    }

    /// Returns the first `len` bytes, by main's own account of the payload.
    pub(crate) fn first(&self, len: usize) -> SharedBytes<'a> {
        SharedBytes::new(self.data, len)
    }

    /// Returns the bytes of the reply, for main to read.
    pub(crate) fn replied(&self) -> SharedBytes<'a> {
        SharedBytes::new(self.data, self.count(2))
    }

    /// Prepares the block for a request with `len` bytes.
    pub(crate) fn begin(&self, len: usize) {
        let [_, given, replied] = self.words;
        given.store(u32::try_from(len).unwrap_or(u32::MAX), Relaxed);
        replied.store(0, Relaxed);
    }

    /// Returns the word that says whether a handler holds it.
    pub(crate) fn hold(&self) -> Option<Hold<'a>> {
        of_page(self.words).first().map(Hold)
    }

    fn count(&self, at: usize) -> usize {
        let word = self.words.get(at).map_or(0, |word| word.load(Relaxed));
        usize::try_from(word).unwrap_or(usize::MAX)
    }
}

/// The word that tells main whether a handler still uses a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold<'a>(pub(crate) &'a AtomicU32);

impl Hold<'_> {
    /// Claims a request for the handler, which then holds its block, if any. The hold comes before
    /// the claim: once main sees the claim, it sees the hold too.
    pub(crate) fn claim<'page>(
        hold: Option<Self>,
        words: Words<'page>,
        id: RequestId,
    ) -> Option<Claim<'page>> {
        _ = hold.map(|hold| hold.0.store(1, Relaxed));
        let claim = words.claim(id);
        if claim.is_none() {
            _ = hold.map(Self::release);
        }
        claim
    }

    /// Holds the block of a running request.
    #[cfg(test)]
    pub(crate) fn take(self) {
        self.0.store(1, Relaxed);
    }

    /// Releases it, after the handler's last use.
    pub(crate) fn release(self) {
        self.0.store(0, Release);
    }

    /// Returns whether no handler uses it. Ask this only after its request was taken back.
    pub(crate) fn is_free(self) -> bool {
        self.0.load(Acquire) == 0
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::vec::Vec;

    const ID: RequestId = RequestId { slot: 1, generation: 7 };

    fn words(slots: usize, count: usize) -> (Vec<Mapped>, Geometry) {
        let geometry = Geometry { slots, count, words_each: PAGE };
        let words: Vec<_> = (0..geometry.page_len()).map(|_| Mapped::new(0)).collect();
        Arena { words: &words, geometry }.describe();
        (words, geometry)
    }

    #[test]
    fn blocks_lie_apart_and_begin_at_pages() {
        let (words, geometry) = words(5, 3);
        let arena = Arena::of_page(&words);
        assert_eq!(arena.geometry, geometry);
        for number in 0..3 {
            let block = arena.block(number).unwrap();
            assert_eq!(block.space().len(), 4096);
            block.space().write_at(0, &[u8::try_from(number).unwrap() + 1; 4096]);
            let at = block.data.as_ptr().addr() - words.as_ptr().addr();
            assert_eq!(at, (number + 1) * 4096);
        }
        assert!(arena.block(3).is_none() && arena.block(usize::MAX).is_none());
        for number in 0..3 {
            let mut bytes = [0; 4096];
            arena.block(number).unwrap().space().read_at(0, &mut bytes);
            assert!(bytes.iter().all(|&byte| usize::from(byte) == number + 1));
        }
        // The words of slots and those of blocks lie apart, too.
        (0..5).for_each(|slot| arena.assign(slot, Some(1)));
        for number in 0..3 {
            let block = arena.block(number).unwrap();
            assert!(block.hold().unwrap().is_free() && block.bytes().is_empty());
            block.begin(9);
            block.hold().unwrap().take();
        }
        let block_of = |slot| arena.of(RequestId { slot, generation: 0 }).unwrap().data.as_ptr();
        assert!((0..5).all(|slot| block_of(slot) == arena.block(1).unwrap().data.as_ptr()));
        arena.assign(1, None);
        assert!(arena.of(ID).is_none());
        arena.assign(1, Some(2));
        arena.of(ID).unwrap().begin(3);
        assert_eq!(arena.block(2).unwrap().bytes().len(), 3);
        assert!(arena.of(RequestId { slot: 5, generation: 7 }).is_none(), "no slot");
    }

    #[test]
    fn whatever_the_words_are_no_byte_beyond_the_memory_is_reached() {
        let (words, geometry) = words(2, 2);
        let lies = [0, 1, 2, 3, 1023, 1024, 4096, u32::MAX / 2, u32::MAX];
        for at in 0..HEAD + 2 + 2 * PER_BLOCK {
            for lie in lies {
                let before = words[at].swap(lie, Relaxed);
                for arena in [Arena { words: &words, geometry }, Arena::of_page(&words)] {
                    let blocks = [arena.of(ID), arena.block(0), arena.block(1)];
                    for block in blocks.into_iter().flatten() {
                        let all = [block.bytes(), block.space(), block.replied()];
                        assert!(all.iter().all(|bytes| bytes.len() <= size_of_val(&words[..])));
                        _ = all.map(|bytes| bytes.read_at(0, &mut [0; 16]));
                    }
                }
                words[at].store(before, Relaxed);
            }
        }
        assert!(Arena::default().of(ID).is_none());
    }

    #[test]
    fn what_is_before_the_blocks_takes_whole_pages() {
        let pages = |slots| Geometry { slots, count: 1, words_each: PAGE }.page_len() / PAGE;
        let full = PAGE - HEAD - PER_BLOCK;
        assert_eq!([1, full, full + 1].map(pages), [2, 2, 3]);
    }

    #[test]
    fn a_reply_is_as_long_as_was_said_and_no_longer_than_the_block() {
        let (words, geometry) = words(1, 1);
        let block = Arena { words: &words, geometry }.block(0).unwrap();
        block.begin(10);
        assert_eq!((block.bytes().len(), block.replied().len()), (10, 0));
        assert!(!block.set_reply(4097));
        assert!(block.set_reply(4096));
        assert_eq!(block.replied().len(), 4096);
        block.begin(0);
        assert_eq!((block.bytes().len(), block.replied().len()), (0, 0));
    }
}
