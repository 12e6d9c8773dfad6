//! The atomic words: `core`'s, or loom's in its models.

#[cfg(not(all(loom, test)))]
pub(crate) use core::sync::atomic::AtomicU32;

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::AtomicU32;
