//! A descriptor of an end. Other code may have closed it by mistake.

#![expect(unsafe_code, reason = "the drop decides whether to close the descriptor")]

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;

/// A descriptor that is closed when it is dropped, unless other code has closed it already and its
/// number may now be another file. std aborts the program if it notices such a double close; here
/// the end merely breaks. Eventfds cannot be distinguished: all of them share one inode.
#[derive(Debug)]
pub(crate) struct Held {
    fd: ManuallyDrop<OwnedFd>,
    file: Option<(u64, u64)>,
}

impl From<OwnedFd> for Held {
    fn from(fd: OwnedFd) -> Self {
        Self { file: file(&fd), fd: ManuallyDrop::new(fd) }
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if file(&self.fd).is_some_and(|now| Some(now) == self.file) {
            // SAFETY: the descriptor is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Which file the descriptor is, if it is open.
fn file(fd: &OwnedFd) -> Option<(u64, u64)> {
    fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
