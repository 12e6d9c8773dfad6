//! File descriptors: where they may lie and how they are doubled.

#![expect(unsafe_code, reason = "a descriptor is looked up by its number")]

use crate::contract::SystemError;

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

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

/// Returns a descriptor that keeps a number above 2 free for one that the kernel may put at 0, 1 or 2,
/// where one of these is closed. Drop it before [`above_stdio`].
///
/// # Errors
/// As [`duplicate`].
pub(crate) fn spare(fd: BorrowedFd<'_>) -> Result<Option<OwnedFd>, SystemError> {
    let is_closed = |number| {
        // SAFETY: the number is only asked about; that it may not be open is the question.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_getfd(fd) == Err(Errno::BADF)
    };
    (0..FIRST).any(is_closed).then(|| duplicate(fd)).transpose()
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
