//! The file to append to. It always ends with a whole line, whatever others do to it.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, SeekFrom, Stat, fdatasync, fstat, ftruncate, openat, seek,
    statat,
};
use rustix::io::{Errno, pread, retry_on_intr, write};

/// How often to open or cut `log` while others interfere.
const OPENS: usize = 4;
const CUTS: usize = 16;

/// A length that must be asked for.
const UNKNOWN: u64 = u64::MAX;

/// Whether a symbolic link at `log` is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symlinks {
    Follow,
    Refuse,
}

/// An open log. No other process of this daemon writes to it, because its directory is locked.
#[derive(Debug)]
pub(crate) struct Log {
    fd: OwnedFd,
    symlinks: Symlinks,
    /// Its length up to the last newline, when it was last checked or written.
    pub(crate) len: u64,
    /// Its length when a write last failed.
    pub(crate) reached: u64,
    /// It was created here.
    pub(crate) is_new: bool,
    /// Why half a line was ended instead of cut: the file is append-only.
    pub(crate) uncut: Option<Errno>,
    /// It had a name when it was opened, if the file system counts links.
    had_name: bool,
    unsynced: bool,
}

impl Log {
    /// Opens `log`, or creates it with this mode, and cuts an unfinished last line.
    ///
    /// # Errors
    /// `ELOOP` for a symbolic link, `EISDIR` for a directory and `ENXIO` for anything else that is
    /// not a regular file.
    pub(crate) fn open(dir: BorrowedFd<'_>, symlinks: Symlinks, mode: Mode) -> Result<Self, Errno> {
        let (mut attempts, mut is_new) = (0..OPENS, false);
        while attempts.next().is_some() {
            let Some((fd, was_made)) = open_or_make(dir, symlinks, mode)? else { continue };
            is_new |= was_made;
            let had_name = fstat(&fd)?.st_nlink > 0;
            let mut log = Self {
                fd,
                symlinks,
                len: UNKNOWN,
                reached: 0,
                is_new,
                uncut: None,
                had_name,
                unsynced: false,
            };
            // Otherwise it was rotated away in between. Or its inode number is never the same twice
            // (overlay, FUSE), and then the last attempt is as good as any.
            if attempts.is_empty() || log.is_named(dir) {
                log.mend()?;
                return Ok(log);
            }
        }
        Err(Errno::BUSY)
    }

    /// Returns whether this still is `log`, and was not renamed or replaced from outside.
    pub(crate) fn is_named(&self, dir: BorrowedFd<'_>) -> bool {
        let found = (fstat(&self.fd), statat(dir, c"log", flags(self.symlinks)));
        let number = |stat: Stat| (stat.st_dev, stat.st_ino);
        matches!(found, (Ok(ours), Ok(named)) if number(ours) == number(named))
    }

    /// Asks for the length, which others may have changed, and cuts an unfinished last line.
    /// Returns false if the file has lost its last name, so that nobody can read it.
    pub(crate) fn look(&mut self) -> Result<bool, Errno> {
        let stat = fstat(&self.fd)?;
        if size(&stat) != self.len {
            self.mend()?;
        }
        Ok(stat.st_nlink > 0 || !self.had_name)
    }

