//! One direction: the layout of its cursors and bytes.

use super::bytes::Bytes;
use super::cursor::Cursor;
use crate::memory::words::AtomicU32;

/// Words from one cursor to the next: two cache lines, since some processors prefetch them in
/// pairs.
const LINE: usize = 32;

/// Chunks begin at multiples of this many bytes, and their header is this long.
pub(super) const UNIT: u32 = 8;

/// The bit of a chunk's word that says that it has descriptors.
pub(super) const WITH_FDS: u32 = 1 << 31;

/// The peer wrote an impossible cursor or length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BrokenRing;

/// One direction: the positions of producer and consumer, and the bytes between them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track<'a> {
    pub(crate) head: Cursor<'a>,
    pub(crate) tail: Cursor<'a>,
    pub(super) data: Bytes<'a>,
}

impl<'a> Track<'a> {
    /// Returns how many words two tracks of at least `bytes` bytes take, one for each direction.
    pub(crate) const fn page_len(bytes: usize) -> usize {
        let bytes = if bytes < 64 { 64 } else { bytes };
        match bytes.checked_next_power_of_two() {
            Some(bytes) => 2 * (2 * LINE + bytes / size_of::<u32>()),
            None => usize::MAX,
        }
    }

    /// Returns the first or second track of a page of [`page_len`](Self::page_len) words; `None` if
    /// the page has another length.
    #[inline]
    pub(crate) fn of(words: &'a [AtomicU32], is_first: bool) -> Option<Self> {
        let (first, second) = words.split_at(words.len() / 2);
        let words = if is_first { first } else { second };
        let (head, rest) = words.split_at_checked(LINE)?;
        let (tail, data) = rest.split_at_checked(LINE)?;
        let data = Bytes::of(data)?;
        Some(Self { head: Cursor(head.first()?), tail: Cursor(tail.first()?), data })
    }
}

/// The next possible start of a chunk, from a position on.
pub(super) const fn aligned(position: u32) -> u32 {
    position.wrapping_add(UNIT - 1) & !(UNIT - 1)
}
