//! Copies between shared words and private memory. Each byte is read and written exactly once, even
//! if another process changes the words meanwhile.

use super::words::AtomicU32;

#[cfg(all(target_arch = "x86_64", not(miri), not(all(loom, test))))]
use machine::{load_all, store_all};
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(loom, test)))))]
use portable::{load_all, store_all};

/// Copies bytes into the words from byte `at` on, as many as fit. Returns how many.
#[inline]
pub(crate) fn store(words: &[AtomicU32], at: usize, bytes: &[u8]) -> usize {
    let len = bytes.len().min(size_of_val(words).saturating_sub(at));
    let bytes = bytes.get(..len).unwrap_or_default();
    if !bytes.is_empty() {
        store_all(words, at, bytes);
    }
    len
}

/// Copies bytes out of the words from byte `at` on, as many as there are. Returns how many.
#[inline]
pub(crate) fn load(words: &[AtomicU32], at: usize, space: &mut [u8]) -> usize {
    let len = space.len().min(size_of_val(words).saturating_sub(at));
    let space = space.get_mut(..len).unwrap_or_default();
    if !space.is_empty() {
        load_all(words, at, space);
    }
    len
}

/// Copies with `rep movsb`, about five times as fast as word by word. `copy_nonoverlapping` must
/// not be used on memory that others write, since the compiler may read a byte twice.
#[cfg(all(target_arch = "x86_64", not(miri), not(all(loom, test))))]
mod machine {
    #![expect(unsafe_code, reason = "one instruction, and pointers to bytes within words")]

    use core::arch::asm;

    use super::AtomicU32;

    /// Copies bytes into the words from byte `at` on. All of them lie within the words.
    #[inline]
    pub(super) fn store_all(words: &[AtomicU32], at: usize, bytes: &[u8]) {
        let to = words.as_ptr().cast_mut().cast::<u8>().wrapping_add(at);
        // SAFETY: `store` has checked that the bytes from `at` on are within the words, and atomics
        // may be written through a shared reference.
        unsafe { copy(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Copies bytes out of the words from byte `at` on. All of them lie within the words.
    #[inline]
    pub(super) fn load_all(words: &[AtomicU32], at: usize, space: &mut [u8]) {
        let from = words.as_ptr().cast::<u8>().wrapping_add(at);
        // SAFETY: `load` has checked that the bytes from `at` on are within the words.
        unsafe { copy(from, space.as_mut_ptr(), space.len()) };
    }

    /// # Safety
    /// `from` is readable and `to` writable for `len` bytes.
    #[inline]
    unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller vouches for the pointers; the ABI keeps the direction flag clear.
        unsafe {
            asm!(
                "rep movsb",
                inout("rcx") len => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags)
            );
        }
    }
}

/// Copies word by word: on other processors, and under miri and loom.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(loom, test)))))]
mod portable {
    use core::sync::atomic::Ordering::Relaxed;

    use super::AtomicU32;

    const WORD: usize = size_of::<u32>();

    /// Copies bytes into the words from byte `at` on. All of them lie within the words.
    pub(super) fn store_all(words: &[AtomicU32], at: usize, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(at.wrapping_neg() % WORD));
        put(words, at, head);
        let first = (at + head.len()) / WORD;
        let whole = rest.chunks_exact(WORD);
        let tail = whole.remainder();
        for (word, bytes) in words.iter().skip(first).zip(whole) {
            word.store(u32::from_ne_bytes(bytes.try_into().unwrap_or_default()), Relaxed);
        }
        put(words, at + bytes.len() - tail.len(), tail);
    }

    /// Copies bytes out of the words from byte `at` on. All of them lie within the words.
    pub(super) fn load_all(words: &[AtomicU32], at: usize, space: &mut [u8]) {
        let (len, head) = (space.len(), space.len().min(at.wrapping_neg() % WORD));
        let (head, rest) = space.split_at_mut(head);
        let first = (at + head.len()) / WORD;
        take(words, at, head);
        let mut whole = rest.chunks_exact_mut(WORD);
        for (word, bytes) in words.iter().skip(first).zip(&mut whole) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        let tail = whole.into_remainder();
        take(words, at + len - tail.len(), tail);
    }

    /// Writes a part of one word.
    fn put(words: &[AtomicU32], at: usize, bytes: &[u8]) {
        if let Some(word) = words.get(at / WORD).filter(|_| !bytes.is_empty()) {
            let mut old = word.load(Relaxed).to_ne_bytes();
            old.iter_mut().skip(at % WORD).zip(bytes).for_each(|(to, from)| *to = *from);
            word.store(u32::from_ne_bytes(old), Relaxed);
        }
    }

    /// Reads a part of one word.
    fn take(words: &[AtomicU32], at: usize, space: &mut [u8]) {
        if let Some(word) = words.get(at / WORD).filter(|_| !space.is_empty()) {
            let word = word.load(Relaxed).to_ne_bytes();
            space.iter_mut().zip(word.iter().skip(at % WORD)).for_each(|(to, from)| *to = *from);
        }
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn each_piece_of_the_words_is_copied_and_nothing_beside_it() {
        for at in 0..14 {
            for len in 0..14 {
                let words: [AtomicU32; 3] = core::array::from_fn(|_| AtomicU32::new(0x5555_5555));
                let bytes: Vec<u8> = (1..=len).collect();
                let fits = bytes.len().min(12_usize.saturating_sub(at));
                assert_eq!(store(&words, at, &bytes), fits);
                let mut all = [0; 12];
                assert_eq!(load(&words, 0, &mut all), 12);
                let mut expected = [0x55; 12];
                expected.iter_mut().skip(at).zip(&bytes).for_each(|(to, from)| *to = *from);
                assert_eq!(all, expected, "{len} bytes at {at}");
                let mut part = [0xaa; 13];
                assert_eq!(load(&words, at, &mut part[..len.into()]), fits);
                assert_eq!(part[..fits], bytes[..fits]);
                assert!(part[fits..].iter().all(|&byte| byte == 0xaa));
            }
        }
    }
}
