//! Counts the threads of the process: a fork whose child runs arbitrary code needs exactly one.

#![expect(unsafe_code, reason = "rustix marks unshare as unsafe, for flags not used here")]

use core::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, openat};
use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::stat;

/// From linux/sched.h; rustix does not list it.
const CLONE_VM: u32 = 0x100;

/// Kernels before 4.3 may return EINVAL while another process reads /proc/PID, so retry.
const ATTEMPTS: usize = 8;

/// Returns how many threads the process has, or the errors of unshare and of reading /proc.
///
/// `unshare(CLONE_VM)` has no effect except to report whether the calling thread is the only one.
/// If a filter refuses it, or if it fails, /proc decides. It always fails under qemu-user, and
/// while the kernel runs threads for an io_uring.
pub(crate) fn count() -> Result<usize, (Errno, Errno)> {
    // SAFETY: unshare is unsafe only with CLONE_FILES, which is not set.
    let ask = |_| unsafe { unshare_unsafe(UnshareFlags::from_bits_retain(CLONE_VM)) };
    let told = (0..ATTEMPTS).map(ask).find(|told| *told != Err(Errno::INVAL));
    let Err(unshare) = told.unwrap_or(Err(Errno::INVAL)) else { return Ok(1) };
    listed().map_err(|proc| (unshare, proc))
}

/// Counts the threads in /proc, except those of the kernel.
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
            // The thread has ended in the meantime.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    if count == 0 { Err(Errno::NOENT) } else { Ok(count) }
}

/// Returns whether a thread belongs to io_uring. Such a thread never runs code of the program,
/// holds none of its locks, and is not copied by fork. An unreadable thread counts as the
/// program's.
fn is_kernels(thread: &OwnedFd) -> bool {
    /// PF_IO_WORKER of linux/sched.h, since 5.12. Before that, the bit meant a virtual processor,
    /// and threads of io_uring did not appear in the process.
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
        // The test harness runs each test in a second thread.
        assert!(count().unwrap() >= 2);
    }
}
