//! Short texts with numbers in them. The formatter of `core` would take 3 KB of code.

use heapless::Vec;

/// Joins pieces of text. Pieces that do not fit are left out.
pub fn joined<const N: usize>(pieces: &[&[u8]]) -> Vec<u8, N> {
    let mut text = Vec::new();
    for piece in pieces {
        _ = text.extend_from_slice(piece);
    }
    text
}

/// Parses a number that has only digits.
pub fn number(digits: &[u8]) -> Option<u64> {
    let read = |number: u64, digit: &u8| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    };
    digits.iter().try_fold(0, read).filter(|_| !digits.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_a_number() {
        for (it, text) in [(0, "0"), (7, "7"), (1_020, "1020"), (u64::MAX, "18446744073709551615")]
        {
            assert_eq!(number(text.as_bytes()), Some(it));
        }
    }

    #[test]
    fn other_text_is_not_a_number() {
        for text in ["", "-1", "1 ", ":", "x", "18446744073709551616"] {
            assert_eq!(number(text.as_bytes()), None, "{text:?}");
        }
    }
}
