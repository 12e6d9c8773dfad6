//! File descriptors: where they may lie, how they are doubled, and which a child keeps.

#![expect(unsafe_code, reason = "closing descriptors by number, which nobody else can")]

use core::mem::MaybeUninit;

use crate::contract::SystemError;

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;
use syscalls::{Sysno, syscall};

/// The first number that is neither standard input, output nor error.
const FIRST: RawFd = 3;

/// Duplicates a descriptor, close-on-exec and at 3 or above (fcntl(2), `F_DUPFD_CLOEXEC`).
///
/// # Errors
/// `EMFILE` where the process may open no more.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, SystemError> {
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST).map_err(SystemError::of("fcntl"))
}

/// Moves a descriptor that a daemon with closed standard streams was given at 0, 1 or 2 to 3 or
/// above, close-on-exec. Any other is returned as it is.
///
/// # Errors
/// `EMFILE` where the process may open no more; the descriptor is closed then.
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, SystemError> {
    if fd.as_raw_fd() >= FIRST {
        return Ok(fd);
    }
    duplicate(rustix::fd::AsFd::as_fd(&fd))
}

/// Opens `/dev/null` at each of 0, 1 and 2 that is closed.
///
/// # Errors
/// As open(2): `ENOENT` where the system has no `/dev/null`.
pub fn open_stdio() -> Result<(), SystemError> {
    for number in 0..FIRST {
        // SAFETY: the number is only asked about; that it may not be open is the question.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if rustix::io::fcntl_getfd(fd) == Err(Errno::BADF) {
            // The lowest free number is this one, since those below it are open.
            let null = rustix::fs::open(c"/dev/null", OFlags::RDWR, Mode::empty())
                .map_err(SystemError::of("open /dev/null"))?;
            _ = null.into_raw_fd();
        }
    }
    Ok(())
}

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
    let list = rustix::fs::openat(CWD, c"/proc/self/fd", flags, Mode::empty())
        .map_err(SystemError::of("open /proc/self/fd"))?;
    let own = list.as_raw_fd();
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(&list, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(SystemError::of("getdents64"))?;
        let mut name = entry.file_name().to_bytes().iter();
        let number = name.try_fold(0, |number: RawFd, digit| {
            number.checked_mul(10)?.checked_add(digit.checked_sub(b'0')?.into())
        });
        let Some(number) = number else { continue };
        if number >= FIRST && number != own && !keep.contains(&number) {
            // SAFETY: that nobody uses the descriptor any more is the caller's promise.
            unsafe { rustix::io::close(number) };
        }
    }
    Ok(())
}
