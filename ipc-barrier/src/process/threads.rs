//! Whether the process has one thread only: a forked child that goes on to run code needs that.

#![expect(unsafe_code, reason = "rustix marks unshare as unsafe, for flags not used here")]

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::stat;

/// Of linux/sched.h; rustix does not list it.
const CLONE_VM: u32 = 0x100;

/// Kernels before 4.3 may answer EINVAL while somebody reads /proc/PID; it passes.
const ATTEMPTS: usize = 8;

/// Returns how many threads the process has; or why unshare and /proc cannot tell.
///
/// `unshare(CLONE_VM)` has no effect but to answer whether the calling thread is the only one.
/// Where a filter refuses it or it fails, as it always does under qemu-user and beside the kernel's
/// own threads of an io_uring, /proc tells.
pub(crate) fn count() -> Result<usize, (Errno, Errno)> {
    // SAFETY: what unshare may make unsafe is CLONE_FILES, which is not asked for.
    let ask = |_| unsafe { unshare_unsafe(UnshareFlags::from_bits_retain(CLONE_VM)) };
    let told = (0..ATTEMPTS).map(ask).find(|told| *told != Err(Errno::INVAL));
    let Err(unshare) = told.unwrap_or(Err(Errno::INVAL)) else { return Ok(1) };
    listed().map_err(|proc| (unshare, proc))
}

/// Counts the threads in /proc, but those that belong to the kernel.
fn listed() -> Result<usize, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = rustix::fs::open(c"/proc/self/task", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut entries = RawDir::new(&list, &mut buffer);
    let mut count = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        match openat(&list, entry.file_name(), flags, Mode::empty()) {
            Ok(thread) => count += usize::from(!is_kernels(&thread)),
            // It has ended meanwhile.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    if count == 0 { Err(Errno::NOENT) } else { Ok(count) }
}

/// Returns whether a thread is an io_uring's: it never runs code of this program, holds no lock of
/// it, and is not copied by fork. What cannot be told is a thread of the program.
fn is_kernels(thread: &OwnedFd) -> bool {
    /// PF_IO_WORKER of linux/sched.h since 5.12. Before, virtual processors had the same bit, and
    /// an io_uring's threads did not show in the process.
    const IO_WORKER: u64 = 0x10;
    let stat = openat(thread, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let mut buffer = [0; stat::LEN];
    let read = stat.ok().and_then(|stat| stat::read(stat, &mut buffer));
    read.is_some_and(|(start, flags)| {
        start.windows(6).any(|at| at == b" (iou-") && flags & IO_WORKER != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_thread_is_seen_and_counted() {
        // The test harness itself runs every test in a thread beside the main one.
        assert!(count().unwrap() >= 2);
    }
}
