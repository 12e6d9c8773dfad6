//! Copies between shared words and this process's own memory. Each byte is read and written once,
//! whatever another process does to the words meanwhile.

#[cfg(all(target_arch = "x86_64", not(miri), not(all(loom, test))))]
pub(super) use machine::{load, store};
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(loom, test)))))]
pub(super) use portable::{load, store};

/// By the processor's own copy, some five times as fast as word by word. The compiler's is not for
/// memory that others write: it may read it again later, in the place of the copy.
#[cfg(all(target_arch = "x86_64", not(miri), not(all(loom, test))))]
mod machine {
    #![expect(unsafe_code, reason = "one instruction")]

    use core::arch::asm;

    use super::super::words::AtomicU32;

    /// Copies as many bytes as both have into the words.
    #[inline]
    pub(in super::super) fn store(words: &[AtomicU32], bytes: &[u8]) {
        let len = size_of_val(words).min(bytes.len());
        // SAFETY: so many bytes lie at both, and atomics may be written through a shared reference.
        unsafe { copy(bytes.as_ptr(), words.as_ptr().cast_mut().cast(), len) };
    }

    /// Copies as many bytes as both have out of the words.
    #[inline]
    pub(in super::super) fn load(words: &[AtomicU32], space: &mut [u8]) {
        let len = size_of_val(words).min(space.len());
        // SAFETY: so many bytes lie at both.
        unsafe { copy(words.as_ptr().cast(), space.as_mut_ptr(), len) };
    }

    /// # Safety
    /// `len` bytes may be read at `from` and written at `to`.
    #[inline]
    unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
        // SAFETY: the caller's promise; the direction flag is clear, as it must be here.
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

/// Word by word: on other processors, and where one looks at each access.
#[cfg(not(all(target_arch = "x86_64", not(miri), not(all(loom, test)))))]
mod portable {
    use core::sync::atomic::Ordering::Relaxed;

    use super::super::words::AtomicU32;

    /// Copies as many whole words as both have into the words.
    pub(in super::super) fn store(words: &[AtomicU32], bytes: &[u8]) {
        for (word, chunk) in words.iter().zip(bytes.chunks_exact(size_of::<u32>())) {
            let chunk = chunk.first_chunk().copied().unwrap_or_default();
            word.store(u32::from_ne_bytes(chunk), Relaxed);
        }
    }

    /// Copies as many whole words as both have out of the words.
    pub(in super::super) fn load(words: &[AtomicU32], space: &mut [u8]) {
        for (word, chunk) in words.iter().zip(space.chunks_exact_mut(size_of::<u32>())) {
            chunk.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
    }
}
