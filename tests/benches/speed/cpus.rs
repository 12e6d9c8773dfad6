//! Which processor a process runs on.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first two processors allowed to this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    first: usize,
    second: Option<usize>,
}

impl Cpus {
    pub(crate) fn allowed() -> Self {
        let set = sched_getaffinity(None).expect("sched_getaffinity");
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
        Self { first: allowed.next().unwrap_or(0), second: allowed.next() }
    }

    pub(crate) fn count(self) -> usize {
        1 + usize::from(self.second.is_some())
    }

    /// Returns main's processor and the peer's.
    pub(crate) fn of(self, count: usize) -> (usize, usize) {
        let second = self.second.filter(|_| count > 1);
        (self.first, second.unwrap_or(self.first))
    }
}

/// Binds this process to the processor.
pub(crate) fn pin(cpu: usize) {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).expect("sched_setaffinity");
}
