//! The older files: `log.1`, `log.2` and so on.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, fsync, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::words::Text;

/// Renames `log` to `log.1`, `log.1` to `log.2` and so on, oldest first, so that a kill in between
/// loses nothing. If no older files are kept, removes `log`.
pub(crate) fn shift(dir: BorrowedFd<'_>, keep: u32) -> Result<(), Errno> {
    if keep == 0 {
        return or_gone(unlinkat(dir, c"log", AtFlags::empty()));
    }
    let exists =
        |number: &u32| statat(dir, Name::of(*number).path(), AtFlags::SYMLINK_NOFOLLOW).is_ok();
    // A kill leaves a gap. Files move up to it, and none is overwritten.
    let oldest = (1..keep).take_while(exists).last().unwrap_or(0);
    for number in (0..=oldest).rev() {
        or_gone(renameat(dir, Name::of(number).path(), dir, Name::of(number + 1).path()))?;
    }
    Ok(())
}

/// Removes the oldest file. Returns whether there was one.
pub(crate) fn remove_oldest(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let Some(number) = oldest(dir)? else { return Ok(false) };
    or_gone(unlinkat(dir, Name::of(number).path(), AtFlags::empty()))?;
    // Some file systems free the space only now.
    _ = fsync(dir);
    Ok(true)
}

/// Opens the newest of them, if it is a file.
pub(crate) fn newest(dir: BorrowedFd<'_>) -> Option<OwnedFd> {
    let stat = statat(dir, Name::of(1).path(), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    is_file.then(|| openat(dir, Name::of(1).path(), flags, Mode::empty()).ok()).flatten()
}

fn oldest(dir: BorrowedFd<'_>) -> Result<Option<u32>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let all = openat(dir, c".", flags, Mode::empty())?;
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut entries = RawDir::new(all.as_fd(), &mut buffer);
    let mut oldest = None;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
            oldest = oldest.max(number(entry.file_name().to_bytes()));
        }
    }
    Ok(oldest)
}

/// A file that others removed counts as removed here.
fn or_gone(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

/// `log`, or `log.1` and so on, with a zero at the end.
struct Name([u8; 16]);

impl Name {
    fn of(number: u32) -> Self {
        let mut bytes = [0; 16];
        let mut text = Text::new(&mut bytes);
        text.put(b"log");
        if number > 0 {
            text.put(b".");
            text.put_number(number.into(), 1);
        }
        Self(bytes)
    }

    fn path(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

/// Returns the number of an older file, or `None` for any other name.
fn number(file: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(file.strip_prefix(b"log.")?).ok()?;
    let number = digits.parse().ok()?;
    (number > 0 && Name::of(number).path().to_bytes() == file).then_some(number)
}
