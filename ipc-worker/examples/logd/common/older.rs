//! The older files: `log.1`, `log.2` and so on.

use core::fmt::Write;
use core::mem::MaybeUninit;

use heapless::String;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, fsync, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

/// Renames `log` to `log.1`, `log.1` to `log.2` and so on, from the oldest down, so that a kill
/// between two of them loses nothing. Without older files `log` is removed.
pub(crate) fn shift(dir: BorrowedFd<'_>, keep: u32) -> Result<(), Errno> {
    if keep == 0 {
        return or_gone(unlinkat(dir, "log", AtFlags::empty()));
    }
    let exists = |number: &u32| statat(dir, &*name(*number), AtFlags::SYMLINK_NOFOLLOW).is_ok();
    // A gap is what a kill leaves: up to there they move, and nothing is overwritten.
    let oldest = (1..keep).take_while(exists).last().unwrap_or(0);
    for number in (0..=oldest).rev() {
        or_gone(renameat(dir, &*name(number), dir, &*name(number + 1)))?;
    }
    Ok(())
}

/// Removes the oldest file. Returns whether there was one.
pub(crate) fn remove_oldest(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let Some(number) = oldest(dir)? else { return Ok(false) };
    or_gone(unlinkat(dir, &*name(number), AtFlags::empty()))?;
    // Some file systems give the room back only now.
    _ = fsync(dir);
    Ok(true)
}

/// Opens the newest of them, if it is a file.
pub(crate) fn newest(dir: BorrowedFd<'_>) -> Option<OwnedFd> {
    let stat = statat(dir, &*name(1), AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    is_file.then(|| openat(dir, &*name(1), flags, Mode::empty()).ok()).flatten()
}

fn oldest(dir: BorrowedFd<'_>) -> Result<Option<u32>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let all = openat(dir, ".", flags, Mode::empty())?;
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

/// What others took away meanwhile is gone as well.
fn or_gone(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) { Ok(()) } else { result }
}

fn name(number: u32) -> String<14> {
    let mut name = String::new();
    // It has room for the longest.
    _ = match number {
        0 => name.write_str("log"),
        number => write!(name, "log.{number}"),
    };
    name
}

/// The number of an older file of ours, and of nothing else.
fn number(file: &[u8]) -> Option<u32> {
    let digits = core::str::from_utf8(file.strip_prefix(b"log.")?).ok()?;
    let number = digits.parse().ok()?;
    (number > 0 && name(number).as_bytes() == file).then_some(number)
}
