//! What a process holds: descriptors and children.

use std::fs;
use std::os::fd::RawFd;

/// Returns the open descriptors, without the one that reads the list.
pub fn open() -> Vec<RawFd> {
    let list = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let numbers: Vec<RawFd> =
        list.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The list's own descriptor is closed by now.
    numbers.into_iter().filter(|fd| fs::read_link(format!("/proc/self/fd/{fd}")).is_ok()).collect()
}

/// Returns the states of this process's children as /proc shows them; `Z` is a zombie.
pub fn children() -> Vec<char> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").expect("/proc is mounted");
    processes
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let (_, rest) = stat.rsplit_once(") ")?;
            let mut fields = rest.split(' ');
            let state = fields.next()?.chars().next()?;
            (fields.next()? == own).then_some(state)
        })
        .collect()
}