    /// Appends whole lines, or leaves the file as it was.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), Errno> {
        let mut rest = lines;
        while !rest.is_empty() {
            let written = match retry_on_intr(|| write(&self.fd, rest)) {
                Ok(0) => Err(Errno::NOSPC),
                result => result,
            };
            let count = written.inspect_err(|_| self.undo(length(lines) - length(rest)))?;
            rest = rest.get(count..).unwrap_or_default();
        }
        self.len = self.len.saturating_add(length(lines));
        self.unsynced = true;
        Ok(())
    }

    /// Removes a partly written line, now or before the next write.
    fn undo(&mut self, written: u64) {
        let before = core::mem::replace(&mut self.len, UNKNOWN);
        self.reached = before.saturating_add(written);
        if written > 0 && fstat(&self.fd).is_ok_and(|stat| size(&stat) == self.reached) {
            _ = retry_on_intr(|| ftruncate(&self.fd, before));
        }
        _ = self.mend();
    }

    /// Syncs what was appended since the last call.
    pub(crate) fn sync(&mut self) -> Result<(), Errno> {
        if core::mem::take(&mut self.unsynced) {
            return retry_on_intr(|| fdatasync(&self.fd));
        }
        Ok(())
    }

    /// Cuts what follows the last whole line, and checks the result: if someone else cut the file
    /// just before, our cut would make a hole.
    fn mend(&mut self) -> Result<(), Errno> {
        for _ in 0..CUTS {
            let len = size(&fstat(&self.fd)?);
            let whole = whole_lines(self.fd.as_fd(), len)?;
            if whole == len {
                self.len = len;
                return Ok(());
            }
            match retry_on_intr(|| ftruncate(&self.fd, whole)) {
                // The file is append-only (chattr(1)). End the half line, so that the next one is
                // whole.
                Err(error @ Errno::PERM) => {
                    self.uncut = Some(error);
                    retry_on_intr(|| write(&self.fd, b"\n"))?;
                }
                cut => cut?,
            }
        }
        Err(Errno::BUSY)
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens `log`, and returns whether it was created. `None` if it appeared or vanished meanwhile.
fn open_or_make(
    dir: BorrowedFd<'_>,
    symlinks: Symlinks,
    mode: Mode,
) -> Result<Option<(OwnedFd, bool)>, Errno> {
    // Check before opening, because opening a device can have effects.
    let must_make = match statat(dir, c"log", flags(symlinks)) {
        Ok(stat) => {
            check_kind(&stat)?;
            false
        }
        Err(Errno::NOENT) => true,
        Err(error) => return Err(error),
    };
    let make = match (must_make, symlinks) {
        (false, _) => OFlags::empty(),
        // This creates the link's target.
        (true, Symlinks::Follow) => OFlags::CREATE,
        (true, Symlinks::Refuse) => OFlags::CREATE | OFlags::EXCL,
    };
    let follow = if symlinks == Symlinks::Follow { OFlags::empty() } else { OFlags::NOFOLLOW };
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOCTTY | make | follow;
    match retry_on_intr(|| openat(dir, c"log", flags, mode)) {
        Ok(fd) => {
            check_kind(&fstat(&fd)?)?;
            Ok(Some((fd, must_make)))
        }
        Err(Errno::EXIST) if must_make => Ok(None),
        Err(Errno::NOENT) if !must_make => Ok(None),
        Err(error) => Err(error),
    }
}

fn check_kind(stat: &Stat) -> Result<(), Errno> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(Errno::ISDIR),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NXIO),
    }
}

const fn flags(symlinks: Symlinks) -> AtFlags {
    match symlinks {
        Symlinks::Follow => AtFlags::empty(),
        Symlinks::Refuse => AtFlags::SYMLINK_NOFOLLOW,
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Returns the length of the file up to and including its last newline.
fn whole_lines(fd: BorrowedFd<'_>, len: u64) -> Result<u64, Errno> {
    const CHUNK: u64 = 4096;
    let mut buffer = [0; 4096];
    let mut end = len;
    let mut hole = CHUNK;
    while end > 0 {
        // A hole can have any length, and contains no newline.
        if end >= hole && is_hole(fd, end - hole, end) {
            end -= hole;
            hole = hole.saturating_mul(2);
            continue;
        }
        hole = CHUNK;
        let start = end.saturating_sub(CHUNK);
        let wanted = usize::try_from(end - start).unwrap_or(buffer.len());
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        // Fewer bytes if it was cut meanwhile, which the next check shows.
        let count = retry_on_intr(|| pread(fd, &mut *chunk, start))?;
        let found = chunk.get(..count).unwrap_or_default();
        if let Some(index) = found.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + u64::try_from(index).unwrap_or(0) + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Returns whether nothing was ever written there (lseek(2)).
fn is_hole(fd: BorrowedFd<'_>, start: u64, end: u64) -> bool {
    match seek(fd, SeekFrom::Data(start)) {
        Ok(data) => data >= end,
        Err(error) => error == Errno::NXIO,
    }
}
