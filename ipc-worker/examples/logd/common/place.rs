//! The directory of the logs, by its path and as it was opened, and its lock.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, fstat, openat};
use rustix::io::{Errno, retry_on_intr};

use super::policy::is_unknown;

/// A directory that may be replaced, or mounted over.
#[derive(Debug)]
pub(crate) struct Place {
    /// The working directory at the start, which a relative path begins at.
    base: OwnedFd,
    path: &'static CStr,
    dir: OwnedFd,
    lock: Option<Lock>,
}

/// The lock of a directory, until the last process has closed it that has inherited it: a file
/// `lock` that nobody else may open, since whoever opens a file can lock it (flock(2)).
#[derive(Debug)]
pub(crate) struct Lock {
    fd: OwnedFd,
    /// Why it holds nobody off, where the file system has no locks.
    vain: Option<Errno>,
}

impl Place {
    pub(crate) fn open(path: &'static CStr) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, ".", flags, Mode::empty())?;
        let dir = open(base.as_fd(), path)?;
        Ok(Self { base, path, dir, lock: None })
    }

    /// What to keep open.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lock = self.lock.as_ref().map(|lock| lock.fd.as_fd());
        [self.base.as_fd(), self.dir.as_fd()].into_iter().chain(lock)
    }

    /// Opens what the path names now, if that is another directory.
    pub(crate) fn other(&self) -> Result<Option<OwnedFd>, Errno> {
        let dir = open(self.base.as_fd(), self.path)?;
        let (before, now) = (fstat(&self.dir)?, fstat(&dir)?);
        let is_same = (before.st_dev, before.st_ino) == (now.st_dev, now.st_ino);
        Ok((!is_same).then_some(dir))
    }

    /// Locks the directory, if it is not yet, or any more.
    ///
    /// # Errors
    /// `EAGAIN` where another daemon has it.
    pub(crate) fn lock(&mut self) -> Result<(), Errno> {
        match &mut self.lock {
            Some(lock) => lock.take(),
            None => Lock::of(self.dir.as_fd()).map(|lock| self.lock = Some(lock)),
        }
    }

    /// Locks another directory in place of this one, which is to be moved to, or to be
    /// [locked](Self::lock) again. Where numbers are never the same twice it can be the same one.
    pub(crate) fn lock_other(&mut self, dir: BorrowedFd<'_>) -> Result<Lock, Errno> {
        if let Some(lock) = &self.lock {
            _ = flock(&lock.fd, FlockOperation::Unlock);
        }
        Lock::of(dir).inspect_err(|_| _ = self.lock())
    }

    pub(crate) fn move_to(&mut self, dir: OwnedFd, lock: Lock) {
        (self.dir, self.lock) = (dir, Some(lock));
    }

    /// Why a second daemon would not be noticed.
    pub(crate) fn vain(&self) -> Option<Errno> {
        self.lock.as_ref()?.vain
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }
}

impl Lock {
    fn of(dir: BorrowedFd<'_>) -> Result<Self, Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, "lock", flags | OFlags::NONBLOCK, Mode::RUSR | Mode::WUSR)?;
        let mut lock = Self { fd, vain: None };
        lock.take().map(|()| lock)
    }

    fn take(&mut self) -> Result<(), Errno> {
        let lock = || flock(&self.fd, FlockOperation::NonBlockingLockExclusive);
        match retry_on_intr(lock) {
            Err(error) if is_unknown(error) => {
                self.vain = Some(error);
                Ok(())
            }
            result => result,
        }
    }
}

fn open(base: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(base, path, flags, Mode::empty())
}
