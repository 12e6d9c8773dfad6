//! Whether the process has one thread only: a forked child that goes on to run code needs that.

#![expect(unsafe_code, reason = "rustix marks unshare as unsafe, for flags not used here")]

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Of linux/sched.h; rustix does not list it.
const CLONE_VM: u32 = 0x100;

/// Kernels before 4.3 may answer EINVAL while somebody reads /proc/PID; it passes.
const ATTEMPTS: usize = 8;

/// Returns how many threads the process has; `None` where that is unknown.
///
/// `unshare(CLONE_VM)` has no effect but to answer whether the calling thread is the only one.
/// Where a filter refuses it or it fails, as it always does under qemu-user, /proc tells: a
/// directory has two links, and this one has one more for each thread.
pub(crate) fn count() -> Option<usize> {
    for _ in 0..ATTEMPTS {
        // SAFETY: what unshare may make unsafe is CLONE_FILES, which is not asked for.
        match unsafe { unshare_unsafe(UnshareFlags::from_bits_retain(CLONE_VM)) } {
            Ok(()) => return Some(1),
            Err(Errno::INVAL) => {}
            Err(_refused_or_unknown) => break,
        }
    }
    let links = rustix::fs::stat("/proc/self/task").ok()?.st_nlink;
    usize::try_from(links).ok()?.checked_sub(2).filter(|&count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_seen_and_counted() {
        // The test harness itself runs every test in a thread beside the main one.
        assert!(count() >= Some(2));
    }
}
