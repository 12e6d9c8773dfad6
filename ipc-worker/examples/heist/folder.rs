//! Opens only regular files below one directory.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat};

/// Bytes of the largest file.
const LARGEST: u64 = 64 << 20;

/// Opens a file below the directory, for reading.
///
/// Goes from one name to the next, accepts no `..` and follows no symbolic link, so no path leads
/// out. openat2(2) with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS does the same, but this also works
/// on kernels before 5.6.
pub(crate) fn open(dir: &OwnedFd, path: &Path) -> Result<OwnedFd, String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err("it may lead out of the directory".to_owned()),
        }
    }
    let file = names.pop().ok_or("it names no file")?;
    let mut at = dir.try_clone().map_err(text)?;
    for name in names {
        at = step(&at, name, FileType::Directory, OFlags::PATH | OFlags::DIRECTORY)?;
    }
    // In case it becomes a FIFO or a terminal just now.
    step(&at, file, FileType::RegularFile, OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// Opens the next name, which must be of this type.
fn step(at: &OwnedFd, name: &OsStr, wanted: FileType, how: OFlags) -> Result<OwnedFd, String> {
    let is_wanted = |mode| match FileType::from_raw_mode(mode) {
        found if found == wanted => Ok(()),
        found => Err(format!("it is a {found:?}, not a {wanted:?}")),
    };
    // Check first, because opening a device or a FIFO can have effects.
    is_wanted(statat(at, name, AtFlags::SYMLINK_NOFOLLOW).map_err(text)?.st_mode)?;
    let flags = how | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(at, name, flags, Mode::empty()).map_err(text)?;
    // Check again, because it may have been replaced.
    let stat = fstat(&opened).map_err(text)?;
    is_wanted(stat.st_mode)?;
    match u64::try_from(stat.st_size) {
        Ok(0..=LARGEST) => Ok(opened),
        _ => Err(format!("it is larger than {LARGEST} bytes")),
    }
}

fn text(error: impl Into<io::Error>) -> String {
    error.into().to_string()
}
