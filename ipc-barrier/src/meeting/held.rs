//! A descriptor of an end, which somebody may have closed behind the end's back.

#![expect(unsafe_code, reason = "whether a descriptor is closed is decided when it is dropped")]

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::fstat;

/// A descriptor that is closed when it is dropped, unless it is closed already, and its number
/// perhaps another file's by now. That breaks an end. std would abort the program where it notices.
/// Event counters cannot be told apart: they all are one file (anon_inode).
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
            // SAFETY: it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.fd) };
        }
    }
}

/// Which file it is, if it is open.
fn file(fd: &OwnedFd) -> Option<(u64, u64)> {
    fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
