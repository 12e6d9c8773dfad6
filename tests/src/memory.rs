//! A process's memory.

use crate::around::proc;
use std::fs;

/// Pages of memory, as counted by /proc/self/statm (proc(5)).
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All mapped pages, touched or not.
    pub mapped: usize,
    /// Resident pages that belong to no file: heap, stack and everything written to.
    pub resident: usize,
}

impl Memory {
    /// Returns this process's current memory.
    pub fn now() -> Self {
        let line = fs::read_to_string(proc("self/statm")).expect("/proc is mounted");
        let mut pages = line.split(' ').map(|field| field.parse().expect("counts of pages"));
        let mut next = || -> usize { pages.next().expect("three counts and more") };
        let (mapped, resident, shared) = (next(), next(), next());
        Self { mapped, resident: resident.saturating_sub(shared) }
    }
}
