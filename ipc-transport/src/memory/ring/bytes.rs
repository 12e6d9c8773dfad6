//! Bytes in shared words, which wrap: copied in and out, and never lent.

use core::sync::atomic::Ordering::Relaxed;

use super::words::AtomicU32;

use super::copy;

/// Bytes of a word.
const WORD: usize = size_of::<u32>();

/// Words, a power of two of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(&'a [AtomicU32]);

impl<'a> Bytes<'a> {
    /// Takes the words; `None` where these are not a power of two, or too many for a position.
    pub(super) fn of(words: &'a [AtomicU32]) -> Option<Self> {
        let fits = words.len().is_power_of_two() && words.len() < (1 << 29);
        fits.then_some(Self(words))
    }

    /// Returns how many bytes there are.
    #[inline]
    pub(super) fn capacity(self) -> u32 {
        // `of` has seen to that.
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

    /// Copies bytes in, from a position on. There is room for them.
    pub(super) fn write(self, at: u32, mut bytes: &[u8]) {
        let mut place = self.place(at);
        while !bytes.is_empty() {
            let offset = place % WORD;
            let run = if offset == 0 { self.run(place, bytes.len()) } else { &[] };
            let len = if run.is_empty() {
                let Some(word) = self.slot(place) else { return };
                let mut old = word.load(Relaxed).to_ne_bytes();
                let space = old.get_mut(offset..).unwrap_or_default();
                let len = space.len().min(bytes.len());
                space.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                word.store(u32::from_ne_bytes(old), Relaxed);
                len
            } else {
                copy::store(run, bytes.get(..run.len() * WORD).unwrap_or_default());
                run.len() * WORD
            };
            bytes = bytes.get(len..).unwrap_or_default();
            place += len;
        }
    }

    /// Copies bytes out, from a position on.
    pub(super) fn read(self, at: u32, mut space: &mut [u8]) {
        let mut place = self.place(at);
        while !space.is_empty() {
            let offset = place % WORD;
            let run = if offset == 0 { self.run(place, space.len()) } else { &[] };
            let len = if run.is_empty() {
                let Some(word) = self.slot(place) else { return };
                let word = word.load(Relaxed).to_ne_bytes();
                let bytes = word.get(offset..).unwrap_or_default();
                space.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                bytes.len().min(space.len())
            } else {
                copy::load(run, space.get_mut(..run.len() * WORD).unwrap_or_default());
                run.len() * WORD
            };
            space = space.get_mut(len..).unwrap_or_default();
            place += len;
        }
    }

    /// The whole words from a place on for so many bytes, up to the end.
    #[inline]
    fn run(self, place: usize, len: usize) -> &'a [AtomicU32] {
        let words = self.0.get(place / WORD % self.0.len()..).unwrap_or_default();
        words.get(..len / WORD).unwrap_or(words)
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
