//! The words shared by both sides of the `page` lane, found as a hostile process would find them.

use std::sync::atomic::{AtomicU32, Ordering};

/// Words of the shared page in use.
const COUNT: usize = 176;

/// The index of the word for a side's outgoing tokens: side 0 is the parent, 1 the child.
pub(crate) const fn word_of(side: usize) -> usize {
    side
}

/// The shared words of this process's only barrier, valid while the barrier exists.
pub(crate) struct Words(&'static [AtomicU32]);

impl Words {
    /// Finds them in the list of mappings.
    pub(crate) fn of_the_only_barrier() -> Self {
        let maps = std::fs::read_to_string(ipc_tests::around::proc("self/maps")).unwrap();
        let mut shared = maps.lines().filter(|line| line.contains("/dev/zero"));
        let line = shared.next().unwrap();
        assert_eq!(shared.next(), None, "there is only one barrier");
        let address = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let words = std::ptr::with_exposed_provenance::<AtomicU32>(address);
        // SAFETY: a zeroed, aligned page is mapped there, changed by atomics only; the barrier
        // outlives its use by the cases.
        Self(unsafe { std::slice::from_raw_parts(words, COUNT) })
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn store(&self, index: usize, value: u32) {
        self.0[index].store(value, Ordering::SeqCst);
    }
}
