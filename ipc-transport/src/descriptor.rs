//! Duplicating descriptors, and keeping them above 2.

#![expect(unsafe_code, reason = "descriptors are queried by number")]

use crate::contract::SystemError;

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The first number after standard input, output and error.
const FIRST: RawFd = 3;

/// Duplicates a descriptor, close-on-exec and at 3 or above (fcntl(2), `F_DUPFD_CLOEXEC`).
///
/// # Errors
/// `EMFILE` if the process cannot open more descriptors.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, SystemError> {
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST).map_err(SystemError::of("fcntl"))
}

/// Moves a descriptor at 0, 1 or 2 to 3 or above, close-on-exec. A daemon with closed standard
/// streams may get such a descriptor. Any other descriptor is returned unchanged.
///
/// # Errors
/// `EMFILE` if the process cannot open more descriptors; `fd` is then closed.
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, SystemError> {
    if fd.as_raw_fd() >= FIRST {
        return Ok(fd);
    }
    duplicate(rustix::fd::AsFd::as_fd(&fd))
}

/// Reserves a number above 2 if 0, 1 or 2 is closed, since the kernel may then put the next
/// descriptor there. Drop the result before calling [`above_stdio`].
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
/// As open(2): `ENOENT` if the system has no `/dev/null`.
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
