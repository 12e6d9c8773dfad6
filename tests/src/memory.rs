//! What memory a process has.

use crate::around::proc;
use std::fs;

/// Pages of memory, as /proc/self/statm counts them (proc(5)).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All that is mapped, whether it was touched or not.
    pub mapped: usize,
    /// What is in memory and no file's: the heap, the stack, what was written to.
    pub resident: usize,
}

impl Memory {
    /// Returns what this process has now.
    pub fn now() -> Self {
        let line = fs::read_to_string(proc("self/statm")).expect("/proc is mounted");
        let mut pages = line.split(' ').map(|field| field.parse().expect("counts of pages"));
        let mut next = || -> usize { pages.next().expect("three counts and more") };
        let (mapped, resident, shared) = (next(), next(), next());
        Self { mapped, resident: resident.saturating_sub(shared) }
    }
}
