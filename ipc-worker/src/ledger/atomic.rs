//! The type of the shared words: the processor's atomics, or loom's in models.

#[cfg(all(loom, test))]
pub(super) use core::sync::atomic::AtomicU32 as Mapped;
#[cfg(not(all(loom, test)))]
pub(super) use core::sync::atomic::{AtomicU32, AtomicU32 as Mapped};

#[cfg(all(loom, test))]
pub(super) use loom::sync::atomic::AtomicU32;

/// Returns the words of a page.
#[inline]
#[cfg(not(all(loom, test)))]
pub(super) const fn of_page(page: &[Mapped]) -> &[AtomicU32] {
    page
}

/// Models have no page: their words are not shared between processes.
#[cfg(all(loom, test))]
pub(super) const fn of_page(_page: &[Mapped]) -> &[AtomicU32] {
    &[]
}
