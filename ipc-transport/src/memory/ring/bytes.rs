//! Bytes in shared words, at wrapping positions: copied in and out, never borrowed.

use core::sync::atomic::Ordering::Relaxed;

use crate::memory::copy;
use crate::memory::words::AtomicU32;

/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// The words. Their number is a power of two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(&'a [AtomicU32]);

impl<'a> Bytes<'a> {
    /// Takes the words; `None` if their number is not a power of two, or too large for a position.
    pub(super) fn of(words: &'a [AtomicU32]) -> Option<Self> {
        let fits = words.len().is_power_of_two() && words.len() < (1 << 29);
        fits.then_some(Self(words))
    }

    /// Returns how many bytes there are.
    #[inline]
    pub(super) fn capacity(self) -> u32 {
        // `of` has checked that it fits.
        u32::try_from(self.0.len() * WORD).unwrap_or(0)
    }

    /// Reads the word that begins at a position.
    pub(super) fn word(self, at: u32) -> u32 {
        self.slot(self.place(at)).map_or(0, |word| word.load(Relaxed))
    }

    /// Writes the word that begins at a position.
    pub(super) fn set_word(self, at: u32, value: u32) {
        if let Some(word) = self.slot(self.place(at)) {
            word.store(value, Relaxed);
        }
    }

    /// Copies bytes in, from a position on. The caller has made sure that they fit.
    pub(super) fn write(self, at: u32, bytes: &[u8]) {
        let len = copy::store(self.0, self.place(at), bytes);
        copy::store(self.0, 0, bytes.get(len..).unwrap_or_default());
    }

    /// Copies bytes out, from a position on.
    pub(super) fn read(self, at: u32, space: &mut [u8]) {
        let len = copy::load(self.0, self.place(at), space);
        copy::load(self.0, 0, space.get_mut(len..).unwrap_or_default());
    }

    #[inline]
    fn slot(self, place: usize) -> Option<&'a AtomicU32> {
        self.0.get(place / WORD % self.0.len())
    }

    #[inline]
    fn place(self, at: u32) -> usize {
        // It is below the capacity.
        usize::try_from(at & (self.capacity() - 1)).unwrap_or(0)
    }
}
