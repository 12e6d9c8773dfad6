//! The mark of a running daemon: a symbolic link `running` in its directory, to main's pid and
//! start time. A link needs no disk space and is created atomically. It is removed at an end with
//! everything written. If one of another main is left, that main ended uncleanly. Uses raw system
//! calls only.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::time::Duration;

use ipc_transport::Instant;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, fsync, readlinkat_raw, symlinkat, unlinkat};
use rustix::io::Errno;

use super::policy::Retry;
use super::words::Text;

const NAME: &CStr = c"running";

/// `PID.NANOSECONDS`, padded with zeros.
type Target = [u8; LEN];
const LEN: usize = 33;

/// The mark of this main, and what is known of the mark in the directory.
#[derive(Debug)]
pub(crate) struct Mark {
    own: Target,
    /// When this main started, since 1970.
    pub(crate) begun: Duration,
    /// The main whose mark is in the directory.
    other: Option<u32>,
    is_set: bool,
    setting: Retry,
}

impl Mark {
    /// Created in main, so that each of its workers knows its mark.
    pub(crate) fn new(main: u32, begun: Duration) -> Self {
        let mut own = [0; LEN];
        let mut text = Text::new(&mut own);
        text.put_number(main.into(), 1);
        text.put(b".");
        text.put_number(begun.as_secs(), 1);
        text.put_number(begun.subsec_nanos().into(), 9);
        Self { own, begun, other: None, is_set: false, setting: Retry::new() }
    }

    /// Looks at a directory whose log is locked. Returns the pid of the previous main, if it ended
    /// uncleanly.
    pub(crate) fn look(&mut self, dir: BorrowedFd<'_>) -> Option<u32> {
        let found = read(dir);
        self.is_set = found == Some(self.own);
        // A link of another form is not a mark, and stays.
        self.other = found.filter(|_| !self.is_set).and_then(|found| main_of(&found));
        self.other
    }

    /// Returns the pid of the other main while its mark is there.
    pub(crate) const fn other(&self) -> Option<u32> {
        self.other
    }

    /// Returns whether to create the mark: it does not exist, and was not tried a moment ago.
    pub(crate) fn is_due(&self) -> bool {
        !self.is_set && !self.setting.is_early(Instant::now())
    }

    /// Creates the mark, replacing one that was left. Returns a failure that is new.
    pub(crate) fn set(&mut self, dir: BorrowedFd<'_>) -> Option<Errno> {
        if self.other.take().is_some() {
            _ = unlinkat(dir, NAME, AtFlags::empty());
        }
        let result = symlinkat(path(&self.own), dir, NAME);
        self.is_set = result.is_ok();
        // Best effort. It matters only after a power loss.
        _ = fsync(dir);
        self.setting.note(Instant::now(), result)
    }

    /// Removes the mark of this main, but not of another.
    pub(crate) fn clear(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        (self.other, self.is_set) = (None, false);
        if read(dir) == Some(self.own) {
            unlinkat(dir, NAME, AtFlags::empty())?;
            _ = fsync(dir);
        }
        Ok(())
    }
}

/// Reads the link. One that is too long is not a mark.
fn read(dir: BorrowedFd<'_>) -> Option<Target> {
    let mut buffer = [MaybeUninit::uninit(); LEN];
    let (bytes, _) = readlinkat_raw(dir, NAME, &mut buffer).ok()?;
    let mut target = [0; LEN];
    // The last byte stays zero.
    let room = target.get_mut(..bytes.len()).filter(|room| room.len() < LEN)?;
    room.copy_from_slice(bytes);
    Some(target)
}

fn path(target: &Target) -> &CStr {
    CStr::from_bytes_until_nul(target).unwrap_or_default()
}

/// Returns the pid in a mark, or `None` if it is not one.
fn main_of(target: &Target) -> Option<u32> {
    let (pid, time) = path(target).to_str().ok()?.split_once('.')?;
    pid.parse().ok().filter(|_| time.bytes().all(|byte| byte.is_ascii_digit()))
}
