//! The file that is appended to: locked, and always ending with a whole line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use ipc_transport::Instant;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock, fstat, openat, statat};
use rustix::io::Errno;

/// How long to wait for another process that still writes: the worker of a main that was killed
/// finishes what it has.
const LOCK: Duration = Duration::from_secs(5);
/// How soon to look again.
const AGAIN: Duration = Duration::from_millis(10);

/// An open log. No other process of ours writes to it meanwhile.
pub(crate) struct Log {
    file: File,
    /// Up to and with the last newline.
    pub(crate) len: u64,
    /// A half line stands behind `len`.
    torn: bool,
    unsynced: bool,
}

impl Log {
    /// Opens or makes `log`, and cuts an unfinished last line. It fails with `EAGAIN` where
    /// another process goes on writing.
    pub(crate) fn open(dir: BorrowedFd<'_>) -> io::Result<Self> {
        let mut file = lock(dir)?;
        let len = whole_lines(&mut file)?;
        if len < file.metadata()?.len() {
            file.set_len(len)?;
        }
        Ok(Self { file, len, torn: false, unsynced: false })
    }

    /// Returns whether this still is `log`, and was not renamed or removed from outside.
    pub(crate) fn is_named(&self, dir: BorrowedFd<'_>) -> bool {
        is_named(dir, &self.file)
    }

    /// Appends a line whole, or leaves the file as it was.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.cut()?;
        }
        if let Err(error) = self.file.write_all(line) {
            // The half line goes, if not now then before the next one comes.
            self.torn = self.cut().is_err();
            return Err(error);
        }
        self.len += u64::try_from(line.len()).unwrap_or(0);
        self.unsynced = true;
        Ok(())
    }

    /// Brings what was appended since the last time to the medium.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) { self.file.sync_data() } else { Ok(()) }
    }

    /// Removes what stands behind the last whole line.
    fn cut(&mut self) -> io::Result<()> {
        match self.file.set_len(self.len) {
            Err(error) if !is_no_file(&error) => return Err(error),
            _ => self.torn = false,
        }
        Ok(())
    }
}

/// What is no file, a FIFO say, has nothing to sync or to cut (fsync(2), ftruncate(2)).
pub(crate) fn is_no_file(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::INVAL.raw_os_error())
}

/// Opens `log` and locks it (flock(2)), the one that has the name when the lock is there.
fn lock(dir: BorrowedFd<'_>) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let limit = Instant::now() + LOCK;
    loop {
        let file = openat(dir, "log", flags, mode)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let file = File::from(file);
                // Else it was rotated away in between.
                if is_named(dir, &file) {
                    return Ok(file);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) if error != Errno::AGAIN || Instant::now() >= limit => {
                return Err(error.into());
            }
            Err(_in_use) => std::thread::sleep(AGAIN),
        }
    }
}

/// Whether `log` in the directory is this file.
fn is_named(dir: BorrowedFd<'_>, file: &File) -> bool {
    match (fstat(file), statat(dir, "log", AtFlags::empty())) {
        (Ok(ours), Ok(named)) => (ours.st_dev, ours.st_ino) == (named.st_dev, named.st_ino),
        _ => false,
    }
}

/// Returns the length of the file up to and with its last newline.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const CHUNK: u64 = 4096;
    let mut buffer = [0; 4096];
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let len = usize::try_from(end - start).unwrap_or(buffer.len());
        let chunk = buffer.get_mut(..len).unwrap_or_default();
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(chunk)?;
        if let Some(index) = chunk.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + u64::try_from(index).unwrap_or(0) + 1);
        }
        end = start;
    }
    Ok(0)
}
