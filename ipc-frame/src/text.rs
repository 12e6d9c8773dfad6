//! A short text in a fixed buffer. Reasons and refusals use it.

use core::fmt;

/// A text of at most `N` bytes, stored inline. It always reads as valid UTF-8.
///
/// A longer text is cut at a character boundary. `N` is at most 255, which is checked at compile
/// time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    /// The empty text.
    pub const EMPTY: Self = {
        assert!(N <= 255, "a Text holds at most 255 bytes");
        Self { len: 0, bytes: [0; N] }
    };

    /// Copies as much of the text as fits.
    pub const fn new(text: &str) -> Self {
        let mut len = if text.len() < N { text.len() } else { N };
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        Self::from_bytes(text.as_bytes().split_at(len).0)
    }

    /// Copies as much as fits from untrusted bytes. The text ends before the first byte that is not
    /// valid UTF-8.
    pub const fn from_bytes(bytes: &[u8]) -> Self {
        let mut copy = Self::EMPTY;
        copy.len = fill(&mut copy.bytes, bytes);
        copy
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        valid(self.bytes.get(..usize::from(self.len)).unwrap_or_default())
    }
}

/// Copies as much as fits into at most 255 bytes, and returns the number of bytes copied.
#[expect(clippy::cast_possible_truncation, reason = "there are at most 255 bytes")]
const fn fill(to: &mut [u8], from: &[u8]) -> u8 {
    let len = if from.len() < to.len() { from.len() } else { to.len() };
    to.split_at_mut(len).0.copy_from_slice(from.split_at(len).0);
    len as u8
}

/// The valid UTF-8 at the start.
fn valid(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_a_character() {
        assert_eq!(Text::<4>::new("abcdef").as_str(), "abcd");
        assert_eq!(Text::<4>::new("abcé").as_str(), "abc");
        assert_eq!(Text::<0>::new("a").as_str(), "");
        assert_eq!(Text::<4>::new("abcé"), Text::<4>::new("abc"), "cut bytes do not count");
    }

    #[test]
    fn text_keeps_the_valid_start_of_untrusted_bytes() {
        assert_eq!(Text::<8>::from_bytes(b"ab\xffcd").as_str(), "ab");
        assert_eq!(Text::<8>::from_bytes("né".as_bytes()).as_str(), "né");
    }
}
