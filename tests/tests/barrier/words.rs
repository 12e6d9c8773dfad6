//! The words that both sides of the lane `page` share, found as a hostile process would find them.

use std::sync::atomic::{AtomicU32, Ordering};

/// Words of the shared page that mean anything.
const COUNT: usize = 176;

/// Where the word of a side's outgoing tokens lies: 0 for the parent, 1 for the child.
pub(crate) const fn word_of(side: usize) -> usize {
    side
}

/// The shared words of this process's only barrier, for as long as that lives.
pub(crate) struct Words(&'static [AtomicU32]);

impl Words {
    /// Finds them in the list of what is mapped.
    pub(crate) fn of_the_only_barrier() -> Self {
        let maps = std::fs::read_to_string(ipc_tests::around::proc("self/maps")).unwrap();
        let mut shared = maps.lines().filter(|line| line.contains("/dev/zero"));
        let line = shared.next().unwrap();
        assert_eq!(shared.next(), None, "one barrier only");
        let address = usize::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let words = std::ptr::with_exposed_provenance::<AtomicU32>(address);
        // SAFETY: a page is mapped there, zeroed and aligned, and is changed by atomics only; the
        // barrier outlives what the cases do with it.
        Self(unsafe { std::slice::from_raw_parts(words, COUNT) })
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn store(&self, index: usize, value: u32) {
        self.0[index].store(value, Ordering::SeqCst);
    }
}
