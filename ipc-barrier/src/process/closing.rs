//! Which descriptors a child keeps.

#![expect(unsafe_code, reason = "closing descriptors by number, which nobody else can")]

use core::mem::MaybeUninit;

use ipc_transport::SystemError;
use rustix::fd::{AsRawFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use syscalls::{Sysno, syscall};

/// The first number that is neither standard input, output nor error.
const FIRST: RawFd = 3;

/// Closes every descriptor of the process but 0, 1, 2 and those listed.
///
/// It asks the kernel to (close_range(2), kernel 5.9), and where that is refused or unknown reads
/// `/proc/self/fd`. It never counts up to the limit.
///
/// # Errors
/// `ENOENT` and the like where neither way is open; some may be closed then.
///
/// # Safety
/// Nothing in this process uses a descriptor that is closed here afterwards, nor drops a value
/// that owns one. That is so in a forked child that never returns to the values of its parent.
pub unsafe fn close_all_but(keep: &[RawFd]) -> Result<(), SystemError> {
    match close_gaps(keep) {
        Ok(()) => Ok(()),
        Err(_unknown_or_refused) => close_listed(keep),
    }
}

fn close_gaps(keep: &[RawFd]) -> Result<(), syscalls::Errno> {
    let mut first = FIRST;
    loop {
        // The list is short, so that looking for the next one beats sorting it.
        let kept = keep.iter().copied().filter(|&kept| kept >= first).min();
        let last = kept.map_or(RawFd::MAX, |kept| kept - 1);
        if first <= last {
            // SAFETY: the call reads and writes no memory; that nobody uses the descriptors is what
            // the caller of `close_all_but` promises.
            unsafe { syscall!(Sysno::close_range, first, last, 0) }?;
        }
        match kept.and_then(|kept| kept.checked_add(1)) {
            Some(next) => first = next,
            None => return Ok(()),
        }
    }
}

fn close_listed(keep: &[RawFd]) -> Result<(), SystemError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let list = rustix::fs::openat(CWD, "/proc/self/fd", flags, Mode::empty())
        .map_err(SystemError::of("open /proc/self/fd"))?;
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(&list, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(SystemError::of("getdents64"))?;
        // Besides digits there are only the names "." and "..".
        let number = entry.file_name().to_bytes().iter().try_fold(0_i32, |number, digit| {
            number.checked_mul(10)?.checked_add(digit.checked_sub(b'0')?.into())
        });
        let Some(number) = number.filter(|&number| number >= FIRST) else { continue };
        if number != list.as_raw_fd() && !keep.contains(&number) {
            // SAFETY: that nobody uses the descriptor any more is the caller's promise.
            unsafe { rustix::io::close(number) };
        }
    }
    Ok(())
}
