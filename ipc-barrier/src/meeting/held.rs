//! A descriptor of an end, which somebody may have closed behind the end's back.

#![expect(unsafe_code, reason = "whether a descriptor is closed is decided when it is dropped")]

use core::mem::ManuallyDrop;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::fcntl_getfd;

/// A descriptor that is closed when it is dropped, unless it is closed already. That breaks an end.
/// std would abort the program where it notices.
#[derive(Debug)]
pub(crate) struct Held(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for Held {
    fn from(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if fcntl_getfd(&*self.0).is_ok() {
            // SAFETY: it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}
