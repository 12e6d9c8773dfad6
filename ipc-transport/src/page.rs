//! Memory that a process shares with the children it forks: words, and nothing else.

#![expect(unsafe_code, reason = "mapping memory and looking at it as words")]

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags};

use crate::errno::SystemError;

/// A page of words, zero at first, that stays shared across fork (mmap(2), `MAP_SHARED` and
/// `MAP_ANONYMOUS`). It has no name and goes with the last process that maps it.
///
/// Whatever another process may have written is input: check each word that is read.
#[derive(Debug)]
pub struct SharedPage {
    words: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: the mapping belongs to this value alone within the process, and all access to it is
// atomic.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Maps room for `count` words, rounded up to whole pages by the kernel.
    ///
    /// # Errors
    /// `ENOMEM`, or `EINVAL` for a count of zero; see mmap(2).
    pub fn new(count: usize) -> Result<Self, SystemError> {
        let len = count.saturating_mul(size_of::<AtomicU32>());
        let flags = MapFlags::SHARED;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let mapped =
            unsafe { rustix::mm::mmap_anonymous(core::ptr::null_mut(), len, protection, flags) };
        let start = mapped.map_err(SystemError::of("mmap"))?;
        match NonNull::new(start.cast()) {
            Some(words) => Ok(Self { words, count }),
            None => Err(SystemError::of("mmap")(rustix::io::Errno::NOMEM)),
        }
    }

    /// Returns the words.
    pub const fn words(&self) -> &[AtomicU32] {
        // SAFETY: `new` mapped `count` words there, aligned to a page and zeroed; the mapping
        // lives as long as `self`, and other processes change it only as atomics may change.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        let len = self.count * size_of::<AtomicU32>();
        // SAFETY: this is the mapping of `new`, and every borrow of it has ended.
        _ = unsafe { rustix::mm::munmap(self.words.as_ptr().cast(), len) };
    }
}
