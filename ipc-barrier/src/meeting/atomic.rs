//! The words that both sides map: the processor's, and in models loom's.

#[cfg(all(loom, test))]
pub(crate) use core::sync::atomic::AtomicU32 as Mapped;
#[cfg(not(all(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU32 as Mapped};

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::AtomicU32;

/// Returns the words of a page.
#[inline]
#[cfg(not(all(loom, test)))]
pub(super) const fn of_page(page: &[Mapped]) -> &[AtomicU32] {
    page
}

/// A model has no page: none of its words are shared with a process.
#[cfg(all(loom, test))]
pub(super) const fn of_page(_page: &[Mapped]) -> &[AtomicU32] {
    &[]
}
