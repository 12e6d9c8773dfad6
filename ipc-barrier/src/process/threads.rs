//! Whether the process has one thread only: a forked child that goes on to run code needs that.

#![expect(unsafe_code, reason = "rustix marks unshare as unsafe, for flags not used here")]

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::fork_error::ForkError;
use super::listed::each_number;

/// Of linux/sched.h; rustix does not list it.
const CLONE_VM: u32 = 0x100;

/// Kernels before 4.3 may answer EINVAL while somebody reads /proc/PID; it passes.
const ATTEMPTS: usize = 8;

/// Returns `Ok` if the calling thread is the only one.
///
/// `unshare(CLONE_VM)` has no effect but to answer that. Where a filter refuses it or it fails, as
/// it always does under qemu-user, the tasks in /proc are counted.
pub(crate) fn only_one() -> Result<(), ForkError> {
    for _ in 0..ATTEMPTS {
        // SAFETY: what unshare may make unsafe is CLONE_FILES, which is not asked for.
        match unsafe { rustix::thread::unshare_unsafe(UnshareFlags::from_bits_retain(CLONE_VM)) } {
            Ok(()) => return Ok(()),
            Err(Errno::INVAL) => {}
            Err(_refused_or_unknown) => break,
        }
    }
    match count_tasks() {
        Ok(1) => Ok(()),
        Ok(count) => Err(ForkError::Threads { count }),
        Err(_unreadable) => Err(ForkError::ThreadsUnknown),
    }
}

fn count_tasks() -> Result<usize, Errno> {
    let mut count = 0;
    each_number(c"/proc/self/task", |_, _| count += 1)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_seen_and_counted() {
        // The test harness itself runs every test in a thread beside the main one.
        let count = count_tasks().unwrap();
        assert!(count >= 2);
        assert!(matches!(only_one(), Err(ForkError::Threads { count: 2.. })));
    }
}
