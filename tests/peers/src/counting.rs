//! An allocator that can count for main and the peers that it forks.

#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use ipc_transport::SharedPage;

use crate::contender::Trouble;

/// The counter; null until counting starts, so that timed runs do not count.
static COUNT: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());

pub(crate) struct Counting;

impl Counting {
    /// Starts counting, in memory shared with processes forked from now on.
    pub(crate) fn share() -> Result<(), Trouble> {
        let page = Box::leak(Box::new(SharedPage::new(1)?));
        COUNT.store(page.words().as_ptr().cast_mut(), Ordering::Relaxed);
        Ok(())
    }

    /// Returns how many allocations were made.
    pub(crate) fn count() -> u32 {
        Self::word().map_or(0, |word| word.load(Ordering::Relaxed))
    }

    fn word() -> Option<&'static AtomicU32> {
        // SAFETY: null, or a word of memory that stays mapped.
        unsafe { COUNT.load(Ordering::Relaxed).as_ref() }
    }

    fn add() {
        if let Some(word) = Self::word() {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add();
        // SAFETY: the caller promises what the system's allocator requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::add();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the pointer came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::add();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
