//! The directory of the logs, by its path and as it was opened.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat};
use rustix::io::{Errno, retry_on_intr};

/// A directory that may be replaced, or mounted over.
#[derive(Debug)]
pub(crate) struct Place {
    /// The working directory at the start, which a relative path begins at.
    base: OwnedFd,
    path: &'static CStr,
    dir: OwnedFd,
}

impl Place {
    pub(crate) fn open(path: &'static CStr) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, ".", flags, Mode::empty())?;
        let dir = open(base.as_fd(), path)?;
        Ok(Self { base, path, dir })
    }

    /// What to keep open.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.base.as_fd(), self.dir.as_fd()]
    }

    /// Opens what the path names now, if that is another directory.
    pub(crate) fn other(&self) -> Result<Option<OwnedFd>, Errno> {
        let dir = open(self.base.as_fd(), self.path)?;
        let (before, now) = (fstat(&self.dir)?, fstat(&dir)?);
        let is_same = (before.st_dev, before.st_ino) == (now.st_dev, now.st_ino);
        Ok((!is_same).then_some(dir))
    }

    pub(crate) fn move_to(&mut self, dir: OwnedFd) {
        self.unlock();
        self.dir = dir;
    }

    /// Gives the lock up, for main too, which has the first directory open as well.
    pub(crate) fn unlock(&self) {
        _ = flock(&self.dir, FlockOperation::Unlock);
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

/// Locks a directory, until the last process has closed it that has inherited it. The lock of `log`
/// alone is not enough: there is no `log` for a moment at each rotation. Where the file system has
/// no such locks for directories, it must do.
///
/// # Errors
/// `EAGAIN` where another daemon has it.
pub(crate) fn lock(dir: BorrowedFd<'_>) -> Result<(), Errno> {
    match retry_on_intr(|| flock(dir, FlockOperation::NonBlockingLockExclusive)) {
        Err(Errno::AGAIN) => Err(Errno::AGAIN),
        _ => Ok(()),
    }
}

fn open(base: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(base, path, flags, Mode::empty())
}
