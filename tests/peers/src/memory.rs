//! A process's memory (/proc/PID/smaps_rollup, proc(5)).

use std::fs;
use std::ops::Add;

use serde::{Deserialize, Serialize};

/// In KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Resident set size.
    pub(crate) rss: u64,
    /// Proportional set size: resident, with shared pages divided among their users.
    pub(crate) pss: u64,
}

impl Memory {
    pub(crate) fn of_this_process() -> Self {
        Self::of("self")
    }

    /// Returns the memory of all processes that this one has started, and of their children.
    pub(crate) fn of_children() -> Self {
        children("self").iter().map(|pid| Self::of(pid)).fold(Self::default(), Add::add)
    }

    fn of(process: &str) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"));
        Self::parsed(&rollup.unwrap_or_default())
    }

    fn parsed(rollup: &str) -> Self {
        let field = |name| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self { rss: field("Rss:"), pss: field("Pss:") }
    }
}

impl Add for Memory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rss: self.rss + other.rss, pss: self.pss + other.pss }
    }
}

fn children(process: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")));
    let mut all: Vec<String> = lists.flatten().flat_map(|list| words(&list)).collect();
    let further: Vec<String> = all.iter().flat_map(|pid| children(pid)).collect();
    all.extend(further);
    all
}

fn words(list: &str) -> Vec<String> {
    list.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let rollup =
            "55d-7ff ---p 0 00:00 0 [rollup]\nRss:    2044 kB\nPss:     505 kB\nPss_Dirty: 1 kB";
        assert_eq!(Memory::parsed(rollup), Memory { rss: 2044, pss: 505 });
    }

    #[test]
    fn children_are_counted() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        let pid = child.id().to_string();
        assert!(children("self").contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
