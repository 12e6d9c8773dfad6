//! The shared words: those of the processor, and in models those of loom.

#[cfg(not(all(loom, test)))]
pub(crate) use core::sync::atomic::AtomicU32;

#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::AtomicU32;
