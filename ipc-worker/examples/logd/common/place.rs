//! The directory of the logs, by path and as a descriptor, and its lock.

use core::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, Uid, fchmod, fchown, flock, fstat,
    openat, statat,
};
use rustix::io::{Errno, retry_on_intr};

use super::policy::{is_full, is_unknown};

/// How often to open `lock` while others remove it.
const OPENS: usize = 4;

/// A directory that may be replaced or mounted over.
#[derive(Debug)]
pub(crate) struct Place {
    /// The working directory at the start, the base of a relative path.
    base: OwnedFd,
    path: &'static CStr,
    dir: OwnedFd,
    lock: Option<Lock>,
    /// Why the lock has no effect: the file system has no locks, or no room for a file.
    pub(crate) vain: Option<Errno>,
}

/// The lock of a directory, held until the last process that inherited it closes it: a file `lock`
/// that nobody else may open, because everyone who can open a file can lock it (flock(2)).
#[derive(Debug)]
pub(crate) struct Lock {
    fd: OwnedFd,
    vain: Option<Errno>,
    /// It had a name when it was opened, if the file system counts links.
    had_name: bool,
}

impl Place {
    pub(crate) fn open(path: &'static CStr) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = openat(CWD, c".", flags, Mode::empty())?;
        let dir = open(base.as_fd(), path)?;
        Ok(Self { base, path, dir, lock: None, vain: None })
    }

    /// Lists the descriptors to keep open.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lock = self.lock.as_ref().map(|lock| lock.fd.as_fd());
        [self.base.as_fd(), self.dir.as_fd()].into_iter().chain(lock)
    }

    /// Opens the directory that the path names now, if it is a different one.
    pub(crate) fn other(&self) -> Result<Option<OwnedFd>, Errno> {
        let dir = open(self.base.as_fd(), self.path)?;
        let (before, now) = (fstat(&self.dir)?, fstat(&dir)?);
        let is_same = (before.st_dev, before.st_ino) == (now.st_dev, now.st_ino);
        Ok((!is_same).then_some(dir))
    }

    /// Locks the directory, unless it is still locked. Continues without a lock on a full disk.
    ///
    /// # Errors
    /// `EAGAIN` if another daemon has it.
    pub(crate) fn lock(&mut self) -> Result<(), Errno> {
        if let Some(lock) = self.lock.as_mut().filter(|lock| lock.is_named(self.dir.as_fd())) {
            return lock.take();
        }
        match Lock::of(self.dir.as_fd()) {
            Err(error) if is_full(error) => self.vain = Some(error),
            locked => {
                let lock = locked?;
                (self.vain, self.lock) = (lock.vain, Some(lock));
            }
        }
        Ok(())
    }

    /// Gives the lock file to another user, who will open it later.
    pub(crate) fn give(&self, user: u32) {
        if let Some(lock) = &self.lock {
            _ = fchown(&lock.fd, Some(Uid::from_raw(user)), None);
        }
    }

    /// Locks another directory, which will replace this one or be [locked](Self::lock) again. On
    /// file systems whose inode numbers are never the same twice, it may be the same directory.
    pub(crate) fn lock_other(&mut self, dir: BorrowedFd<'_>) -> Result<Lock, Errno> {
        match Lock::of(dir) {
            Err(Errno::AGAIN) => self.unlock(),
            locked => return locked,
        }
        Lock::of(dir).inspect_err(|_| _ = self.lock())
    }

    /// Releases the lock, for main as well, which shares it.
    fn unlock(&self) {
        if let Some(lock) = &self.lock {
            _ = flock(&lock.fd, FlockOperation::Unlock);
        }
    }

    pub(crate) fn move_to(&mut self, dir: OwnedFd, lock: Lock) {
        self.unlock();
        (self.dir, self.vain, self.lock) = (dir, lock.vain, Some(lock));
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
        let mode = Mode::RUSR | Mode::WUSR;
        for _ in 0..OPENS {
            let fd = openat(dir, c"lock", flags | OFlags::NONBLOCK, mode)?;
            let stat = fstat(&fd)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Err(Errno::NXIO);
            }
            // Someone may have made it accessible to others.
            _ = fchmod(&fd, mode);
            let mut lock = Self { fd, vain: None, had_name: stat.st_nlink > 0 };
            lock.take()?;
            if lock.is_named(dir) {
                return Ok(lock);
            }
        }
        Err(Errno::BUSY)
    }

    /// Returns whether this still is `lock`, and was not removed from outside.
    fn is_named(&self, dir: BorrowedFd<'_>) -> bool {
        // Do not compare inode numbers: on some file systems they are never the same twice.
        let has_name = !self.had_name || fstat(&self.fd).is_ok_and(|stat| stat.st_nlink > 0);
        has_name && statat(dir, c"lock", AtFlags::SYMLINK_NOFOLLOW).is_ok()
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
